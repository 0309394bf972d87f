"""Infer the graph specification of an ONNX model that comes without one.

Inputs are matched with the columns of the signature.  The prediction is a dictionary of all outputs
as the graph gives them, since the source is not known.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlflow_onnx_flavor.errors import UnsupportedModelError
from mlflow_onnx_flavor.schemas.graph import FeedSpec, GraphSpec, PredictionPart, PredictionSpec

if TYPE_CHECKING:
    import onnx
    from mlflow.models import ModelSignature

ANY_SHAPE = (-1,)

# FLOAT to UINT64 in onnx.proto: numpy has no dtype for those beyond (bfloat16, float8, int4, ...).
_FED_TYPES = frozenset(range(1, 14))


def infer_graph(model: onnx.ModelProto, signature: ModelSignature | None) -> GraphSpec:
    """Return how ``model`` (its weights may be missing) is fed what ``signature`` describes.

    - one graph input and columns: the columns side by side
    - several graph inputs and columns: each input is the column of its name
    - a column of arrays, or one for an input that is more than one value a row: a tensor
    - no signature and several graph inputs of shape (rows, 1): the columns of their names
    - otherwise: each input is the tensor of its name; a bare array where it is the only one

    Raises UnsupportedModelError for inputs that are not tensors.
    """
    inputs = _fed_inputs(model)
    outputs = tuple(each.name for each in model.graph.output)
    columns = _columns(signature)
    if signature is not None and columns and len(inputs) == 1:
        feeds = [_whole(inputs[0], columns, signature)]
    else:
        if signature is None and len(inputs) > 1:
            columns = tuple(each.name for each in inputs if _is_column(each))
        feeds = [_named(each, columns, signature) for each in inputs]
    parts = tuple(
        PredictionPart(output=name, dtype="", shape=ANY_SHAPE, key=name) for name in outputs
    )
    return GraphSpec(
        feeds=tuple(feeds),
        prediction=PredictionSpec(container="dict", parts=parts),
        outputs=outputs,
    )


def _fed_inputs(model: onnx.ModelProto) -> list[Any]:
    """Return the graph's inputs, without the weights that older models list among them."""
    weights = {each.name for each in model.graph.initializer}
    inputs = [each for each in model.graph.input if each.name not in weights]
    for each in inputs:
        if _tensor_type(each).elem_type not in _FED_TYPES:
            raise UnsupportedModelError(
                f"the graph's input {each.name!r} is not a tensor of numbers or text that numpy"
                " has a dtype for; export the model with other inputs"
            )
    return inputs


def _columns(signature: ModelSignature | None) -> tuple[str, ...]:
    schema = None if signature is None else signature.inputs
    if schema is None or schema.is_tensor_spec() or not schema.has_input_names():
        return ()
    return tuple(map(str, schema.input_names()))  # numbers where a frame had no names


def _holds_arrays(signature: ModelSignature, column: str) -> bool:
    """Return whether the cells of the signature's column are arrays."""
    from mlflow.types import DataType

    specs = {str(each.name): each for each in signature.inputs}
    return not isinstance(specs[column].type, DataType)


def _optional(signature: ModelSignature, columns: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names among ``columns`` that the signature declares optional."""
    named = map(str, signature.inputs.optional_input_names())
    return tuple(each for each in named if each in columns)


def _whole(graph_input: Any, columns: tuple[str, ...], signature: ModelSignature) -> FeedSpec:
    """Return the specification of the only graph input, fed with all columns."""
    if len(columns) == 1:
        return _of_column(graph_input, columns[0], signature)
    return FeedSpec(
        name=graph_input.name,
        layout="matrix",
        dtype=_dtype(graph_input),
        columns=columns,
        optional=_optional(signature, columns),
    )


def _of_column(graph_input: Any, column: str, signature: ModelSignature) -> FeedSpec:
    """Return the specification of a graph input fed with one column: a value or an array a row."""
    if _is_optional(graph_input) or _holds_arrays(signature, column):
        return _tensor(graph_input, column)
    if _rank(graph_input) not in (None, 1, 2):
        return _tensor(graph_input, column)
    return FeedSpec(
        name=graph_input.name,
        layout="column",
        dtype=_dtype(graph_input),
        columns=(column,),
        optional=_optional(signature, (column,)),
    )


def _named(
    graph_input: Any, columns: tuple[str, ...], signature: ModelSignature | None
) -> FeedSpec:
    name = graph_input.name
    schema = None if signature is None else signature.inputs
    if signature is not None and schema is not None and name in columns:
        return _of_column(graph_input, name, signature)
    if name in columns:
        return FeedSpec(name=name, layout="column", dtype=_dtype(graph_input), columns=(name,))
    if schema is None or columns or len(schema) != 1 or not schema.has_input_names():
        return _tensor(graph_input, name)
    return _tensor(graph_input, schema.input_names()[0])


def _tensor(graph_input: Any, key: str) -> FeedSpec:
    return FeedSpec(name=graph_input.name, layout="tensor", dtype=_dtype(graph_input), key=key)


def _rank(graph_input: Any) -> int | None:
    tensor = _tensor_type(graph_input)
    return len(tensor.shape.dim) if tensor.HasField("shape") else None


def _is_column(graph_input: Any) -> bool:
    """Return whether the graph input has shape (rows, 1)."""
    is_matrix = _rank(graph_input) == 2 and not _is_optional(graph_input)
    return is_matrix and _tensor_type(graph_input).shape.dim[1].dim_value == 1


def _is_optional(graph_input: Any) -> bool:
    return bool(graph_input.type.HasField("optional_type"))


def _tensor_type(graph_input: Any) -> Any:
    """Return the tensor type of a graph input; for an optional input, that of its element."""
    found = graph_input.type
    return (found.optional_type.elem_type if _is_optional(graph_input) else found).tensor_type


def _dtype(graph_input: Any) -> str:
    import onnx

    return onnx.helper.tensor_dtype_to_np_dtype(_tensor_type(graph_input).elem_type).name
