"""Evaluation data: the user's own rows, checked against the model's signature before a run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from mlflow_onnx_flavor.errors import InvalidDataError, one_line
from mlflow_onnx_flavor.inputs.batches import Inputs
from mlflow_onnx_flavor.inputs.readers.column_types import csv_types, suited
from mlflow_onnx_flavor.inputs.readers.files import UNNAMED, Table, read_table
from mlflow_onnx_flavor.inputs.readers.logged_data_sets import file_of_data_set
from mlflow_onnx_flavor.schemas.origins import EVALUATION_DATA
from mlflow_onnx_flavor.tracking.downloads import download

if TYPE_CHECKING:
    from mlflow.models.signature import ModelSignature
    from mlflow.types.schema import Schema, TensorSpec


_RUN = re.compile(r"runs:/[^/]+")


def read_evaluation_data(location: str, signature: ModelSignature | None) -> Inputs:
    """Read rows from a file, a folder, an MLflow artifact URI or the data set of a run.

    Files: Parquet, CSV, Arrow, npz, npy; folders: Parquet files, a Delta table, a Hugging Face data
    set; ``runs:/RUN_ID`` is the run's data set.
    Raises InvalidDataError naming the column: missing, unexpected, or of a type that the signature
    refuses.  Without a signature the data stays as it is.
    """
    return read_local(local_file(location), signature)


def read_local(path: Path, signature: ModelSignature | None) -> Inputs:
    """Read a file or folder of this machine as `read_evaluation_data` does."""
    return as_inputs(read_table(path, csv_types(signature)), signature, what=path.name)


def as_inputs(data: Any, signature: ModelSignature | None, what: str = "the data") -> Inputs:
    """Return ``data`` in the form in which the model receives it.

    ``data`` is a DataFrame, Series, array, or dictionary of arrays; ``what`` names it in messages.
    Raises InvalidDataError as `read_evaluation_data` does.
    """
    if isinstance(data, Inputs):
        return data
    if isinstance(data, pd.Series):
        data = data.to_numpy(object) if signature is None else data.to_frame()
    table = {UNNAMED: data} if isinstance(data, np.ndarray) else data
    if signature is None or signature.inputs is None:
        return Inputs(table if set(table) != {UNNAMED} else table[UNNAMED], EVALUATION_DATA)
    schema = signature.inputs
    if schema.is_tensor_spec():
        return Inputs(_as_tensors(table, schema, what), EVALUATION_DATA)
    return Inputs(_as_frame(table, schema, what), EVALUATION_DATA)


def local_file(location: str) -> Path:
    """Return the local path of ``location``, after downloading it if it is not on this machine.

    Raises InvalidDataError if it cannot be fetched.
    """
    path = Path(location.removeprefix("file://"))
    if path.exists() or ":/" not in location:
        return path
    from mlflow.exceptions import MlflowException

    try:
        if _RUN.fullmatch(location):
            return file_of_data_set(location.removeprefix("runs:/"))
        return download(location)
    except (MlflowException, OSError) as error:
        raise InvalidDataError(
            f"evaluation data {location!r} cannot be fetched: {one_line(error)}"
        ) from error


def _as_frame(table: Table, schema: Schema, what: str) -> pd.DataFrame:
    """Return the columns of the signature, in its order and with its types."""
    from mlflow.exceptions import MlflowException
    from mlflow.models.utils import _enforce_schema  # the check that serving makes of every request
    from mlflow.types import DataType

    frame = _frame_of(table, what)
    if schema.has_input_names():
        names = {str(name): name for name in schema.input_names()}  # integers are names too
        _check_names(list(map(str, frame.columns)), schema, "column", what)
        frame = frame.rename(columns=lambda name: names[str(name)])
        frame = frame[[name for name in names.values() if name in frame]]
    elif len(frame.columns) != len(schema.inputs):
        raise InvalidDataError(
            f"{what} has {len(frame.columns)} columns where the model takes {len(schema.inputs)}"
        )
    elif schema.input_types() == [DataType.string]:
        frame = frame.set_axis([0], axis=1)  # the form in which MLflow passes on a list of texts
    columns = list(frame.columns)
    frame = frame.copy(deep=False)
    specs: list[Any] = schema.inputs
    for position, spec in enumerate(specs):
        name = columns[position] if spec.name is None else spec.name
        if name in columns:
            frame[name] = suited(frame[name], spec, what)
    try:
        return _enforce_schema(frame, schema)
    except MlflowException as error:
        raise InvalidDataError(
            f"{what} does not fit the model's signature: {one_line(error)}"
        ) from error


def _frame_of(table: Table, what: str) -> pd.DataFrame:
    if isinstance(table, pd.DataFrame):
        return table
    if set(table) == {UNNAMED} and table[UNNAMED].ndim == 2:
        return pd.DataFrame(table[UNNAMED])
    long = [name for name, array in table.items() if array.ndim > 1 and array[0].size != 1]
    if long:
        raise InvalidDataError(
            f"{what}: {long[0]!r} has shape {table[long[0]].shape} where the model takes one value"
            " a row"
        )
    return pd.DataFrame({name: array.reshape(-1) for name, array in table.items()})


def _check_names(found: list[str], schema: Schema, kind: str, what: str) -> None:
    required = [str(name) for name in schema.required_input_names()]
    known = [str(name) for name in schema.input_names()]
    missing = [name for name in required if name not in found]
    extra = [name for name in found if name not in known]
    if not missing and not extra:
        return
    problems = []
    if missing:
        problems.append(f"lacks the {_plural(kind, missing)} {_listed(missing)}")
    if extra:
        problems.append(f"has the unexpected {_plural(kind, extra)} {_listed(extra)}")
    cure = "drop what is not an input, such as the label" if extra else "add what is missing"
    raise InvalidDataError(
        f"{what} {' and '.join(problems)}; the model takes {_listed(known)}: {cure}"
    )


def _as_tensors(table: Table, schema: Schema, what: str) -> np.ndarray | dict[str, np.ndarray]:
    specs: list[Any] = schema.inputs
    if not schema.has_input_names():
        return _unnamed_tensor(table, specs[0], what)
    names = [str(name) for name in schema.input_names()]
    if set(table) == {UNNAMED} and len(names) == 1:
        table = {names[0]: table[UNNAMED]}
    _check_names(list(table), schema, "input", what)
    tensors = {
        spec.name: _tensor(np.asarray(table[spec.name]), spec, what)
        for spec in specs
        if spec.name in table
    }
    lengths = {name: len(tensor) for name, tensor in tensors.items()}
    if len(set(lengths.values())) > 1:
        raise InvalidDataError(f"{what}: the inputs differ in their number of rows: {lengths}")
    return tensors


def _unnamed_tensor(table: Table, spec: TensorSpec, what: str) -> np.ndarray:
    if isinstance(table, pd.DataFrame):
        text = [str(name) for name in table if not pd.api.types.is_numeric_dtype(table[name])]
        if text:
            raise InvalidDataError(
                f"{what}: column {text[0]!r} must be {spec.type}, but is {table[text[0]].dtype}"
            )
        return _tensor(table.to_numpy(), spec, what)
    if len(table) != 1:
        raise InvalidDataError(
            f"{what} has the arrays {_listed(list(table))} where the model takes one"
        )
    return _tensor(next(iter(table.values())), spec, what)


def _tensor(array: np.ndarray, spec: TensorSpec, what: str) -> np.ndarray:
    name = f"input {spec.name!r}" if spec.name else "the input"
    if array.ndim == 1 and len(spec.shape) == 2 and spec.shape[1] == 1:
        array = array[:, None]
    fits = array.ndim == len(spec.shape) and all(
        want in (-1, got) for want, got in zip(spec.shape[1:], array.shape[1:], strict=True)
    )
    if not fits:
        raise InvalidDataError(
            f"{what}: {name} must have shape {spec.shape} (-1: any), but has {array.shape}"
        )
    if spec.type.kind in "UO":
        return array.astype(object)
    # pandas and CSV give float64 and int64 to a model that takes float32 or int32.
    if array.dtype.kind in "OUS" or not np.can_cast(array.dtype, spec.type, "same_kind"):
        raise InvalidDataError(f"{what}: {name} must be {spec.type}, but is {array.dtype}")
    cast = array.astype(spec.type)
    if spec.type.kind in "iu" and not np.array_equal(cast, array):
        raise InvalidDataError(f"{what}: {name} has values that do not fit {spec.type}")
    return cast


def _plural(word: str, things: list[str]) -> str:
    return word if len(things) == 1 else word + "s"


def _listed(names: list[str], most: int = 8) -> str:
    shown = ", ".join(repr(name) for name in names[:most])
    return shown + (f" and {len(names) - most} more" if len(names) > most else "")
