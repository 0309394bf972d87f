"""Axes that the signature leaves open, beside that of the batch: right at every size."""

from __future__ import annotations

import mlflow
import numpy as np
import pytest
import torch
from mlflow.models import ModelSignature
from mlflow.types import Schema, TensorSpec
from torch import nn

from mlflow_onnx_flavor.errors import NotExportableError
from mlflow_onnx_flavor.frameworks.pytorch.export import Exporter
from mlflow_onnx_flavor.inputs import Inputs
from tests.frameworks.in_process import converted, session_of

SIGNATURE = ModelSignature(Schema([TensorSpec(np.dtype(np.float32), (-1, -1))]))


class BranchingOnColumns(nn.Module):
    def forward(self, x):
        return x[:, :3] if x.shape[1] > 6 else x.mean(1, keepdim=True).expand(-1, 3)


class Doubled(nn.Module):
    def forward(self, x):
        return x * 2.0


def rows(count, columns):
    return np.random.default_rng(columns).normal(size=(count, columns)).astype(np.float32)


def save(module, folder):
    mlflow.pytorch.save_model(
        module,
        str(folder),
        signature=SIGNATURE,
        input_example=rows(3, 5),
        serialization_format="pickle",
        pip_requirements=[],
    )
    return folder


def test_a_branch_on_an_open_axis_is_not_settled_by_the_example(tmp_path):
    exporter = Exporter(BranchingOnColumns().eval(), Inputs(rows(4, 5)), SIGNATURE)
    with pytest.raises(NotExportableError, match="a size of 7 along axis 1 .* is not what the mod"):
        exporter.dynamo(tmp_path / "model.onnx")


@pytest.mark.parametrize("module", [BranchingOnColumns(), Doubled()])
def test_predictions_have_the_shape_that_each_input_asks_for(module, tmp_path):
    folder = save(module, tmp_path / "source")
    conversion, _ = converted(folder, "pytorch", Inputs(rows(3, 5)), None, tmp_path / "out")
    session = session_of(conversion)
    for count, columns in ((1, 1), (3, 6), (2, 7), (32, 12)):
        asked = rows(count, columns)
        expected = module(torch.from_numpy(asked)).numpy()
        np.testing.assert_allclose(session.predict(asked), expected, rtol=1e-5, atol=1e-6)
