"""Derive the output half of a signature from the graph alone, without computing an answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mlflow_onnx_flavor.artifact.graph_inference import ANY_SHAPE
from mlflow_onnx_flavor.schemas.graph import PredictionPart, PredictionSpec

if TYPE_CHECKING:
    import onnx
    from mlflow.types import Schema, TensorSpec


def output_schema(prediction: PredictionSpec, model: onnx.ModelProto) -> Schema | None:
    """Return the schema of predictions that are an array or a dictionary of arrays, otherwise None.

    ``model``: its weights may be missing.  The result is also None where an output is not a tensor
    of numbers or text, or its shape is not known.
    """
    from mlflow.types import Schema

    if prediction.container not in ("ndarray", "dict"):
        return None
    is_named = prediction.container == "dict"
    specs = [_spec(part, model, is_named) for part in prediction.parts]
    known: list[Any] = [each for each in specs if each is not None]
    return Schema(known) if len(known) == len(specs) else None


def _spec(part: PredictionPart, model: onnx.ModelProto, is_named: bool) -> TensorSpec | None:
    from mlflow.types import TensorSpec

    declared = next((each for each in model.graph.output if each.name == part.output), None)
    dtype = np.dtype(part.dtype) if part.dtype else _declared_dtype(declared)
    is_open = not part.dtype and part.shape == ANY_SHAPE  # the specification leaves it open
    shape = _declared_shape(declared) if is_open else (-1, *part.shape)
    if dtype is None or shape is None:
        return None
    if dtype.kind in "OU":
        dtype = np.dtype(str)
    return TensorSpec(dtype, shape, part.key or part.output if is_named else None)


def _declared_dtype(declared: onnx.ValueInfoProto | None) -> np.dtype | None:
    import onnx

    element = declared.type.tensor_type.elem_type if declared is not None else 0
    found = onnx.helper.tensor_dtype_to_np_dtype(element) if element else None
    return found if found is not None and found.kind in "fiubOU" else None


def _declared_shape(declared: onnx.ValueInfoProto | None) -> tuple[int, ...] | None:
    """Return the declared shape in MLflow's form: -1 for every open axis and for the first."""
    tensor = declared.type.tensor_type if declared is not None else None
    if tensor is None or not tensor.HasField("shape") or not tensor.shape.dim:
        return None
    rest = (each.dim_value if each.HasField("dim_value") else -1 for each in tensor.shape.dim[1:])
    return (-1, *rest)
