"""The code that an ONNX artifact asks to be loaded with: MLflow's or this flavor's, nothing else.

MLflow puts an artifact's code before everything on the path and imports the module that its MLmodel
file names.  An ONNX model needs neither, so what is foreign is refused before anything is loaded.
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
from mlflow_onnx_flavor.scoring.operator_libraries import EXTENSIONS, OPERATOR_LIBRARIES

_SCORING_PREFIX = "mlflow_onnx_scoring_"
_OURS = re.compile(_SCORING_PREFIX + "[0-9a-f]{12}")
_KNOWN = ("mlflow.onnx", "mlflow_onnx_flavor")
_REMEDY = "log the model again with mlflow.onnx or mlflow_onnx_flavor"


def scoring_module_name(folder: Path) -> str:
    """`mlflow_onnx_scoring_` and a digest of the source in ``folder``: other code, another name."""
    sha = hashlib.sha256()
    for file in sorted(folder.glob("*.py")):
        sha.update(file.name.encode() + b"\0" + file.read_bytes())
    return f"{_SCORING_PREFIX}{sha.hexdigest()[:12]}"


def check_code(folder: Path, flavors: Mapping[str, Any], model_uri: str) -> None:
    """Raise CorruptModelError where the ONNX model in ``folder`` would run foreign code.

    That is: a loader that is neither MLflow's nor this flavor's, scoring code that is not what its
    name says, code that would take the place of an installed module, a library of operators by its
    path, or files outside ``folder``.
    """
    entries = [entry for entry in flavors.values() if isinstance(entry, Mapping)]
    for key in ("data", "code"):
        for location in {str(entry[key]) for entry in entries if entry.get(key)}:
            if not (folder / location).resolve().is_relative_to(folder.resolve()):
                raise CorruptModelError(
                    f"the MLmodel file of {model_uri!r} has its {key} in {location!r}, outside its"
                    f" own folder; {_REMEDY}"
                )
    for entry in entries:
        options = entry.get("session_options") or {}
        named = options.get(OPERATOR_LIBRARIES) if isinstance(options, Mapping) else None
        for library in named if isinstance(named, list) else filter(None, [named]):
            if library != EXTENSIONS:
                raise CorruptModelError(
                    f"the MLmodel file of {model_uri!r} names the library {library!r}, and only"
                    f" {EXTENSIONS!r} may be named there; {_REMEDY}, and name the library when it"
                    " is loaded"
                )
    pyfunc = flavors.get("python_function") or {}
    loader, code = str(pyfunc.get("loader_module") or ""), str(pyfunc.get("code") or "")
    if _OURS.fullmatch(loader) and code:
        if scoring_module_name(folder / code / loader) != loader:
            raise CorruptModelError(
                f"the scoring code in {model_uri!r} was changed since it was logged; {_REMEDY}"
            )
    elif loader and loader not in _KNOWN:
        raise CorruptModelError(
            f"the MLmodel file of {model_uri!r} has it loaded by {loader!r}, which is neither"
            f" MLflow's nor this flavor's, and an ONNX model needs no other; {_REMEDY}"
        )
    for name in _modules_in(folder / code) if code else ():
        if _is_installed(name):
            raise CorruptModelError(
                f"{model_uri!r} brings code named {name!r}, which would take the place of the"
                f" installed module; {_REMEDY}"
            )


def _modules_in(code: Path) -> list[str]:
    """What can be imported from there, by its first name; caches are none."""
    names = {each.name.partition(".")[0] for each in code.iterdir()} if code.is_dir() else set()
    return sorted(name for name in names if name.isidentifier() and name != "__pycache__")


def _is_installed(name: str) -> bool:
    """Whether the module is Python's or installed; what other artifacts brought is neither."""
    installed = [entry for entry in sys.path if not (Path(entry).parent / "MLmodel").is_file()]
    found = importlib.machinery.PathFinder.find_spec(name, installed)
    return name in sys.stdlib_module_names or bool(found and found.origin)
