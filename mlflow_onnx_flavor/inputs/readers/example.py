"""The input example that was logged with a model, in the form in which the model receives it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlflow_onnx_flavor.errors import CorruptModelError, one_line
from mlflow_onnx_flavor.inputs.batches import Inputs
from mlflow_onnx_flavor.schemas.origins import INPUT_EXAMPLE
from mlflow_onnx_flavor.scoring.documents import DocumentError, check_json_depth, read_text

if TYPE_CHECKING:
    from mlflow.models import Model
    from mlflow.models.signature import ModelSignature


def logged_example(metadata: Model, folder: Path) -> Any:
    """Return the example as it was logged; None if there is none.

    Raises CorruptModelError for a file that MLflow could not read within Python's limits, and
    whatever MLflow raises.
    """
    info = metadata.saved_input_example_info
    name = info.get("artifact_path") if isinstance(info, dict) else None
    if name and (file := folder / str(name)).is_file() and file.suffix == ".json":
        try:
            check_json_depth(read_text(file))
        except DocumentError as error:
            raise CorruptModelError(
                f"the input example of the model cannot be used: {error}; log the model again"
            ) from error
    return metadata.load_input_example(os.fspath(folder))


def input_example(metadata: Model, folder: Path, signature: ModelSignature) -> Inputs | None:
    """Return the logged example as `Inputs`; None if there is none.

    Raises CorruptModelError if the example cannot be read or contradicts the signature.
    """
    from mlflow.exceptions import MlflowException
    from mlflow.models.utils import _enforce_schema  # the check that serving makes of every request

    try:
        example = logged_example(metadata, folder)
        if example is None:
            return None
        return Inputs(_enforce_schema(example, signature.inputs), INPUT_EXAMPLE)
    except (MlflowException, ValueError, TypeError, KeyError, OSError) as error:
        raise CorruptModelError(
            f"the input example of the model cannot be used: {one_line(error)}; log the model again"
        ) from error
