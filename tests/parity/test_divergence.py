"""The node where answers go wrong is named, with the layer that it was made from."""

from __future__ import annotations

import mlflow
import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

import mlflow_onnx_flavor
from mlflow_onnx_flavor.inputs import Inputs
from mlflow_onnx_flavor.onnx_graph.layer_names import layer_of
from mlflow_onnx_flavor.parity.divergence import (
    ExposedGraph,
    Known,
    first_divergence,
    known_of_layers,
)
from mlflow_onnx_flavor.source.process import SourceModelWorker
from tests.frameworks.in_process import converted

RNG = np.random.default_rng(0)
ROWS = RNG.normal(size=(6, 4)).astype(np.float32)
STEPS = 60


def chain(folder, name, wrong_at=None):
    """A graph of many steps, each adding its own number; one of them adds another."""
    nodes, weights = [], []
    for step in range(STEPS):
        before = "x" if step == 0 else f"v{step - 1}"
        nodes.append(helper.make_node("Add", [before, f"w{step}"], [f"v{step}"], f"add{step}"))
        amount = np.float32(step + (0.5 if step == wrong_at else 0))
        weights.append(numpy_helper.from_array(amount.reshape(1), f"w{step}"))
    shape = [None, 4]
    graph = helper.make_graph(
        nodes,
        "chain",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(f"v{STEPS - 1}", TensorProto.FLOAT, shape)],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, folder / f"{name}.onnx")
    return folder / f"{name}.onnx"


def exposed(file, what="it"):
    def opened(path):
        return ort.InferenceSession(path, providers=["CPUExecutionProvider"])

    return ExposedGraph(file, opened, {"x": ROWS}, what)


@pytest.mark.parametrize("wrong_at", [0, 1, 17, 31, STEPS - 1])
def test_the_step_that_is_wrong_is_found(wrong_at, tmp_path):
    right = exposed(chain(tmp_path, "right"), "the right one")
    wrong = exposed(chain(tmp_path, "wrong", wrong_at))
    found = first_divergence(wrong, right, 1e-5)
    assert (found.node, found.operator) == (f"add{wrong_at}", "Add")
    assert found.error_before <= 1e-5 < found.error and found.reference == "the right one"


def test_nothing_is_found_where_all_agrees(tmp_path):
    right = exposed(chain(tmp_path, "right"))
    assert first_divergence(right, exposed(chain(tmp_path, "same")), 1e-5) is None
    assert first_divergence(right, Known("nothing", {}), 1e-5) is None


def test_all_layers_between_two_answers_that_are_known_are_named(tmp_path):
    file = chain(tmp_path, "wrong", 3)
    model = onnx.load(str(file))
    for at, node in enumerate(model.graph.node):
        entry = node.metadata_props.add()
        entry.key, entry.value = "mlflow_onnx_flavor.layer", f"layer{at}"
    onnx.save(model, file)
    right = exposed(chain(tmp_path, "right")).values(["v1", "v4", f"v{STEPS - 1}"])
    found = first_divergence(exposed(file), Known("some", right), 1e-5)
    assert (found.output, found.layer) == ("v4", "layer2 or layer3 or layer4")


def test_names_of_layers_come_from_metadata_and_node_names():
    node = helper.make_node("Gemm", ["x"], ["y"], "sequential/dense_1/MatMul")
    assert layer_of(node) == "sequential/dense_1"
    entry = node.metadata_props.add()
    entry.key, entry.value = "pkg.torch.onnx.name_scopes", "['', 'body', 'body.0', 'linear']"
    assert layer_of(node) == "body.0"


@pytest.mark.process
def test_a_weight_that_is_off_is_traced_to_its_layer_in_pytorch(tmp_path):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    body = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 8))
    net = torch.nn.Sequential(body, torch.nn.ReLU(), torch.nn.Linear(8, 2))
    mlflow.pytorch.save_model(
        net,
        str(tmp_path / "source"),
        signature=mlflow.models.infer_signature(ROWS),
        input_example=ROWS,
        serialization_format="pickle",
        pip_requirements=[],
    )
    conversion, _ = converted(tmp_path / "source", "pytorch", Inputs(ROWS), None, tmp_path / "out")
    broken = onnx.load(str(conversion.path))
    weight = next(each for each in broken.graph.initializer if list(each.dims) == [8, 8])
    array = numpy_helper.to_array(weight).copy()
    array[3, 3] += 0.1
    weight.CopyFrom(numpy_helper.from_array(array, weight.name))
    onnx.save(broken, tmp_path / "broken.onnx")

    report = mlflow_onnx_flavor.check_parity(
        tmp_path / "source", tmp_path / "broken.onnx", ROWS, ["CPUExecutionProvider"]
    )
    (found,) = (row.divergence for row in report.rows if row.divergence)
    assert (found.operator, found.layer) == ("Gemm", "0.2")
    assert found.error_before < 1e-6 < found.error
    (cause,) = {row.cause for row in report.rows if row.cause}
    assert "Gemm node" in cause and "layer '0.2'" in cause and "the source's layers" in cause


def nested(keras):
    """A functional model with models inside, whose layers are called by other names than those of
    the scopes that TensorFlow makes of them.
    """
    given = keras.Input((8,))
    inside = keras.layers.Dense(9, activation="tanh", name="proj")(given)
    inside = keras.layers.LayerNormalization(name="norm")(inside)
    encoder = keras.Model(given, inside, name="encoder")
    head = [keras.layers.Dense(5, "relu", name="dense_1"), keras.layers.Dense(2, name="dense")]
    rows = keras.Input((4,), name="rows")
    answer = keras.layers.Dense(8, activation="relu", name="first")(rows)
    twice = keras.layers.Dense(9, activation="gelu", name="twice")
    answer = twice(twice(encoder(answer)))
    answer = keras.layers.BatchNormalization(name="bn")(answer)
    return keras.Model(rows, keras.Sequential(head, name="head")(answer))


def in_a_row(keras):
    layers = [
        keras.Input((4,)),
        keras.layers.Dense(8, activation="relu", name="dense"),
        keras.layers.Reshape((8, 1), name="apart"),
        keras.layers.Conv1D(4, 3, activation="relu", name="conv"),
        keras.layers.Flatten(name="flat"),
        keras.layers.Dense(2, name="dense_1"),
    ]
    return keras.Sequential(layers)


def with_numbers_off(path, dims, out):
    """The file with some numbers of the weight of shape ``dims`` changed."""
    broken = onnx.load(str(path))
    weight = next(each for each in broken.graph.initializer if list(each.dims) == dims)
    array = numpy_helper.to_array(weight).copy()
    array.ravel()[::3] += 0.5
    weight.CopyFrom(numpy_helper.from_array(array, weight.name))
    onnx.save(broken, out)
    return out


WEIGHTS_OF_NESTED = {
    "first": [4, 8],
    "encoder/proj": [8, 9],
    # The exporter multiplies by the scale of the normalization within the activation before it.
    "twice or bn": [9, 9],
    "head/dense_1": [9, 5],
    "head/dense": [5, 2],
}
WEIGHTS_IN_A_ROW = {"dense": [4, 8], "conv": [4, 1, 1, 3], "dense_1": [24, 2]}


@pytest.mark.process
@pytest.mark.parametrize(
    ("build", "weights"), [(nested, WEIGHTS_OF_NESTED), (in_a_row, WEIGHTS_IN_A_ROW)]
)
def test_a_weight_that_is_off_is_traced_to_its_layer_in_keras(build, weights, tmp_path):
    pytest.importorskip("tensorflow")
    keras = pytest.importorskip("keras")
    keras.utils.set_random_seed(0)
    source, out = tmp_path / "source", tmp_path / "out"
    mlflow.tensorflow.save_model(
        build(keras),
        str(source),
        signature=mlflow.models.infer_signature(ROWS),
        input_example=ROWS,
        pip_requirements=[],
    )
    conversion, _ = converted(source, "tensorflow", Inputs(ROWS), None, out)
    with SourceModelWorker(source, "tensorflow") as worker:
        layers = worker.layers(Inputs(ROWS))

    def named(file):
        feeds = {onnx.load(str(file)).graph.input[0].name: ROWS}
        graph = ExposedGraph(file, ort.InferenceSession, feeds)
        found = first_divergence(graph, known_of_layers(graph, layers, "the layers"), 1e-4)
        return found and found.layer

    assert named(conversion.path) is None
    assert {
        layer: named(with_numbers_off(conversion.path, dims, tmp_path / "wrong.onnx"))
        for layer, dims in weights.items()
    } == {layer: layer for layer in weights}
