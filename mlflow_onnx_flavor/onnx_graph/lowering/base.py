"""The base of the lowering rules: an operator's node, and the graph that a rule writes into."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mlflow_onnx_flavor.errors import UnsupportedModelError
from mlflow_onnx_flavor.onnx_graph.builder import GraphParts

if TYPE_CHECKING:
    import onnx

STRING = np.dtype(object)


@dataclass(frozen=True)
class MlNode:
    """A node of ai.onnx.ml; ``attributes``: Python values, tensors as numpy arrays.

    ``dtype``: the numpy dtype of its first input; object for text.
    """

    op_type: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    dtype: np.dtype

    def get(self, name: str, default: Any = None) -> Any:
        """Return an attribute, or the default if the node does not set it."""
        return self.attributes.get(name, default)

    def numbers(self, name: str) -> np.ndarray:
        """Return an attribute of numbers; its twin ``<name>_as_tensor`` takes precedence.

        The dtype is float32 or int64 by the standard, or the tensor's; the array is empty if
        neither attribute is set.
        """
        tensor = self.attributes.get(f"{name}_as_tensor")
        if tensor is not None:
            return np.asarray(tensor)
        values = self.attributes.get(name)
        if isinstance(values, np.ndarray):
            return values
        if values is None or len(values) == 0:
            return np.zeros(0, np.float32)
        return np.asarray(values, np.int64 if isinstance(values[0], int) else np.float32)

    def refuse(self, why: str) -> UnsupportedModelError:
        """Return the error for a feature of this node that ordinary operators cannot express."""
        place = f" (node {self.name!r})" if self.name else ""
        return UnsupportedModelError(
            f"the operator {self.op_type}{place} {why}; it runs in ONNX Runtime alone"
        )


class Lowered(GraphParts):
    """A collection of the ordinary nodes that replace a node of ai.onnx.ml.

    ``labels``: for each output whose text became positions, the texts that they stand for.
    """

    def __init__(self, unique: Callable[[str], str], initializers: Mapping[str, onnx.TensorProto]):
        super().__init__(unique)
        self._initializers = initializers
        self.dtypes: dict[str, np.dtype] = {}
        self.labels: dict[str, list[str]] = {}

    def initial_value(self, name: str) -> np.ndarray | None:
        """Return the array of an initializer of the model; None for a value that is computed."""
        from onnx import numpy_helper

        tensor = self._initializers.get(name)
        return None if tensor is None else numpy_helper.to_array(tensor)

    def output(self, name: str, value: str, dtype: Any) -> None:
        """Make ``value`` the node's output ``name``, of numpy's ``dtype``."""
        self.add("Identity", value, output=name)
        self.dtypes[name] = np.dtype(dtype)

    def label_output(self, name: str, positions: str, classes: list[int] | list[str]) -> None:
        """Make the class at each of ``positions`` (int64) the output ``name``.

        Text stays as positions, which `labels` explains.
        """
        if classes and isinstance(classes[0], str):
            self.labels[name] = list(classes)
            self.output(name, positions, np.int64)
        else:
            table = self.constant(classes, np.int64)
            self.output(name, self.add("Gather", table, positions, axis=0), np.int64)

    def rows_of(self, value: str) -> str:
        """Add the number of rows of ``value``, int64 of shape (1,)."""
        return self.add("Slice", self.add("Shape", value), *self._span(0, 1))

    def side_by_side(self, *columns: str) -> str:
        """Concatenate matrices of the same rows along the columns."""
        return columns[0] if len(columns) == 1 else self.add("Concat", *columns, axis=1)

    def column(self, matrix: str, position: int) -> str:
        """Select one column of a matrix, shape (rows, 1)."""
        return self.columns(matrix, [position])

    def flat(self, value: str) -> str:
        """Flatten ``value`` to one axis."""
        return self.add("Reshape", value, self.constant([-1], np.int64))

    def as_matrix(self, value: str, columns: int) -> str:
        """Reshape ``value`` to (rows, columns)."""
        return self.add("Reshape", value, self.constant([-1, columns], np.int64))

    def total(self, *values: str) -> str:
        """Add up arrays of one shape in order, as a loop adds them."""
        return values[0] if len(values) == 1 else self.add("Sum", *values)

    def splits(self, matrix: str, count: int) -> list[str]:
        """Split a matrix of ``count`` columns into its columns, each of shape (rows, 1)."""
        return [self.column(matrix, position) for position in range(count)]

    def _span(self, begin: int, end: int) -> tuple[str, str]:
        return self.constant([begin], np.int64), self.constant([end], np.int64)


Rule = Callable[[MlNode, Lowered], None]


def as_node(node: onnx.NodeProto, dtype: np.dtype) -> MlNode:
    """Return ``node`` with its attributes read."""
    from onnx import helper, numpy_helper

    return MlNode(
        node.op_type,
        node.name,
        tuple(node.input),
        tuple(node.output),
        {
            each.name: _plain(helper.get_attribute_value(each), numpy_helper)
            for each in node.attribute
        },
        dtype,
    )


def _plain(value: Any, numpy_helper: Any) -> Any:
    if hasattr(value, "data_type"):  # a TensorProto
        return numpy_helper.to_array(value)
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, list | tuple) or hasattr(value, "__len__"):
        return [each.decode() if isinstance(each, bytes) else each for each in value]
    return value
