"""Copies of an ONNX model as files: the graph and the weights beside it, never held in memory."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from mlflow_onnx_flavor.errors import CorruptModelError
from mlflow_onnx_flavor.onnx_graph.structure import read_structure

if TYPE_CHECKING:
    import onnx

MODEL_FILE = "model.onnx"  # the graph in a folder of ours


def copy_model(source: Path, target: Path) -> onnx.ModelProto:
    """Copy ``source`` to ``target``, with its external data under the names that the graph uses.

    Returns the model's structure, without its weights.  Raises CorruptModelError if the file is not
    ONNX, or its weights are missing or outside its own folder.
    """
    structure = read_structure(source)
    files = {location: beside(source, location) for location in external_locations(structure)}
    shutil.copyfile(source, target)
    for location, file in files.items():
        (target.parent / location).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target.parent / location)
    return structure


def external_locations(model: onnx.ModelProto) -> list[str]:
    """Return the files with weights of ``model``, relative to its own, including subgraphs'."""
    from onnx.external_data_helper import (
        ExternalDataInfo,
        _get_all_tensors,
        uses_external_data,
    )

    external = (each for each in _get_all_tensors(model) if uses_external_data(each))
    return sorted({ExternalDataInfo(each).location for each in external})


def beside(source: Path, location: str) -> Path:
    """Return the file ``location`` beside ``source``; raise CorruptModelError if it is missing."""
    folder = source.parent.resolve()
    file = (folder / location).resolve()
    if folder not in file.parents:
        raise CorruptModelError(
            f"{source.name!r} keeps weights in {location!r}, outside its own folder; save it"
            " again with its external data beside it"
        )
    if not file.is_file():
        raise CorruptModelError(
            f"{source.name!r} keeps weights in {location!r}, which is not beside it; copy that file"
            " into the same folder"
        )
    return file
