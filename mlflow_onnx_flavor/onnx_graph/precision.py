"""The arithmetic that an ONNX file declares, read from the file without running it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlflow_onnx_flavor.onnx_graph.reduction_terms import terms
from mlflow_onnx_flavor.onnx_graph.structure import read_structure

# ONNX's numbers of the float dtypes (onnx.TensorProto.DataType); narrower ones than float16 and
# bfloat16 are stored forms that kernels widen at least to half precision.
_FLOAT, _FLOAT16, _DOUBLE, _BFLOAT16 = 1, 10, 11, 16
_NAMES = {_FLOAT: "float32", _FLOAT16: "float16", _BFLOAT16: "float16"}

# These return float32 by the standard, whatever their inputs are, and later nodes may cast it to
# float64 again (https://onnx.ai/onnx/operators/, domain ai.onnx.ml).
_FLOAT32_BY_STANDARD = frozenset(
    {
        "FeatureVectorizer",
        "Imputer",
        "LinearClassifier",
        "LinearRegressor",
        "Normalizer",
        "SVMClassifier",
        "SVMRegressor",
        "Scaler",
        "TreeEnsembleClassifier",
        "TreeEnsembleRegressor",
        "ZipMap",
    }
)


@dataclass(frozen=True)
class Arithmetic:
    """The precision and the length of a graph's arithmetic.

    ``dtype``: its coarsest float, from `arithmetic_of`.  ``terms``: how many numbers are added up
    on the way to an answer, as far as the file shows; None: not known.
    """

    dtype: str = "float32"
    terms: int | None = None


def arithmetic_of(path: str | Path) -> Arithmetic:
    """Return the arithmetic of the graph in ``path``; weights are not read.

    Raises CorruptModelError if the file is not ONNX.
    """
    model = read_structure(Path(path))
    return Arithmetic(_coarsest_float(model), terms(model.graph))


def _coarsest_float(model: Any) -> str:
    """Return the coarsest float that any value of the graph has: "float64", "float32", "float16".

    It is "float64" too if the graph has no floats at all, since nothing is then rounded.
    """
    seen = set(_float_types(model.graph))
    for function in model.functions:
        seen |= {each for node in function.node for each in _node_types(node)}
    found = {_NAMES[each] for each in seen if each in _NAMES}
    return next((each for each in ("float16", "float32") if each in found), "float64")


def _float_types(graph: Any) -> Iterator[int]:
    for value in (*graph.input, *graph.output, *graph.value_info):
        yield value.type.tensor_type.elem_type
    for tensor in graph.initializer:
        yield tensor.data_type
    for tensor in graph.sparse_initializer:
        yield tensor.values.data_type
    for node in graph.node:
        yield from _node_types(node)


def _node_types(node: Any) -> Iterator[int]:
    if node.domain == "ai.onnx.ml" and node.op_type in _FLOAT32_BY_STANDARD:
        yield _FLOAT
    for attribute in node.attribute:
        if attribute.name in ("to", "dtype") and attribute.HasField("i"):
            yield attribute.i
        if attribute.name in ("value_float", "value_floats"):  # of a Constant
            yield _FLOAT
        if attribute.HasField("t"):
            yield attribute.t.data_type
        if attribute.HasField("g"):
            yield from _float_types(attribute.g)
        for graph in attribute.graphs:
            yield from _float_types(graph)
