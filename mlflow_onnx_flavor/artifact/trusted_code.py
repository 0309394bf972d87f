"""Check the code that an ONNX artifact asks to be loaded with: MLflow's or this flavor's only.

MLflow puts an artifact's code before everything else on the path and imports the module that its
MLmodel file names.  An ONNX model needs neither, so foreign code is refused before anything is
loaded.
"""

from __future__ import annotations

import hashlib
import importlib.machinery
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlflow_onnx_flavor.errors import CorruptModelError
from mlflow_onnx_flavor.scoring.entry import check_flavors
from mlflow_onnx_flavor.scoring.integrity import ForeignEntryError, check_entries

_SCORING_PREFIX = "mlflow_onnx_scoring_"
_OURS = re.compile(_SCORING_PREFIX + "[0-9a-f]{12}")
_KNOWN = ("mlflow.onnx", "mlflow_onnx_flavor")
_HOMES = ("site-packages", "dist-packages")
_REMEDY = "log the model again with mlflow.onnx or mlflow_onnx_flavor"


def scoring_module_name(folder: Path) -> str:
    """Return `mlflow_onnx_scoring_` with a digest of the source in ``folder``.

    Other code therefore gets another name.
    """
    sha = hashlib.sha256()
    for file in sorted(folder.glob("*.py")):
        sha.update(file.name.encode() + b"\0" + file.read_bytes())
    return f"{_SCORING_PREFIX}{sha.hexdigest()[:12]}"


def check_code(folder: Path, flavors: Mapping[str, Any], model_uri: str) -> None:
    """Raise CorruptModelError if the model would run foreign code, or touch files beside its own.

    The model is refused for any of these:

    - links, devices or Python caches among its files
    - a loader that is neither MLflow's nor this flavor's
    - scoring code whose digest differs from the one in its name
    - code that would shadow an installed module
    - a library of operators given by its path
    - session options that write files
    - files outside ``folder``
    """
    try:
        check_entries(folder)
    except ForeignEntryError as error:
        raise CorruptModelError(f"{model_uri!r} is no model to open: {error}") from error
    entries = [entry for entry in flavors.values() if isinstance(entry, Mapping)]
    for key in ("data", "code"):
        for location in {str(entry[key]) for entry in entries if entry.get(key)}:
            if not (folder / location).resolve().is_relative_to(folder.resolve()):
                raise CorruptModelError(
                    f"the MLmodel file of {model_uri!r} has its {key} in {location!r}, outside its"
                    f" own folder; {_REMEDY}"
                )
    try:
        check_flavors(flavors)
    except ValueError as error:
        raise CorruptModelError(
            f"the MLmodel file of {model_uri!r} cannot be used: {error}; {_REMEDY}"
        ) from error
    pyfunc = flavors.get("python_function") or {}
    loader, code = str(pyfunc.get("loader_module") or ""), str(pyfunc.get("code") or "")
    if _OURS.fullmatch(loader) and code:
        _check_scoring(folder / code / loader, loader, model_uri)
    elif loader and loader not in _KNOWN:
        raise CorruptModelError(
            f"the MLmodel file of {model_uri!r} has it loaded by {loader!r}, which is neither"
            f" MLflow's nor this flavor's, and an ONNX model needs no other; {_REMEDY}"
        )
    for location in sorted({str(entry["code"]) for entry in entries if entry.get("code")}):
        for name in _modules_in(folder / location):
            if _is_installed(name):
                raise CorruptModelError(
                    f"{model_uri!r} brings code named {name!r}, which would take the place of the"
                    f" installed module; {_REMEDY}"
                )


def _check_scoring(shipped: Path, loader: str, model_uri: str) -> None:
    """Raise CorruptModelError unless the scoring code has the digest in its name and stands alone.

    Python would load a library, or a folder, before the source of the same name.
    """
    extra = sorted(
        each.name
        for each in (shipped.iterdir() if shipped.is_dir() else ())
        if each.suffix != ".py" or not each.is_file()
    )
    if extra:
        raise CorruptModelError(
            f"the scoring code in {model_uri!r} has {extra[0]!r} beside its source, which was not"
            f" logged with it; {_REMEDY}"
        )
    if scoring_module_name(shipped) != loader:
        raise CorruptModelError(
            f"the scoring code in {model_uri!r} was changed since it was logged; {_REMEDY}"
        )


def _modules_in(code: Path) -> list[str]:
    """Return the top-level names that can be imported from ``code``, without caches."""
    names = {each.name.partition(".")[0] for each in code.iterdir()} if code.is_dir() else set()
    return sorted(name for name in names if name.isidentifier() and name != "__pycache__")


def _is_installed(name: str) -> bool:
    """Return whether the module is Python's or installed; code of other artifacts is neither."""
    installed = [entry for entry in sys.path if not (Path(entry).parent / "MLmodel").is_file()]
    found = importlib.machinery.PathFinder.find_spec(name, installed)
    if found and not found.origin:  # a namespace that several packages share, such as google
        homes = [entry for entry in installed if Path(entry).name in _HOMES]
        return importlib.machinery.PathFinder.find_spec(name, homes) is not None
    return name in sys.stdlib_module_names or found is not None
