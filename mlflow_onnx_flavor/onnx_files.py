"""Copy an ONNX model as files: the graph and the weights beside it, never loaded into memory."""

from __future__ import annotations

import shutil
from pathlib import Path

from mlflow_onnx_flavor.errors import CorruptModelError


def copy_model(source: Path, target: Path) -> None:
    """``source`` as ``target``, and its external data under the names that the graph refers to.

    Raises CorruptModelError where the file is no ONNX or keeps weights outside its own folder.
    """
    locations = _external_files(source)
    shutil.copyfile(source, target)
    for location in locations:
        (target.parent / location).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source.parent / location, target.parent / location)


def _external_files(file: Path) -> list[str]:
    import onnx
    from google.protobuf.message import DecodeError
    from onnx.external_data_helper import ExternalDataInfo, uses_external_data

    try:
        graph = onnx.load(str(file), load_external_data=False).graph
    except (DecodeError, OSError, ValueError) as error:
        raise CorruptModelError(f"{str(file)!r} is not a readable ONNX file: {error}") from error
    external = (each for each in graph.initializer if uses_external_data(each))
    locations = sorted({ExternalDataInfo(each).location for each in external})
    folder = file.parent.resolve()
    for location in locations:
        if folder not in (folder / location).resolve().parents:
            raise CorruptModelError(
                f"{file.name!r} keeps weights in {location!r}, outside its own folder; save it"
                " again with its external data beside it"
            )
    return locations
