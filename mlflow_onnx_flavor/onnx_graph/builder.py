"""Builder: nodes and constants of a new graph, for our own converters.

The same parts become a model of their own (`as_model`) or go into the graph that skl2onnx builds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import onnx

OPSET, ML_OPSET = 21, 5
_ML = "ai.onnx.ml"


class GraphParts:
    """A collection of nodes; every method that adds one returns the name of its output.

    ``unique`` turns a proposal into a name that nothing else in the graph has.
    """

    def __init__(self, unique: Callable[[str], str] | None = None):
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self._numbers = count(1)
        self._unique = unique or (lambda proposal: f"{proposal}_{next(self._numbers)}")

    def add(
        self, op_type: str, *inputs: str, output: str = "", domain: str = "", **attributes: Any
    ) -> str:
        """Add a node with one output, named ``output`` if that is set."""
        from onnx import helper

        name = output or self._unique(op_type.lower())
        self.nodes.append(
            helper.make_node(
                op_type, list(inputs), [name], name=f"{name}_node", domain=domain, **attributes
            )
        )
        return name

    def ml(self, op_type: str, *inputs: str, **attributes: Any) -> str:
        """Add a node of the domain ai.onnx.ml."""
        return self.add(op_type, *inputs, domain=_ML, **attributes)

    def constant(self, values: Any, dtype: Any = None) -> str:
        """Add an initializer; text becomes a tensor of strings."""
        from onnx import helper, numpy_helper

        array = np.asarray(values) if dtype is None else np.asarray(values, dtype)
        name = self._unique("constant")
        if array.dtype.kind in "OU":
            texts = [str(each).encode() for each in array.ravel()]
            tensor = helper.make_tensor(name, 8, array.shape, texts)  # type: ignore[arg-type]
            self.initializers.append(tensor)  # 8: strings, which onnx takes as bytes
        else:
            self.initializers.append(numpy_helper.from_array(np.array(array, order="C"), name))
        return name

    def cast(self, value: str, dtype: Any, output: str = "") -> str:
        """Cast ``value`` to numpy's ``dtype``."""
        return self.add("Cast", value, output=output, to=onnx_type(dtype))

    def columns(self, rows: str, positions: Any) -> str:
        """Select the columns of ``rows`` (shape (rows, columns)) at ``positions``."""
        return self.add("Gather", rows, self.constant(positions, np.int64), axis=1)

    def sorted_rows(self, rows: str, columns: int) -> tuple[str, str]:
        """Sort each row of ``rows`` (shape (rows, columns)) in ascending order.

        Returns the names of the sorted rows and of the order.
        """
        from onnx import helper

        values, order = self._unique("ascending"), self._unique("order")
        self.nodes.append(
            helper.make_node(
                "TopK",
                [rows, self.constant([columns], np.int64)],
                [values, order],
                name=f"{values}_node",
                axis=1,
                largest=0,
                sorted=1,
            )
        )
        return values, order

    def label_of(self, positions: str, classes: Any, output: str = "") -> str:
        """Look up the class at each of ``positions``, an int64 array of shape (rows,).

        The dtype of the classes is `label_dtype`.
        """
        known = np.asarray(classes).astype(label_dtype(classes))
        return self.add("Gather", self.constant(known), positions, output=output, axis=0)


def as_model(
    parts: GraphParts,
    inputs: Mapping[str, tuple[Any, list[int | None]]],
    outputs: Mapping[str, tuple[Any, list[int | None]]],
) -> onnx.ModelProto:
    """Return a model of the parts alone; each input and output: name -> (numpy dtype, shape)."""
    from onnx import helper

    def typed(values: Mapping[str, tuple[Any, list[int | None]]]) -> list[onnx.ValueInfoProto]:
        return [
            helper.make_tensor_value_info(name, onnx_type(dtype), shape)
            for name, (dtype, shape) in values.items()
        ]

    graph = helper.make_graph(
        parts.nodes, "model", typed(inputs), typed(outputs), initializer=parts.initializers
    )
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(_ML, ML_OPSET)]
    # 10 is the first version of the format that goes with opset 21.
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def label_dtype(classes: Any) -> Any:
    """Return the dtype of labels in a graph: text, int64 if all are whole numbers, else float64."""
    known = np.asarray(classes)
    if known.dtype.kind not in "iubf":
        return object
    return np.int64 if (known == np.round(known.astype(np.float64))).all() else np.float64


def onnx_type(dtype: Any) -> int:
    """Return ONNX's number of a numpy dtype; object and text are strings."""
    from onnx import helper

    found = np.dtype(dtype)
    return 8 if found.kind in "OU" else helper.np_dtype_to_tensor_dtype(found)
