"""PyTorch modules in every form that MLflow stores: right at every batch size, on both arms."""

from __future__ import annotations

import mlflow
import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from mlflow_onnx_flavor import scoring
from mlflow_onnx_flavor.inputs import Inputs
from tests.frameworks.in_process import converted

IMAGES = np.random.default_rng(0).normal(size=(6, 1, 8, 8)).astype(np.float32)
VECTORS = np.random.default_rng(1).normal(size=(6, 4)).astype(np.float32)


def convolutional() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Flatten(),
        nn.Linear(4 * 36, 3),
    )


def dense() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.cell = nn.LSTM(4, 5, batch_first=True)

    def forward(self, x):
        return self.cell(x)[0][:, -1]


class Branching(nn.Module):
    def forward(self, x):
        if x.sum() > 0:
            return x * 2.0
        return x - 1.0


def save(model, example, folder, **options):
    mlflow.pytorch.save_model(
        model,
        str(folder),
        signature=mlflow.models.infer_signature(example),
        input_example=example[:3],
        pip_requirements=[],
        **options,
    )
    return folder


def right(model, rows, tmp_path, serialization_format="pickle"):
    folder = save(model, rows, tmp_path / "source", serialization_format=serialization_format)
    conversion, _ = converted(folder, "pytorch", Inputs(rows[:3]), Inputs(rows), tmp_path / "out")
    source = mlflow.pyfunc.load_model(str(folder))
    session = scoring.open_graph(str(conversion.path), conversion.graph.model_dump(mode="json"))
    for size in (1, 5):
        expected, answer = source.predict(rows[:size]), session.predict(rows[:size])
        assert type(answer) is type(expected)
        np.testing.assert_allclose(answer, expected, rtol=1e-4, atol=1e-5)
    return conversion


def test_a_module_left_in_train_mode_is_exported_in_eval_mode(tmp_path):
    conversion = right(convolutional().train(), IMAGES, tmp_path)
    assert conversion.strategy == "dynamo"


def test_recurrent_modules(tmp_path):
    right(Recurrent(), np.stack([VECTORS] * 3, axis=1), tmp_path)


def test_script_modules_keep_both_arms_of_a_branch(tmp_path):
    conversion = right(torch.jit.script(Branching()), np.abs(VECTORS), tmp_path)
    assert conversion.strategy == "torchscript"
    session = scoring.open_graph(str(conversion.path), conversion.graph.model_dump(mode="json"))
    np.testing.assert_allclose(session.predict(-np.abs(VECTORS)), -np.abs(VECTORS) - 1.0)


def test_a_data_dependent_branch_is_not_traced_away(tmp_path):
    conversion = right(Branching(), np.abs(VECTORS), tmp_path)
    assert [each.outcome for each in conversion.attempts] == ["failed", "converted"]
    session = scoring.open_graph(str(conversion.path), conversion.graph.model_dump(mode="json"))
    np.testing.assert_allclose(session.predict(-np.abs(VECTORS)), -np.abs(VECTORS) - 1.0)


def test_traced_modules(tmp_path):
    right(torch.jit.trace(dense().eval(), torch.from_numpy(VECTORS)), VECTORS, tmp_path)


def test_pt2_programs(tmp_path):
    right(dense().eval(), VECTORS, tmp_path, serialization_format="pt2")


def test_data_frames_become_a_matrix_and_answers_keep_the_index(tmp_path):
    rows = pd.DataFrame(VECTORS.astype(np.float64), columns=list("abcd"), index=range(10, 16))
    folder = save(dense().eval(), rows, tmp_path / "source", serialization_format="pickle")
    conversion, _ = converted(folder, "pytorch", Inputs(rows[:3]), Inputs(rows), tmp_path / "out")
    session = scoring.open_graph(str(conversion.path), conversion.graph.model_dump(mode="json"))
    expected = mlflow.pyfunc.load_model(str(folder)).predict(rows)
    pd.testing.assert_frame_equal(session.predict(rows), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float64])
def test_double_precision_modules(dtype, tmp_path):
    right(dense().to(dtype), VECTORS.astype(np.float64), tmp_path)
