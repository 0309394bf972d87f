"""Lowering: rewrite the operators of ai.onnx.ml into ordinary ONNX operators.

The model then runs where ai.onnx.ml is unknown: PyTorch, TensorFlow, OpenVINO, accelerators.

lowered = lower(model)
lowered.model, lowered.labels

Adding operators is adding one file to this package, with a table ``RULES`` from operator to rule.
Each rule repeats the order and the dtypes of ONNX Runtime's own arithmetic, so that answers are the
same to the bit wherever additions are done in the order that is written.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np

from mlflow_onnx_flavor.errors import UnsupportedModelError
from mlflow_onnx_flavor.onnx_graph.lowering.base import STRING, Lowered, Rule, as_node
from mlflow_onnx_flavor.onnx_graph.lowering.texts import positions_for_texts

if TYPE_CHECKING:
    import onnx

ML = "ai.onnx.ml"
# The first opset in which sums and splits have their axes as inputs.
LEAST_OPSET = 13


@dataclass(frozen=True)
class LoweredModel:
    """A model without operators of ai.onnx.ml.

    ``labels``: the texts of each output of text: the output itself holds positions in them (int64).
    ``replaced``: the operators that were rewritten, and how many.
    """

    model: onnx.ModelProto
    labels: Mapping[str, list[str]] = field(default_factory=dict)
    replaced: Mapping[str, int] = field(default_factory=dict)


@cache
def rules() -> Mapping[str, Rule]:
    """Return the rule of every operator that can be rewritten."""
    found: dict[str, Rule] = {}
    for each in pkgutil.iter_modules(__path__):
        module = importlib.import_module(f"{__name__}.{each.name}")
        found |= getattr(module, "RULES", {})
    return found


def ml_operators(model: onnx.ModelProto) -> list[str]:
    """Return the operators of ai.onnx.ml in ``model``, with subgraphs and functions, each once."""
    nodes = [*model.graph.node, *(node for each in model.functions for node in each.node)]
    return sorted(
        {each.op_type for node in nodes for each in _with_inner(node) if each.domain == ML}
    )


def lower(model: onnx.ModelProto) -> LoweredModel:
    """Return ``model`` rewritten, without changing it.

    Raises UnsupportedModelError, naming the operator, if one has no rule, works on text that is no
    label, or is in a subgraph.
    """
    import onnx

    _check(model)
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    nodes = list(copy.graph.node)
    replaced: dict[Any, Any] = {}
    dtypes = _Dtypes(copy)
    names = _Names(copy)
    initializers = {each.name: each for each in model.graph.initializer}
    labels: dict[str, list[str]] = {}
    del copy.graph.node[:]
    for node in nodes:
        if node.domain != ML:
            copy.graph.node.append(node)
            continue
        lowered = Lowered(names.unique, initializers)
        rules()[node.op_type](as_node(node, dtypes[node.input[0]]), lowered)
        copy.graph.node.extend(lowered.nodes)
        copy.graph.initializer.extend(lowered.initializers)
        dtypes.learn(lowered.dtypes)
        labels |= lowered.labels
        replaced[node.op_type] = replaced.get(node.op_type, 0) + 1
    labels = positions_for_texts(copy, labels)
    _retype_outputs(copy, dtypes.known, labels)
    _drop_ml_opset(copy)
    return LoweredModel(
        copy,
        {each.name: labels[each.name] for each in copy.graph.output if each.name in labels},
        replaced,
    )


def _check(model: onnx.ModelProto) -> None:
    if not ml_operators(model):
        return
    opset = next((each.version for each in model.opset_import if each.domain in ("", "ai.onnx")), 1)
    if opset < LEAST_OPSET:
        raise UnsupportedModelError(
            f"the model has opset {opset}, and operators of ai.onnx.ml are rewritten from opset"
            f" {LEAST_OPSET} on; convert it with a newer opset"
        )
    outer = {id(node) for node in model.graph.node}
    for node in model.graph.node:
        for each in _with_inner(node):
            if each.domain != ML:
                continue
            if each.op_type not in rules():
                raise UnsupportedModelError(
                    f"the operator {each.op_type} of ai.onnx.ml has no form in ordinary operators;"
                    " it runs in ONNX Runtime alone"
                )
            if id(each) not in outer:
                raise UnsupportedModelError(
                    f"the operator {each.op_type} of ai.onnx.ml stands in a branch or a loop, where"
                    " it is not rewritten; it runs in ONNX Runtime alone"
                )


def _with_inner(node: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
    """Yield the node and those of its subgraphs."""
    yield node
    for attribute in node.attribute:
        for graph in ([attribute.g] if attribute.HasField("g") else []) + list(attribute.graphs):
            for inner in graph.node:
                yield from _with_inner(inner)


class _Dtypes:
    """The dtype of every value, inferred again after a rule added values."""

    def __init__(self, model: onnx.ModelProto):
        import onnx

        self._template = onnx.ModelProto()
        self._template.CopyFrom(model)
        self.known: dict[str, np.dtype] = {}
        self._infer()

    def __getitem__(self, name: str) -> np.dtype:
        if name not in self.known:
            self._infer()
        if name not in self.known:
            raise UnsupportedModelError(
                f"the dtype of {name!r} is not known, so what reads it cannot be rewritten; run"
                " onnx.shape_inference on the model and export it again"
            )
        return self.known[name]

    def learn(self, dtypes: Mapping[str, np.dtype]) -> None:
        from mlflow_onnx_flavor.onnx_graph.builder import onnx_type

        self.known |= dtypes
        for name, dtype in dtypes.items():
            value = self._template.graph.value_info.add(name=name)
            value.type.tensor_type.elem_type = onnx_type(dtype)

    def _infer(self) -> None:
        import onnx

        graph = onnx.shape_inference.infer_shapes(self._template).graph
        for value in (*graph.input, *graph.value_info, *graph.output):
            if number := value.type.tensor_type.elem_type:
                self.known.setdefault(value.name, _numpy_dtype(number))
        for tensor in graph.initializer:
            self.known.setdefault(tensor.name, _numpy_dtype(tensor.data_type))


class _Names:
    """A generator of names that nothing in the graph has."""

    def __init__(self, model: onnx.ModelProto):
        graph = model.graph
        self._used = {each.name for each in (*graph.input, *graph.initializer)}
        self._used |= {name for node in graph.node for name in (*node.output, node.name)}
        self._numbers = count(1)

    def unique(self, proposal: str) -> str:
        name = next(
            name
            for name in (f"lowered_{proposal}_{number}" for number in self._numbers)
            if name not in self._used
        )
        self._used.add(name)
        return name


def _numpy_dtype(number: int) -> np.dtype:
    from onnx import helper

    return STRING if number == 8 else np.dtype(helper.tensor_dtype_to_np_dtype(number))


def _retype_outputs(
    model: onnx.ModelProto, dtypes: Mapping[str, np.dtype], labels: Mapping[str, list[str]]
) -> None:
    """Set the types of outputs that became tensors: maps of ZipMap, and texts as positions."""
    from onnx import helper

    from mlflow_onnx_flavor.onnx_graph.builder import onnx_type

    values = list(model.graph.output)
    del model.graph.output[:]
    for value in values:
        tensor = value.type.tensor_type
        if value.type.WhichOneof("value") != "tensor_type" and value.name in dtypes:
            value = helper.make_tensor_value_info(
                value.name, onnx_type(dtypes[value.name]), [None, None]
            )
        elif value.name in labels:
            tensor.elem_type = 7  # int64
        model.graph.output.append(value)
    stale = [each for each in model.graph.value_info if each.name in dtypes or each.name in labels]
    for each in stale:
        model.graph.value_info.remove(each)


def _drop_ml_opset(model: onnx.ModelProto) -> None:
    kept = [each for each in model.opset_import if each.domain != ML]
    del model.opset_import[:]
    model.opset_import.extend(kept)
