"""ONNX graphs as PyTorch programs: every kind of layer, with an open batch, by torch alone."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from mlflow_onnx_flavor import targets
from mlflow_onnx_flavor.errors import UnsupportedModelError
from mlflow_onnx_flavor.onnx_graph.lowering import lower
from mlflow_onnx_flavor.targets.base import Request
from tests import onnx_graphs
from tests.targets.ml_graphs import answers, ml_model, random_trees

torch = pytest.importorskip("torch", reason="the target pytorch needs torch")

pytestmark = pytest.mark.process

FLOAT = onnx.TensorProto.FLOAT


class Block(torch.nn.Module):
    """A transformer's encoder over embeddings of tokens, with their mean at the end."""

    def __init__(self):
        super().__init__()
        self.embedding = torch.nn.Embedding(20, 16)
        layer = torch.nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        self.encoder = torch.nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

    def forward(self, tokens):
        return self.encoder(self.embedding(tokens)).mean(1)


class Recurrent(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = torch.nn.LSTM(5, 8, 2, batch_first=True, bidirectional=True)
        self.gru = torch.nn.GRU(16, 6, batch_first=True)

    def forward(self, rows):
        return self.gru(self.lstm(rows)[0])[0][:, -1]


def convolution():
    return torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3, stride=2, padding=1),
        torch.nn.BatchNorm2d(4),
        torch.nn.ReLU(),
        torch.nn.MaxPool2d(2),
        torch.nn.Flatten(),
        torch.nn.Linear(16, 3),
    )


def dense():
    return torch.nn.Sequential(
        torch.nn.Linear(4, 8), torch.nn.LayerNorm(8), torch.nn.GELU(), torch.nn.Linear(8, 2)
    )


NETS = {
    "dense": (dense, lambda rng, rows: rng.normal(size=(rows, 4)).astype(np.float32)),
    "convolution": (
        convolution,
        lambda rng, rows: rng.normal(size=(rows, 1, 8, 8)).astype(np.float32),
    ),
    "encoder": (Block, lambda rng, rows: rng.integers(20, size=(rows, 7))),
    "recurrent": (Recurrent, lambda rng, rows: rng.normal(size=(rows, 6, 5)).astype(np.float32)),
}


def exported(net, make, path):
    """``net`` as ONNX with an open batch, as torch's TorchScript exporter writes it."""
    example = torch.from_numpy(make(np.random.default_rng(0), 3))
    torch.onnx.export(
        net.eval(),
        (example,),
        str(path),
        dynamo=False,
        input_names=["x"],
        output_names=["y"],
        dynamic_axes={"x": {0: "batch"}, "y": {0: "batch"}},
    )
    return path


def program(model, example, folder):
    """What the target runs for the ONNX file ``model``."""
    folder.mkdir()
    targets.get("pytorch").write(Request(model, example), folder)
    return targets.get("pytorch").load(folder)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", NETS)
def test_a_net_answers_alike_at_every_batch_size(tmp_path, name):
    torch.manual_seed(0)
    build, make = NETS[name]
    model = exported(build(), make, tmp_path / "net.onnx")
    rng = np.random.default_rng(1)
    run = program(model, {"x": make(rng, 3)}, tmp_path / "out")
    for rows in (1, 2, 32):
        data = make(rng, rows)
        expected = answers(onnx.load(str(model)), x=data)["y"]
        np.testing.assert_allclose(run({"x": data})["y"], expected, rtol=1e-5, atol=2e-6)


@pytest.mark.filterwarnings("ignore")
def test_a_program_loads_with_torch_alone(tmp_path):
    """In a process where this package, onnx and onnxruntime cannot be imported."""
    build, make = NETS["dense"]
    model = exported(build(), make, tmp_path / "net.onnx")
    data = make(np.random.default_rng(1), 5)
    run = program(model, {"x": data[:3]}, tmp_path / "out")
    np.save(tmp_path / "rows.npy", data)
    code = (
        "import sys\n"
        "for name in ('mlflow', 'mlflow_onnx_flavor', 'onnx', 'onnxruntime'):\n"
        "    sys.modules[name] = None\n"
        "import numpy as np, torch\n"
        "module = torch.export.load(sys.argv[1]).module()\n"
        "answer = module(torch.from_numpy(np.load(sys.argv[2])))\n"
        "np.save(sys.argv[3], answer.detach().numpy())\n"
    )
    files = [tmp_path / "out" / "data" / "model.pt2", tmp_path / "rows.npy", tmp_path / "y.npy"]
    subprocess.run([sys.executable, "-c", code, *map(str, files)], check=True, timeout=300)
    np.testing.assert_array_equal(np.load(files[-1]), run({"x": data})["y"])


def test_lowered_trees_are_the_same_to_the_bit(tmp_path):
    trees = random_trees(np.random.default_rng(3), 6, 4, 5, 2, "target")
    model = ml_model(
        "TreeEnsembleRegressor", np.float64, ["batch", 5], [("y", FLOAT)], n_targets=2, **trees
    )
    rows = np.random.default_rng(4).normal(size=(40, 5))
    path = tmp_path / "lowered.onnx"
    onnx.save_model(lower(model).model, str(path))
    run = program(path, {"x": rows[:3]}, tmp_path / "out")
    for size in (1, 40):
        expected = answers(model, x=rows[:size])["y"]
        np.testing.assert_array_equal(run({"x": rows[:size]})["y"], expected)


def test_an_unknown_operator_is_refused_by_name(tmp_path):
    path = onnx_graphs.save(
        [helper.make_node("NonZero", ["x"], ["y"], name="where")],
        [onnx_graphs.tensor("x", ["rows", 2])],
        [onnx_graphs.tensor("y", [2, None], onnx.TensorProto.INT64)],
        tmp_path / "graph.onnx",
    )
    with pytest.raises(UnsupportedModelError, match="NonZero .node 'where'. is not known"):
        program(path, {"x": np.ones((3, 2), np.float32)}, tmp_path / "out")


def test_a_shape_that_comes_from_the_data_is_refused_by_name(tmp_path):
    path = onnx_graphs.save(
        [
            helper.make_node("Cast", ["x"], ["shape"], to=onnx.TensorProto.INT64),
            helper.make_node("Reshape", ["w", "shape"], ["y"], name="to"),
        ],
        [onnx_graphs.tensor("x", [1])],
        [onnx_graphs.tensor("y", [None])],
        tmp_path / "graph.onnx",
        [numpy_helper.from_array(np.ones((2, 2), np.float32), "w")],
    )
    with pytest.raises(UnsupportedModelError, match="Reshape .node 'to'. reads a shape"):
        program(path, {"x": np.array([4], np.float32)}, tmp_path / "out")
