"""Custom operator handlers for TensorFlow operators that tf2onnx lacks and ONNX can express.

Each handler replaces one node of tf2onnx's graph: ``handler(context, node, name, arguments)``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import tensorflow as tf
from onnx import TensorProto, helper

from mlflow_onnx_flavor.frameworks.tensorflow.division import floor_divide, floor_mod

ML_DOMAIN = "ai.onnx.ml"


def handlers(captured: Mapping[str, Any]) -> dict[str, tuple[Callable[..., None], list]]:
    """Return the handlers by operator; ``captured`` are captured tensors by name in the graph."""
    return {
        "Bucketize": (_bucketize, []),
        "DenseBincount": (partial(_bincount, captured), []),
        "Erfc": (_erfc, []),
        "FloorDiv": (floor_divide, []),
        "FloorMod": (floor_mod, []),
        "LookupTableFindV2": (partial(_lookup, captured), []),
    }


def _erfc(context: Any, node: Any, _name: str, _arguments: list) -> None:
    """Replace Erfc by 1 - erf(x); Keras's exact GELU uses it."""
    (x,), output = node.input, node.output[0]
    dtype, shape = context.get_dtype(output), context.get_shape(output)
    context.remove_node(node.name)
    one = context.make_const(f"{node.name}_one", np.ones((), _numpy_dtype(dtype)))
    erf = context.make_node("Erf", [x], shapes=[shape], dtypes=[dtype])
    context.make_node(
        "Sub",
        [one.output[0], erf.output[0]],
        name=node.name,
        outputs=[output],
        shapes=[shape],
        dtypes=[dtype],
    )


def _bucketize(context: Any, node: Any, _name: str, _arguments: list) -> None:
    """Replace Bucketize by the number of boundaries <= x; Keras's Discretization uses it."""
    (x,), output = node.input, node.output[0]
    shape = context.get_shape(output)
    boundaries = np.array(node.get_attr("boundaries").floats, np.float32)
    context.remove_node(node.name)
    last = context.make_const(f"{node.name}_axis", np.array([-1], np.int64)).output[0]
    limits = context.make_const(f"{node.name}_boundaries", boundaries).output[0]
    number = context.make_node("Cast", [x], attr={"to": TensorProto.FLOAT}).output[0]
    column = context.make_node("Unsqueeze", [number, last]).output[0]
    reached = context.make_node("GreaterOrEqual", [column, limits]).output[0]
    counted = context.make_node("Cast", [reached], attr={"to": TensorProto.INT32}).output[0]
    context.make_node(
        "ReduceSum",
        [counted, last],
        attr={"keepdims": 0},
        name=node.name,
        outputs=[output],
        shapes=[shape],
        dtypes=[TensorProto.INT32],
    )


def _bincount(
    captured: Mapping[str, Any], context: Any, node: Any, _name: str, _arguments: list
) -> None:
    """Replace DenseBincount by counts of each number in each row, or by their presence.

    Lookup layers use it for the output modes "count" and "multi_hot".  tf2onnx's own form counts
    over all rows together.
    """
    (numbers, size, weights), output = node.input, node.output[0]
    dtype, shape = context.get_dtype(output), context.get_shape(output)
    if _constant(captured, context, weights).size:
        return  # the operator stays, and `refuse_unknown_operators` names it
    operator = "ReduceMax" if node.get_attr_value("binary_output") else "ReduceSum"
    context.remove_node(node.name)
    values = np.array([0, 1], _numpy_dtype(dtype))
    off_on = context.make_const(f"{node.name}_off_on", values).output[0]
    places = context.make_const(f"{node.name}_axis", np.array([-2], np.int64)).output[0]
    whole = context.make_node("Cast", [numbers], attr={"to": TensorProto.INT64}).output[0]
    depth = context.make_node("Cast", [size], attr={"to": TensorProto.INT64}).output[0]
    each = context.make_node("OneHot", [whole, depth, off_on], attr={"axis": -1}).output[0]
    context.make_node(
        operator,
        [each, places],
        attr={"keepdims": 0},
        name=node.name,
        outputs=[output],
        shapes=[shape],
        dtypes=[dtype],
    )


def _lookup(
    captured: Mapping[str, Any], context: Any, node: Any, _name: str, _arguments: list
) -> None:
    """Replace a lookup, text or integers to either, by LabelEncoder (Keras's lookup layers)."""
    table, key, default = node.input
    output = node.output[0]
    of_key, of_value = context.get_dtype(key), context.get_dtype(output)
    shape = context.get_shape(output)
    keys, values = _table(captured[table], of_key, of_value)
    attributes = {
        f"keys_{_TYPES[of_key]}s": keys.tolist(),
        f"values_{_TYPES[of_value]}s": values.tolist(),
        f"default_{_TYPES[of_value]}": _constant(captured, context, default).item(),
    }
    context.remove_node(node.name)
    context.make_node(
        "LabelEncoder",
        [key],
        attr=attributes,
        name=node.name,
        outputs=[output],
        shapes=[shape],
        dtypes=[of_value],
        domain=ML_DOMAIN,
    )


_TYPES = {7: "int64", 8: "string"}  # TensorProto's data types that LabelEncoder accepts


def _table(handle: Any, of_key: int, of_value: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the keys and values of a lookup table.

    They are read in a new thread: tf2onnx calls handlers within a graph, and only a new thread
    starts in eager mode, where a handle can be read.
    """

    def read() -> tuple[np.ndarray, np.ndarray]:
        found = tf.raw_ops.LookupTableExportV2(
            table_handle=handle, Tkeys=_TYPES[of_key], Tvalues=_TYPES[of_value]
        )
        return found.keys.numpy(), found.values.numpy()

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(read).result()


def _constant(captured: Mapping[str, Any], context: Any, name: str) -> np.ndarray:
    if name in captured:
        return captured[name].numpy()
    return context.get_node_by_output(name).get_tensor_value(as_list=False)


def _numpy_dtype(dtype: int) -> np.dtype:
    return helper.tensor_dtype_to_np_dtype(dtype)
