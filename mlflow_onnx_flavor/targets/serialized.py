"""Serialized forms: an ONNX graph as text that people read and compare, and the way back.

Weights that the model keeps in files of their own stay there: those files are copied beside the
form, which refers to them by name.
"""

from __future__ import annotations

import shutil
import tempfile
import warnings
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from mlflow_onnx_flavor.errors import (
    ConfigurationError,
    ModelNotFoundError,
    UnsupportedModelError,
    one_line,
)
from mlflow_onnx_flavor.onnx_graph.files import beside, external_locations
from mlflow_onnx_flavor.targets.base import Arrays, Request, Run, Target

if TYPE_CHECKING:
    import onnx

# protobuf's own limit; a model above it keeps its weights in files of their own.
MOST_BYTES = 2**31 - 1


class SerializedTarget(Target):
    """A form that onnx itself writes and reads.

    ``form``: onnx's name for it.  ``suffixes``: those of its files; the first is used for writing.
    """

    lowers = False

    def __init__(
        self, form: str, suffixes: Sequence[str], description: str, cannot: str, lossless: bool
    ):
        self.form, self.suffixes = form, tuple(suffixes)
        self.description, self.cannot, self.lossless = description, cannot, lossless

    def write(self, request: Request, folder: Path) -> None:
        """Write the model in this form, with copies of its external data beside it."""
        model = read_model(request.model)
        text = self.to_text(model)
        for location in external_locations(model):
            copied = folder / location
            copied.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(beside(request.model, location), copied)
        (folder / f"model{self.suffixes[0]}").write_bytes(text)

    def to_text(self, model: onnx.ModelProto) -> bytes:
        """Return ``model`` in this form.

        Raises UnsupportedModelError if the form cannot hold it.
        """
        import onnx

        try:
            text = onnx._get_serializer(self.form).serialize_proto(model)
            back = self.from_text(text)
        except _not_readable() as error:
            raise UnsupportedModelError(
                f"the model cannot be written as {self.form}: {one_line(error)}; use"
                " textproto, which holds every model"
            ) from error
        if self.lossless and _bytes_of(back) != _bytes_of(model):
            raise UnsupportedModelError(
                f"the model does not come back from {self.form} as it was (a text in it is no"
                " UTF-8, or a field is unknown to the installed onnx); keep the .onnx file"
            )
        return text

    def from_text(self, text: bytes) -> onnx.ModelProto:
        """Parse a model from this form."""
        import onnx

        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="The onnxtxt format is experimental")
            return onnx._get_serializer(self.form).deserialize_proto(text, onnx.ModelProto())

    def load(self, folder: Path) -> Run:
        """Return a function that runs the model after reading it back from this form."""
        from mlflow_onnx_flavor.targets.reference import open_model

        back = tempfile.TemporaryDirectory(prefix="mlflow-onnx-read-")
        model = import_model(
            folder / f"model{self.suffixes[0]}", Path(back.name) / "m.onnx", [self]
        )
        return partial(_run_beside, back, open_model(model))


def _run_beside(_folder: tempfile.TemporaryDirectory, run: Run, inputs: Arrays) -> dict:
    """Return the answer of ``run``; the partial that binds it keeps the model's folder alive."""
    return run(inputs)


def import_model(file: Path, output: Path, forms: Sequence[SerializedTarget]) -> Path:
    """Write the model in ``file`` as the ONNX file ``output``, with its external data beside it.

    ``forms``: the known forms; the file's suffix selects one.  Raises ModelNotFoundError,
    ConfigurationError for a suffix that no form has, UnsupportedModelError for a text that is not
    of its form, CorruptModelError for weights outside the file's folder.
    """
    if not file.is_file():
        raise ModelNotFoundError(f"there is no file {str(file)!r}; give one that export wrote")
    form = next((each for each in forms if file.suffix in each.suffixes), None)
    if form is None:
        known = ", ".join(suffix for each in forms for suffix in each.suffixes)
        raise ConfigurationError(
            f"{file.name!r} has the ending {file.suffix!r}, which no form of an ONNX graph has;"
            f" known: {known}"
        )
    if output.exists():
        raise ConfigurationError(f"{str(output)!r} exists already; give another name or remove it")
    text = file.read_bytes()
    try:
        model = form.from_text(text)
    except _not_readable() as error:
        raise UnsupportedModelError(
            f"{file.name!r} is no {form.form}: {one_line(error)}"
        ) from error
    if not model.graph.output:
        raise UnsupportedModelError(f"{file.name!r} holds no graph; give a file that export wrote")
    data = {location: beside(file, location) for location in external_locations(model)}
    output.parent.mkdir(parents=True, exist_ok=True)
    for location, source in data.items():
        target = output.parent / location
        if target.resolve() != source:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
    output.write_bytes(_bytes_of(model))
    return output


def read_model(path: Path) -> onnx.ModelProto:
    """Return the model in ``path``; weights in other files are left there."""
    import onnx

    if path.stat().st_size > MOST_BYTES:
        raise UnsupportedModelError(
            f"{path.name!r} has {path.stat().st_size / 2**30:.1f} GB, and an ONNX file ends at 2"
            " GB; save it again with external data"
        )
    return onnx.load(str(path), load_external_data=False)


def _not_readable() -> tuple[type[Exception], ...]:
    """Return the errors that the readers of the forms raise, which share no base class."""
    import onnx.parser
    from google.protobuf import json_format, message, text_format

    errors = (json_format.ParseError, text_format.ParseError, message.DecodeError)
    return (*errors, onnx.parser.ParseError, ValueError, TypeError, RuntimeError)


def _bytes_of(model: onnx.ModelProto) -> bytes:
    return model.SerializeToString(deterministic=True)
