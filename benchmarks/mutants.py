"""Mutants of an ONNX model, each with one fault of the kinds that real conversions have."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

RELATIVE = 1e-3
_NEIGHBOURS = {
    "Relu": ("LeakyRelu", {"alpha": 0.01}),
    "LeakyRelu": ("Relu", {}),
    "Gelu": ("Relu", {}),
    "Erf": ("Tanh", {}),
    "Tanh": ("Softsign", {}),
    "Sigmoid": ("HardSigmoid", {}),
    "Elu": ("Selu", {}),
    "Softplus": ("Relu", {}),
    "Softmax": ("LogSoftmax", None),
}
_POST_TRANSFORMS = {b"LOGISTIC": b"PROBIT", b"SOFTMAX": b"SOFTMAX_ZERO", b"NONE": b"LOGISTIC"}
_SPLITS = ("nodes_splits", "nodes_values")
_WEIGHTS = ("coefficients", "leaf_weights", "class_weights", "target_weights", "intercepts")


@dataclass(frozen=True)
class Mutant:
    kind: str
    where: str
    model: onnx.ModelProto


def mutants(model: onnx.ModelProto, rng: np.random.Generator, each: int) -> Iterator[Mutant]:
    """Yield at most ``each`` mutants of every kind for which the model has a place."""
    for kind, places in _KINDS.items():
        found = list(places(model))
        for at in rng.permutation(len(found))[:each]:
            where, change = found[at]
            copy = onnx.ModelProto()
            copy.CopyFrom(model)
            if change(copy, rng):
                yield Mutant(kind, where, copy)


Place = tuple[str, Callable[[onnx.ModelProto, np.random.Generator], bool]]


def _a_weight_off(model: onnx.ModelProto) -> Iterator[Place]:
    for index, tensor in enumerate(model.graph.initializer):
        if _is_float(tensor) and np.prod(tensor.dims) > 1:

            def change(copy, rng, index=index):
                return _scaled(copy.graph.initializer[index], rng)

            yield tensor.name, change
    for node, attribute in _attributes(model, _WEIGHTS):

        def change(copy, rng, node=node, attribute=attribute):
            return _scaled_attribute(copy.graph.node[node].attribute[attribute], rng)

        yield model.graph.node[node].name, change


def _a_split_moved(model: onnx.ModelProto) -> Iterator[Place]:
    for node, attribute in _attributes(model, _SPLITS):

        def change(copy, rng, node=node, attribute=attribute):
            return _scaled_attribute(copy.graph.node[node].attribute[attribute], rng)

        yield model.graph.node[node].name, change


def _operands_swapped(model: onnx.ModelProto) -> Iterator[Place]:
    for index, node in enumerate(model.graph.node):
        if node.op_type in ("Sub", "Div", "MatMul", "Pow"):

            def change(copy, _rng, index=index):
                inputs = copy.graph.node[index].input
                inputs[0], inputs[1] = inputs[1], inputs[0]
                return True

            yield node.name, change


def _epsilon_or_axis(model: onnx.ModelProto) -> Iterator[Place]:
    for node, attribute in _attributes(model, ("epsilon", "axis")):

        def change(copy, _rng, node=node, attribute=attribute):
            found = copy.graph.node[node].attribute[attribute]
            if found.name == "epsilon":
                found.f = found.f * 100
            else:
                found.i = 1 if found.i != 1 else 0
            return True

        yield model.graph.node[node].name, change


def _activation_replaced(model: onnx.ModelProto) -> Iterator[Place]:
    for index, node in enumerate(model.graph.node):
        if node.op_type in _NEIGHBOURS:

            def change(copy, _rng, index=index):
                found = copy.graph.node[index]
                found.op_type, attributes = _NEIGHBOURS[found.op_type]
                if attributes is not None:
                    del found.attribute[:]
                    made = helper.make_node(found.op_type, [], [], **attributes)
                    found.attribute.extend(made.attribute)
                return True

            yield node.name, change
    for node, attribute in _attributes(model, ("post_transform",)):

        def change(copy, _rng, node=node, attribute=attribute):
            found = copy.graph.node[node].attribute[attribute]
            found.s = _POST_TRANSFORMS.get(found.s, b"NONE")
            return True

        yield model.graph.node[node].name, change


def _bias_dropped(model: onnx.ModelProto) -> Iterator[Place]:
    biases = {
        node.input[2]
        for node in model.graph.node
        if node.op_type in ("Gemm", "Conv", "ConvTranspose") and len(node.input) > 2
    } | {name for node in model.graph.node if node.op_type == "Add" for name in node.input}
    for index, tensor in enumerate(model.graph.initializer):
        if tensor.name in biases and _is_float(tensor) and len(tensor.dims) == 1:

            def change(copy, _rng, index=index):
                found = copy.graph.initializer[index]
                found.CopyFrom(
                    numpy_helper.from_array(numpy_helper.to_array(found) * 0, found.name)
                )
                return True

            yield tensor.name, change


def _reduced_precision(model: onnx.ModelProto) -> Iterator[Place]:
    for name, rounded in (("bfloat16", _to_bfloat16), ("float16", _to_float16)):

        def change(copy, _rng, rounded=rounded):
            for tensor in filter(_is_float, copy.graph.initializer):
                array = numpy_helper.to_array(tensor)
                new = rounded(array).astype(array.dtype)
                tensor.CopyFrom(numpy_helper.from_array(new, tensor.name))
            for node, attribute in _attributes(copy, _WEIGHTS):
                _rounded_attribute(copy.graph.node[node].attribute[attribute], rounded)
            return True

        yield name, change


def _output_turned(model: onnx.ModelProto) -> Iterator[Place]:
    for index, output in enumerate(model.graph.output):
        dims = output.type.tensor_type.shape.dim
        if len(dims) == 2 and dims[1].dim_value > 1:

            def change(copy, _rng, index=index, columns=dims[1].dim_value):
                name = copy.graph.output[index].name
                for node in copy.graph.node:
                    for at, made in enumerate(node.output):
                        if made == name:
                            node.output[at] = f"{name}_turned"
                order = numpy_helper.from_array(np.arange(columns)[::-1].copy(), "turned_order")
                copy.graph.initializer.append(order)
                copy.graph.node.append(
                    helper.make_node("Gather", [f"{name}_turned", "turned_order"], [name], axis=1)
                )
                return True

            yield output.name, change


_KINDS: dict[str, Callable[[onnx.ModelProto], Iterator[Place]]] = {
    "a weight off by 1e-3": _a_weight_off,
    "a split moved by 1e-3": _a_split_moved,
    "operands swapped": _operands_swapped,
    "epsilon or axis changed": _epsilon_or_axis,
    "activation replaced": _activation_replaced,
    "bias dropped": _bias_dropped,
    "reduced precision": _reduced_precision,
    "output turned": _output_turned,
}


def _attributes(model: onnx.ModelProto, names: tuple[str, ...]) -> Iterator[tuple[int, int]]:
    for index, node in enumerate(model.graph.node):
        for at, attribute in enumerate(node.attribute):
            if attribute.name in names:
                yield index, at


def _is_float(tensor: Any) -> bool:
    return tensor.data_type in (onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE)


def _scaled(tensor: Any, rng: np.random.Generator) -> bool:
    """Return the array with one nonzero element multiplied by 1 + 1e-3."""
    array = numpy_helper.to_array(tensor).copy()
    candidates = np.flatnonzero(array)
    if not len(candidates):
        return False
    array.flat[rng.choice(candidates)] *= 1 + RELATIVE
    tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    return True


def _scaled_attribute(attribute: Any, rng: np.random.Generator) -> bool:
    if attribute.HasField("t"):
        return _scaled(attribute.t, rng)
    candidates = np.flatnonzero(np.array(attribute.floats))
    if not len(candidates):
        return False
    attribute.floats[rng.choice(candidates)] *= 1 + RELATIVE
    return True


def _rounded_attribute(attribute: Any, rounded: Callable[[np.ndarray], np.ndarray]) -> None:
    if attribute.HasField("t"):
        array = numpy_helper.to_array(attribute.t)
        new = rounded(array).astype(array.dtype)
        attribute.t.CopyFrom(numpy_helper.from_array(new, attribute.t.name))
    else:
        values = rounded(np.array(attribute.floats, np.float32))
        del attribute.floats[:]
        attribute.floats.extend(values.astype(float).tolist())


def _to_float16(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float16)


def _to_bfloat16(array: np.ndarray) -> np.ndarray:
    """Return the array rounded to bfloat16: to float32 numbers whose last 16 bits are zero."""
    bits = array.astype(np.float32).view(np.uint32)
    return ((bits + 0x8000) & 0xFFFF0000).astype(np.uint32).view(np.float32)
