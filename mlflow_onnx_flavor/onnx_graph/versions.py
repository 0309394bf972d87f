"""The last step on an exported file: set requested versions and metadata such as provenance."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from mlflow_onnx_flavor.errors import NotExportableError, one_line

if TYPE_CHECKING:
    import onnx

_STANDARD = ("", "ai.onnx")


def finish(
    path: Path,
    *,
    opset: int | None = None,
    ir_version: int | None = None,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write the file again with the given versions and metadata; leave it alone if there are none.

    ``opset`` and ``ir_version``: those of a runtime that knows no newer ones; onnx's version
    converter rewrites the graph.  ``metadata``: keys and values of the model's metadata_props.
    Weights in files of their own are not read.  Raises NotExportableError if a version cannot be
    reached.
    """
    if opset is None and ir_version is None and not metadata:
        return
    import onnx

    model = onnx.load(str(path), load_external_data=False)
    if opset is not None and opset != opset_of(model):
        model = _with_opset(model, opset)
    if ir_version is not None:
        model.ir_version = _possible(model, ir_version)
    known = {each.key: each for each in model.metadata_props}
    for key, value in (metadata or {}).items():
        entry = known.get(key) or model.metadata_props.add(key=key)
        entry.value = value
    onnx.save_model(model, str(path))


def opset_of(model: onnx.ModelProto) -> int:
    """Return the version of the standard operators that ``model`` imports."""
    return max(each.version for each in model.opset_import if each.domain in _STANDARD)


def _with_opset(model: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    from onnx import version_converter

    try:
        return version_converter.convert_version(model, opset)
    except Exception as error:  # the converter's C++ part raises a RuntimeError, or its own classes
        raise NotExportableError(
            f"the graph of opset {opset_of(model)} cannot be written in opset {opset}:"
            f" {one_line(error)};"
            " ask for another conversion.opset, or for none"
        ) from error


def _possible(model: onnx.ModelProto, ir_version: int) -> int:
    """Return the IR version if it allows the opset: older runtimes refuse the pair."""
    from onnx import helper

    needed = helper.find_min_ir_version_for(list(model.opset_import), ignore_unknown=True)
    if ir_version < needed:
        raise NotExportableError(
            f"IR version {ir_version} does not go with opset {opset_of(model)}, which needs"
            f" {needed}; ask for a lower conversion.opset as well"
        )
    return ir_version
