"""PyTorch modules in every form that MLflow stores: right at every batch size, on both arms."""

from __future__ import annotations

import zipfile

import mlflow
import numpy as np
import onnx
import pandas as pd
import pytest
import torch
from mlflow.models import Model, ModelSignature
from mlflow.types import Schema, TensorSpec
from torch import nn

from mlflow_onnx_flavor import scoring
from mlflow_onnx_flavor.errors import ConversionError, NotExportableError
from mlflow_onnx_flavor.frameworks.base import LoadedSource
from mlflow_onnx_flavor.frameworks.pytorch import export as pytorch_export
from mlflow_onnx_flavor.frameworks.pytorch.framework import framework as pytorch
from mlflow_onnx_flavor.inputs import Inputs
from tests.frameworks.in_process import converted, session_of

IMAGES = np.random.default_rng(0).normal(size=(6, 1, 8, 8)).astype(np.float32)
VECTORS = np.random.default_rng(1).normal(size=(6, 4)).astype(np.float32)
SEQUENCES = np.random.default_rng(2).normal(size=(6, 3, 4)).astype(np.float32)
TOKENS = np.random.default_rng(3).integers(0, 9, size=(6, 5))


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


class Attentive(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.embedding = nn.Embedding(9, 8)
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, activation="gelu")
        self.encoder = nn.TransformerEncoder(layer, 1)

    def forward(self, tokens):
        return self.encoder(self.embedding(tokens)).mean(1)


class Branching(nn.Module):
    def forward(self, x):
        if x.sum() > 0:
            return x * 2.0
        return x - 1.0


class BranchingBeyondScripts(nn.Module):
    """TorchScript compiles no variable arguments, so no exporter keeps both arms."""

    def forward(self, *inputs):
        if inputs[0].sum() > 0:
            return inputs[0] * 2.0
        return inputs[0] - 1.0


class BranchingOnBatches(nn.Module):
    def __init__(self, rows: int):
        super().__init__()
        self.rows = rows

    def forward(self, x):
        return x * 2.0 if x.shape[0] > self.rows else x


class Random(nn.Module):
    def forward(self, x):
        return x + torch.randn_like(x)


class Named(nn.Module):
    """Takes keywords, the second optional; answers with a nest of names."""

    def forward(self, left, mask=None, right=None):
        return {"left": left + 2.0 * right, "more": (left, {"half": right / 2.0}), "none": None}


class Summed(nn.Module):
    def forward(self, x):
        return x.sum(1)


class FromDictionary(nn.Module):
    def forward(self, batch):
        return batch["p"] - batch["q"]


class InPlace(nn.Module):
    def forward(self, x):
        return x.mul_(2.0)


def save(model, example, folder, signature=None, **options):
    mlflow.pytorch.save_model(
        model,
        str(folder),
        signature=signature or mlflow.models.infer_signature(example),
        input_example=None if isinstance(example, dict) else example[:3],
        pip_requirements=[],
        **options,
    )
    return folder


def right(model, rows, tmp_path, serialization_format="pickle", **options):
    """Convert ``model`` and compare the answers of both pyfuncs at two batch sizes."""
    folder = save(
        model, rows, tmp_path / "source", serialization_format=serialization_format, **options
    )
    conversion, _ = converted(folder, "pytorch", Inputs(rows[:3]), Inputs(rows), tmp_path / "out")
    source, session = mlflow.pyfunc.load_model(str(folder)), opened(conversion)
    for size in (1, 5):
        expected, answer = source.predict(rows[:size]), session.predict(rows[:size])
        assert type(answer) is type(expected)
        np.testing.assert_allclose(answer, expected, rtol=1e-4, atol=1e-5)
    return conversion


def opened(conversion):
    return session_of(conversion)


def loaded(model, rows, tmp_path, **options):
    """The source as the worker holds it."""
    options = {"serialization_format": "pickle"} | options
    folder = save(model, rows, tmp_path / "source", **options)
    return pytorch.load(folder, Model.load(str(folder)).flavors["pytorch"])


def exported(source, rows, tmp_path, name="dynamo"):
    """What one strategy makes of the source, and the file, opened by onnxruntime."""
    strategy = next(each for each in pytorch.strategies(source, Inputs(rows)) if each.name == name)
    export = strategy.export(tmp_path / "model.onnx")
    return export, scoring.load_session(str(tmp_path / "model.onnx")).session


def test_a_module_left_in_train_mode_is_exported_in_eval_mode(tmp_path):
    conversion = right(convolutional().train(), IMAGES, tmp_path)
    assert conversion.strategy == "dynamo"


def test_recurrent_modules(tmp_path):
    right(Recurrent(), SEQUENCES, tmp_path)


def test_attention_over_tokens(tmp_path):
    assert right(Attentive(), TOKENS, tmp_path).strategy == "dynamo"


def test_script_modules_keep_both_arms_of_a_branch(tmp_path):
    conversion = right(torch.jit.script(Branching()), np.abs(VECTORS), tmp_path)
    assert conversion.strategy == "torchscript"
    below = -np.abs(VECTORS)
    np.testing.assert_allclose(opened(conversion).predict(below), below - 1.0)


def test_a_data_dependent_branch_is_not_traced_away(tmp_path):
    conversion = right(Branching(), np.abs(VECTORS), tmp_path)
    assert [each.outcome for each in conversion.attempts] == ["failed", "converted"]
    below = -np.abs(VECTORS)
    np.testing.assert_allclose(opened(conversion).predict(below), below - 1.0)


def test_a_data_dependent_branch_that_no_exporter_keeps_is_refused_by_layer_and_line(tmp_path):
    folder = save(
        nn.Sequential(dense(), BranchingBeyondScripts()),
        VECTORS,
        tmp_path / "source",
        serialization_format="pickle",
    )
    with pytest.raises(ConversionError) as refused:
        converted(folder, "pytorch", Inputs(VECTORS[:3]), Inputs(VECTORS), tmp_path / "out")
    cause = refused.value.attempts[0].cause
    assert "'1' (BranchingBeyondScripts) asks for the value of a tensor" in cause
    assert "if inputs[0].sum() > 0:" in cause


@pytest.mark.parametrize("rows", [1, 10])
def test_a_branch_on_the_batch_size_is_not_settled_by_the_example(rows, tmp_path):
    source = loaded(BranchingOnBatches(rows), VECTORS, tmp_path)
    with pytest.raises(
        NotExportableError, match=r"for a batch of \d+, 'output' is not what the module"
    ):
        exported(source, VECTORS, tmp_path)
    _, session = exported(source, VECTORS, tmp_path, "scripted")
    for size in (1, 2, 3, 11):
        batch = np.ones((size, 4), np.float32)
        expected = batch * 2.0 if size > rows else batch
        np.testing.assert_array_equal(session.run(None, {"input": batch})[0], expected)


def test_a_module_that_draws_random_numbers_is_refused(tmp_path):
    source = loaded(Random(), VECTORS, tmp_path)
    with pytest.raises(
        NotExportableError, match="answers the same rows differently from call to call"
    ):
        exported(source, VECTORS, tmp_path)


def test_an_operator_without_onnx_form_is_named_with_its_layer(tmp_path):
    class Trigamma(nn.Module):
        def forward(self, x):
            return torch.polygamma(1, x)

    source = LoadedSource(nn.Sequential(Trigamma()).eval(), None, tmp_path, {})
    example = Inputs(VECTORS)
    exporter = pytorch_export.Exporter(source.native, example, None)
    cause = r"no ONNX form of aten.polygamma, in '0' \(Trigamma\); compute it before or after the"
    with pytest.raises(NotExportableError, match=cause):
        exporter.dynamo(tmp_path / "model.onnx")
    with pytest.raises(
        NotExportableError, match="no ONNX form of aten::polygamma; compute it before "
    ):
        exporter.script(tmp_path / "model.onnx")


def test_traced_modules(tmp_path):
    right(torch.jit.trace(dense().eval(), torch.from_numpy(VECTORS)), VECTORS, tmp_path)


def test_traced_attention_whose_operators_torch_has_fused(tmp_path):
    with torch.no_grad():
        traced = torch.jit.trace(Attentive().eval(), torch.from_numpy(TOKENS[:2]))
    conversion = right(traced, TOKENS, tmp_path)
    assert conversion.strategy == "script_to_program"


def test_pt2_programs(tmp_path):
    right(dense().eval(), VECTORS, tmp_path, serialization_format="pt2")


def test_a_pt2_program_of_one_batch_size_is_refused_with_what_to_do(tmp_path):
    fixed = ModelSignature(Schema([TensorSpec(np.dtype("float32"), (3, 4))]))
    source = loaded(dense().eval(), VECTORS, tmp_path, signature=fixed, serialization_format="pt2")
    with pytest.raises(
        NotExportableError, match=r"does not take a batch of 2 rows .*\(-1 as the first"
    ):
        exported(source, VECTORS[:3], tmp_path)


def test_a_pt2_program_of_several_inputs_converts_though_mlflow_serves_none(tmp_path):
    class Sum(nn.Module):
        def forward(self, x, y):
            return x + 2.0 * y

    specs = [TensorSpec(np.dtype("float32"), (-1, 4), name) for name in ("x", "y")]
    mlflow.pytorch.save_model(
        Sum(),
        str(tmp_path / "source"),
        signature=ModelSignature(Schema(specs)),
        input_example=(VECTORS, VECTORS),
        pip_requirements=[],
        serialization_format="pt2",
    )
    rows = {"x": VECTORS, "y": VECTORS[::-1].copy()}
    conversion, _ = converted(tmp_path / "source", "pytorch", Inputs(rows), None, tmp_path / "out")
    answer = opened(conversion).predict(rows)
    np.testing.assert_allclose(answer["output"], rows["x"] + 2.0 * rows["y"], rtol=1e-6)


def test_a_module_pickled_on_a_gpu_loads_without_one(tmp_path):
    if torch.cuda.is_available():
        pytest.skip("asks for a machine without a GPU")
    folder = save(dense().eval(), VECTORS, tmp_path / "s", serialization_format="pickle")
    _mark_as_saved_on_a_gpu(folder / "data" / "model.pth")
    source = pytorch.load(folder, Model.load(str(folder)).flavors["pytorch"])
    expected = dense().eval()(torch.from_numpy(VECTORS)).detach().numpy()
    np.testing.assert_allclose(source.pyfunc.predict(VECTORS), expected, rtol=1e-6)
    outputs = pytorch.reference_outputs(source, Inputs(VECTORS))
    np.testing.assert_allclose(outputs["output"], expected, rtol=1e-6)


def _mark_as_saved_on_a_gpu(file):
    """Change the device of the storages in the pickle from "cpu" to "cuda:0"."""
    with zipfile.ZipFile(file) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            if name.endswith("data.pkl"):
                assert b"X\x03\x00\x00\x00cpu" in content
                content = content.replace(b"X\x03\x00\x00\x00cpu", b"X\x06\x00\x00\x00cuda:0")
            archive.writestr(name, content)


def test_axes_that_the_signature_leaves_open_vary(tmp_path):
    open_axes = ModelSignature(Schema([TensorSpec(np.dtype("float32"), (-1, -1, 4))]))
    conversion = right(Summed(), SEQUENCES, tmp_path, signature=open_axes)
    longer = np.concatenate([SEQUENCES] * 3, axis=1)
    np.testing.assert_allclose(opened(conversion).predict(longer), longer.sum(1), atol=1e-5)


def test_named_inputs_go_by_keyword_and_nested_outputs_have_names(tmp_path):
    rows = {"right": VECTORS, "left": VECTORS[::-1].copy()}
    export, session = exported(loaded(Named(), rows, tmp_path), rows, tmp_path)
    assert export.outputs == ("left", "more_0", "more_1_half")
    graph_name = {feed.key: feed.name for feed in export.feeds}
    assert graph_name == {"left": "left_input", "right": "right"}  # an output is called left
    found = session.run(None, {graph_name[key]: array for key, array in rows.items()})
    expected = pytorch.reference_outputs(loaded(Named(), rows, tmp_path / "again"), Inputs(rows))
    for array, name in zip(found, export.outputs, strict=True):
        np.testing.assert_allclose(array, expected[name], rtol=1e-6)


def test_a_module_may_take_its_inputs_as_one_dictionary(tmp_path):
    rows = {"q": VECTORS, "p": VECTORS * 3.0}
    export, session = exported(loaded(FromDictionary(), rows, tmp_path), rows, tmp_path)
    found = session.run(None, {feed.name: rows[feed.key] for feed in export.feeds})
    np.testing.assert_allclose(found[0], VECTORS * 2.0, rtol=1e-6)


def test_a_module_that_works_in_place_leaves_the_inputs_alone(tmp_path):
    rows = VECTORS.copy()
    source = loaded(InPlace(), rows, tmp_path)
    before = rows.copy()
    np.testing.assert_array_equal(
        pytorch.reference_outputs(source, Inputs(rows))["output"], before * 2.0
    )
    np.testing.assert_array_equal(rows, before)


def test_data_frames_become_a_matrix_and_answers_keep_the_index(tmp_path):
    rows = pd.DataFrame(VECTORS.astype(np.float64), columns=list("abcd"), index=range(10, 16))
    folder = save(dense().eval(), rows, tmp_path / "source", serialization_format="pickle")
    conversion, _ = converted(folder, "pytorch", Inputs(rows[:3]), Inputs(rows), tmp_path / "out")
    expected = mlflow.pyfunc.load_model(str(folder)).predict(rows)
    answer = opened(conversion).predict(rows)
    pd.testing.assert_frame_equal(answer, expected, rtol=1e-4, atol=1e-5)


def test_double_precision_modules(tmp_path):
    right(dense().double(), VECTORS.astype(np.float64), tmp_path)


@pytest.mark.parametrize("name", ["dynamo", "scripted"])
def test_weights_stay_in_the_file_until_protobuf_cannot_hold_them(name, tmp_path, monkeypatch):
    source = loaded(dense(), VECTORS, tmp_path)
    expected = pytorch.reference_outputs(source, Inputs(VECTORS))["output"]
    exported(source, VECTORS, tmp_path, name)
    assert not (tmp_path / "model.onnx.data").exists()
    monkeypatch.setattr(pytorch_export, "MAX_EMBEDDED_BYTES", 0)
    _, session = exported(source, VECTORS, tmp_path, "dynamo")
    assert (tmp_path / "model.onnx.data").exists()
    np.testing.assert_allclose(session.run(None, {"input": VECTORS})[0], expected, rtol=1e-5)


def test_the_graph_tells_nothing_of_the_machine_that_made_it(tmp_path):
    exported(loaded(dense(), VECTORS, tmp_path), VECTORS, tmp_path)
    content = (tmp_path / "model.onnx").read_bytes()
    assert b"site-packages" not in content
    batch = onnx.load_from_string(content).graph.input[0].type.tensor_type.shape.dim[0]
    assert batch.dim_param == "batch"
