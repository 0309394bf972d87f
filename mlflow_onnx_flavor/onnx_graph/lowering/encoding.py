"""Operators that look up, select or combine: encoders of numbers, columns, maps of ZipMap."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlflow_onnx_flavor.onnx_graph.lowering.base import STRING, Lowered, MlNode

FLOAT = np.dtype(np.float32)


def label_encoder(node: MlNode, graph: Lowered) -> None:
    """Rewrite LabelEncoder: look numbers up in a table; text answers become positions."""
    if node.dtype == STRING:
        raise node.refuse(f"encodes the text {node.inputs[0]!r}")
    keys, values, default = _table(node)
    if isinstance(values[0], str):
        texts = list(dict.fromkeys([*values, default]))
        values, default = [texts.index(each) for each in values], texts.index(default)
        graph.labels[node.outputs[0]] = texts
        dtype = np.dtype(np.int64)
    else:
        dtype = np.asarray(values).dtype
    equal = _equal(graph, node.inputs[0], np.asarray(keys, node.dtype))
    position = graph.add("ArgMax", equal, axis=-1, keepdims=0)
    hits = graph.add("ReduceSum", equal, graph.constant([-1], np.int64), keepdims=0)
    known = graph.add("Greater", hits, graph.constant(0, np.int64))
    answer = graph.add("Gather", graph.constant(values, dtype), position, axis=0)
    answer = graph.add("Where", known, answer, graph.constant(default, dtype))
    graph.output(node.outputs[0], answer, dtype)


def _table(node: MlNode) -> tuple[Any, Any, Any]:
    """Return keys, values and the default for an unknown key, in the dtypes of the attributes."""
    if node.get("keys_strings") or node.get("classes_strings"):
        raise node.refuse("encodes text")
    keys = node.get("keys_tensor")
    if keys is None:
        keys = node.get("keys_int64s") or node.get("keys_floats")
    if node.get("values_strings"):
        return keys, node.get("values_strings"), node.get("default_string", "_Unused")
    if node.get("values_int64s"):
        values = np.asarray(node.get("values_int64s"), np.int64)
        return keys, values, node.get("default_int64", -1)
    if node.get("values_floats"):
        return keys, np.asarray(node.get("values_floats"), FLOAT), node.get("default_float", -0.0)
    values = np.asarray(node.get("values_tensor"))
    if values.dtype.kind in "OUS":
        raise node.refuse("has a tensor of texts")
    default = node.get("default_tensor")
    unknown = -1 if values.dtype.kind == "i" else -0.0
    return keys, values, unknown if default is None else np.asarray(default).ravel()[0]


def _equal(graph: Lowered, values: str, keys: np.ndarray) -> str:
    """Return 1 (int64) where a value is a key, on a last axis for the keys; NaN equals NaN."""
    spread = graph.add("Unsqueeze", values, graph.constant([-1], np.int64))
    equal = graph.add("Equal", spread, graph.constant(keys))
    if keys.dtype.kind == "f" and np.isnan(keys).any():
        both = graph.add("And", graph.add("IsNaN", spread), graph.constant(np.isnan(keys)))
        equal = graph.add("Or", equal, both)
    return graph.cast(equal, np.int64)


def one_hot_encoder(node: MlNode, graph: Lowered) -> None:
    """Rewrite OneHotEncoder for numbers; refuse text and unknown categories that fail."""
    if node.dtype == STRING or node.get("cats_strings"):
        raise node.refuse(f"encodes the text {node.inputs[0]!r}")
    if not node.get("zeros", 1):
        raise node.refuse("fails for an unknown category")
    values = node.inputs[0]
    if node.dtype != np.int64:
        values = graph.cast(values, np.int64)
    hits = _equal(graph, values, np.asarray(node.get("cats_int64s"), np.int64))
    graph.output(node.outputs[0], graph.cast(hits, FLOAT), FLOAT)


def array_feature_extractor(node: MlNode, graph: Lowered) -> None:
    """Rewrite ArrayFeatureExtractor: select positions of the last axis; a vector gives a row."""
    values, positions = node.inputs
    table = graph.initial_value(values)
    flat = graph.flat(positions)
    row = graph.constant([1, -1], np.int64)
    if node.dtype == STRING:
        if table is None or table.ndim > 1:
            raise node.refuse(f"picks from the text {values!r}")
        texts = [each.decode() if isinstance(each, bytes) else str(each) for each in table.ravel()]
        graph.labels[node.outputs[0]] = texts
        graph.output(node.outputs[0], graph.add("Reshape", flat, row), np.int64)
        return
    picked = graph.add("Gather", values, flat, axis=-1)
    if table is not None and table.ndim == 1:
        picked = graph.add("Reshape", picked, row)
    graph.output(node.outputs[0], picked, node.dtype)


def feature_vectorizer(node: MlNode, graph: Lowered) -> None:
    """Rewrite FeatureVectorizer: its inputs side by side in float32."""
    sizes = node.get("inputdimensions")
    if not sizes or len(sizes) != len(node.inputs):
        raise node.refuse("does not say how wide its inputs are")
    parts = [
        graph.as_matrix(graph.cast(each, FLOAT), size)
        for each, size in zip(node.inputs, sizes, strict=True)
    ]
    graph.output(node.outputs[0], graph.side_by_side(*parts), FLOAT)


def zip_map(node: MlNode, graph: Lowered) -> None:
    """Rewrite ZipMap to the matrix that its maps are made of, a column for each class in order."""
    classes = node.get("classlabels_strings") or node.get("classlabels_int64s")
    order = sorted(range(len(classes)), key=lambda position: classes[position])
    graph.output(node.outputs[0], graph.columns(node.inputs[0], order), FLOAT)


RULES = {
    "ArrayFeatureExtractor": array_feature_extractor,
    "FeatureVectorizer": feature_vectorizer,
    "LabelEncoder": label_encoder,
    "OneHotEncoder": one_hot_encoder,
    "ZipMap": zip_map,
}
