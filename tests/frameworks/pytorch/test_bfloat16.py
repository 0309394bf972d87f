"""Models in bfloat16, for which onnxruntime lacks operators: their graphs compute in float32.

What such a graph answers is nearer to the module in float64 than the module's own answer is.
"""

from __future__ import annotations

import mlflow
import numpy as np
import onnx
import pytest

from mlflow_onnx_flavor.frameworks.pytorch.framework import framework as pytorch
from mlflow_onnx_flavor.inputs import Inputs
from mlflow_onnx_flavor.onnx_graph.float32 import compute_in_float32
from mlflow_onnx_flavor.scoring import load_session
from tests.frameworks.in_process import converted, session_of
from tests.frameworks.small_pipelines import TEXTS, as_frame, pyfuncs, save_pipeline, small_config

torch = pytest.importorskip("torch")

ROWS = np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)
BFLOAT16 = onnx.TensorProto.BFLOAT16
WHY = "onnxruntime's CPU provider lacks operators in bfloat16"


class Body(torch.nn.Module):
    """A body in bfloat16 and a head in float32."""

    def __init__(self, depth: int = 1):
        super().__init__()
        torch.manual_seed(0)
        layers = [torch.nn.Linear(4, 32)]
        for _ in range(depth):
            layers += [torch.nn.Linear(32, 32), torch.nn.Tanh(), torch.nn.LayerNorm(32)]
        self.body = torch.nn.Sequential(*layers).to(torch.bfloat16)
        self.head = torch.nn.Linear(32, 3)

    def forward(self, x):
        return self.head(self.body(x.to(torch.bfloat16)).float())


class Answering(Body):
    """Its answers are bfloat16 themselves, which MLflow's pyfunc cannot give."""

    def forward(self, x):
        return self.body(x.to(torch.bfloat16))


class Branching(Body):
    def forward(self, x):
        y = self.body(x.to(torch.bfloat16)).float()
        if x.sum() > 0:
            return y * 2.0
        return y - 1.0


class Autocast(torch.nn.Module):
    """No parameter is in bfloat16."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.dense = torch.nn.Linear(4, 3)

    def forward(self, x):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return self.dense(x).float()


class Bound(torch.nn.Module):
    """Holds a tensor that is no parameter, so that no cast reaches it."""

    def __init__(self):
        super().__init__()
        self.weights = torch.linspace(-1, 1, 12).reshape(4, 3).to(torch.bfloat16)

    def forward(self, x):
        return (x.to(torch.bfloat16) @ self.weights).float()


def save(model, folder, serialization_format="pickle"):
    mlflow.pytorch.save_model(
        model,
        str(folder),
        signature=mlflow.models.infer_signature(ROWS),
        input_example=ROWS[:3],
        serialization_format=serialization_format,
        pip_requirements=[],
    )
    return folder


@pytest.mark.parametrize(
    ("model", "form", "strategy"),
    [
        (Body, "pickle", "dynamo_float32"),
        (Body, "pt2", "dynamo_float32"),
        (lambda: torch.jit.script(Body()), "pickle", "torchscript_float32"),
        (Branching, "pickle", "scripted_float32"),
        (Bound, "pickle", "dynamo_float32"),
        pytest.param(Answering, "pickle", "dynamo_float32", marks=pytest.mark.slow),
        pytest.param(Autocast, "pickle", "dynamo_float32", marks=pytest.mark.slow),
    ],
    ids=["eager", "pt2", "script", "branching", "bound", "answering", "autocast"],
)
def test_modules_convert_and_are_nearer_to_the_truth_than_themselves(
    model, form, strategy, tmp_path
):
    folder = save(model().eval(), tmp_path / "source", form)
    conversion, _ = converted(folder, "pytorch", Inputs(ROWS[:3]), Inputs(ROWS), tmp_path / "out")
    assert conversion.strategy == strategy
    assert next(each for each in conversion.attempts if each.strategy == strategy).why.endswith(WHY)
    source = pytorch.load(folder, {})
    session = session_of(conversion)
    for size in (1, 5, 40):
        rows = Inputs(ROWS[:size])
        (own,) = pytorch.reference_outputs(source, rows).values()
        found = session.run(rows.data)["output"]
        assert found.dtype == own.dtype == np.float32
        (truth,) = pytorch.in_float64(source)(rows).values()
        off = np.abs(own - truth).max()
        assert off > 1e-4  # coarse indeed
        # Under autocast the exporter rounds the weights once, which the truth does not.
        assert np.abs(found - truth).max() < (8 if model is Autocast else 0.01) * off


def test_a_wrong_answer_is_not_excused_by_the_rounding_of_bfloat16(tmp_path, monkeypatch):
    from mlflow_onnx_flavor.errors import ConversionError
    from mlflow_onnx_flavor.frameworks.pytorch import export

    def off_by_a_tenth(path, *rest):
        compute_in_float32(path, *rest)
        model = onnx.load(str(path))
        for weights in model.graph.initializer:
            array = onnx.numpy_helper.to_array(weights)
            if array.shape == (3, 32):
                weights.CopyFrom(onnx.numpy_helper.from_array(1.1 * array, weights.name))
        onnx.save(model, str(path))

    monkeypatch.setattr(export, "compute_in_float32", off_by_a_tenth)
    folder = save(Body(), tmp_path / "source")
    with pytest.raises(ConversionError, match="dynamo_float32: failed, 'output' of the exported"):
        converted(folder, "pytorch", Inputs(ROWS[:3]), Inputs(ROWS), tmp_path / "out")


@pytest.mark.parametrize("most_embedded_bytes", [0, 1_000_000])
def test_a_file_is_narrowed_with_its_weights_inside_or_apart(most_embedded_bytes, tmp_path):
    weights = torch.linspace(-3, 3, 1024).reshape(32, 32).to(torch.bfloat16)
    held = onnx.helper.make_tensor(
        "w", BFLOAT16, (32, 32), weights.view(torch.int16).numpy().tobytes(), raw=True
    )
    node = onnx.helper.make_node("MatMul", ["x", "w"], ["y"])
    values = [onnx.helper.make_tensor_value_info(each, BFLOAT16, ("n", 32)) for each in "xy"]
    graph = onnx.helper.make_graph([node], "g", values[:1], values[1:], [held])
    opset = onnx.helper.make_opsetid("", 20)
    model = onnx.helper.make_model(graph, opset_imports=[opset], ir_version=10)
    path = tmp_path / "model.onnx"
    onnx.save_model(model, str(path), save_as_external_data=True, location="model.onnx.data")
    compute_in_float32(path, {"bfloat16"}, most_embedded_bytes)
    apart = (tmp_path / "model.onnx.data").exists()
    assert apart == (most_embedded_bytes == 0)
    rows = np.eye(32, dtype=np.float32)
    found = load_session(str(path)).session.run(None, {"x": rows})[0]
    np.testing.assert_array_equal(found, weights.float().numpy())


def test_a_pipeline(tmp_path):
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    model = transformers.BertForSequenceClassification(
        small_config(initializer_range=0.2, num_hidden_layers=1)
    )
    folder = save_pipeline("text-classification", model.to(torch.bfloat16), tmp_path / "source")
    conversion, _ = converted(folder, "transformers", as_frame(TEXTS), None, tmp_path / "out")
    assert conversion.strategy == "dynamo_with_tokenizer_float32"
    source, candidate = pyfuncs(folder, conversion, tmp_path / "candidate")
    expected, found = source.predict(TEXTS), candidate.predict(TEXTS)
    assert list(found.label) == list(expected.label)
    np.testing.assert_allclose(found.score, expected.score, atol=0.02)
