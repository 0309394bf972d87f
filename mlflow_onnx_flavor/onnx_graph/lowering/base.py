"""What a rule of lowering works with: the operator's node, and the graph it is written into."""

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
    """A node of ai.onnx.ml.  ``attributes``: Python values, tensors as numpy arrays.

    ``dtype``: numpy's, of its first input; object for text.
    """

    op_type: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    dtype: np.dtype

    def get(self, name: str, default: Any = None) -> Any:
        return self.attributes.get(name, default)

    def numbers(self, name: str) -> np.ndarray:
        """An attribute of numbers; its twin ``<name>_as_tensor`` counts first, where it is there.

        Empty where neither is: float32 or int64 as the standard has them, or the tensor's dtype.
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
        """The error for what this node asks that ordinary operators cannot do."""
        place = f" (node {self.name!r})" if self.name else ""
        return UnsupportedModelError(
            f"the operator {self.op_type}{place} {why}; it runs in ONNX Runtime alone"
        )


class Lowered(GraphParts):
    """Collects the ordinary nodes that stand for one of ai.onnx.ml.

    ``labels``: for each output whose text became positions, the texts that they stand for.
    """

    def __init__(self, unique: Callable[[str], str], initializers: Mapping[str, onnx.TensorProto]):
        super().__init__(unique)
        self._initializers = initializers
        self.dtypes: dict[str, np.dtype] = {}
        self.labels: dict[str, list[str]] = {}

    def initial_value(self, name: str) -> np.ndarray | None:
        """The array of an initializer of the model; None for a value that is computed."""
        from onnx import numpy_helper

        tensor = self._initializers.get(name)
        return None if tensor is None else numpy_helper.to_array(tensor)

    def output(self, name: str, value: str, dtype: Any) -> None:
        """``value`` as the node's output ``name``, of numpy's ``dtype``."""
        self.add("Identity", value, output=name)
        self.dtypes[name] = np.dtype(dtype)

    def label_output(self, name: str, positions: str, classes: list[int] | list[str]) -> None:
        """The class at each of ``positions`` (int64) as the output ``name``; text stays positions,
        which `labels` explains.
        """
        if classes and isinstance(classes[0], str):
            self.labels[name] = list(classes)
            self.output(name, positions, np.int64)
        else:
            table = self.constant(classes, np.int64)
            self.output(name, self.add("Gather", table, positions, axis=0), np.int64)

    def rows_of(self, value: str) -> str:
        """The number of rows of ``value``, int64 of shape (1,)."""
        return self.add("Slice", self.add("Shape", value), *self._span(0, 1))

    def side_by_side(self, *columns: str) -> str:
        """Matrices of the same rows, one beside the other."""
        return columns[0] if len(columns) == 1 else self.add("Concat", *columns, axis=1)

    def column(self, matrix: str, position: int) -> str:
        """One column of a matrix, shape (rows, 1)."""
        return self.columns(matrix, [position])

    def flat(self, value: str) -> str:
        """``value`` with all axes in one."""
        return self.add("Reshape", value, self.constant([-1], np.int64))

    def as_matrix(self, value: str, columns: int) -> str:
        """``value`` with shape (rows, columns)."""
        return self.add("Reshape", value, self.constant([-1, columns], np.int64))

    def total(self, *values: str) -> str:
        """Arrays of one shape added up in order, as a loop adds them."""
        return values[0] if len(values) == 1 else self.add("Sum", *values)

    def splits(self, matrix: str, count: int) -> list[str]:
        """The columns of a matrix of ``count`` columns, each of shape (rows, 1)."""
        return [self.column(matrix, position) for position in range(count)]

    def _span(self, begin: int, end: int) -> tuple[str, str]:
        return self.constant([begin], np.int64), self.constant([end], np.int64)


Rule = Callable[[MlNode, Lowered], None]


def as_node(node: onnx.NodeProto, dtype: np.dtype) -> MlNode:
    """``node`` with its attributes read."""
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
