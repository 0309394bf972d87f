"""Read the MLmodel entry of a folder's ONNX model, and check it against an allow-list.

An MLmodel file must not make the opened model write or read other files, or load code, whoever
wrote it.  So the graph must lie in the folder itself, and session options and options of execution
providers must be those of `session_options` and `provider_options`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from . import settings
from .documents import DocumentError, parse_yaml, read_text
from .operator_libraries import EXTENSIONS, OPERATOR_LIBRARIES
from .provider_options import check_options_of_artifact
from .session_options import CONFIG_ENTRIES, check_attribute, entry_text

FLAVOR = "mlflow_onnx_flavor"
BUILT_IN = "onnx"  # MLflow's own flavor
_PYFUNC, _PYFUNC_CONFIG = "python_function", "config"
# The name of configuration entries in MLflow's own flavor.
_EXTRA_CONFIG = "extra_session_config"


def entry_of(folder: str) -> dict[str, Any]:
    """Return the entry of this flavor; for MLflow's own flavor, only the path of the graph.

    Raises FileNotFoundError where ``folder`` holds no MLmodel file, and ValueError where that file
    has an entry that is not allowed.
    """
    flavors = _flavors(folder)
    check_flavors(flavors)
    entry = flavors.get(FLAVOR) or flavors.get(BUILT_IN)
    if not entry:
        raise ValueError(f"{folder!r} holds no ONNX model; its flavors are {sorted(flavors)}")
    graph_path(folder, entry.get("data"))
    return dict(entry) if FLAVOR in flavors else {"data": entry["data"]}


def graph_path(folder: str, data: Any) -> str:
    """Return the file of the graph.

    Raises ValueError unless it is a file within the folder and not a link.
    """
    if not isinstance(data, str) or not data:
        raise ValueError(f"the MLmodel file of {folder!r} does not name the file of its graph")
    path = os.path.join(folder, data)
    inside = Path(os.path.normpath(data))
    if inside.is_absolute() or ".." in inside.parts:
        raise ValueError(
            f"the MLmodel file of {folder!r} has its data in {data!r}, outside its own folder"
        )
    for each in (inside, *inside.parents):
        if each.name and os.path.islink(os.path.join(folder, each)):
            raise ValueError(
                f"{each.as_posix()!r} in {folder!r} is a link, which belongs to no model"
            )
    return path


def check_flavors(flavors: Mapping[str, Any]) -> None:
    """Raise ValueError if an entry names an option that no artifact may carry."""
    for name, entry in flavors.items():
        if not isinstance(entry, Mapping):
            continue
        if name in (FLAVOR, BUILT_IN) and not isinstance(entry.get("data"), str):
            raise ValueError(f"its flavor {name!r} does not name the file of its graph")
        options = entry.get("session_options") or {}
        check_session_options(options)
        settings.check_providers_of_artifact(entry.get("execution_providers") or [])
    built_in = flavors.get(BUILT_IN)
    if isinstance(built_in, Mapping):
        _check_built_in(built_in)
    pyfunc = flavors.get(_PYFUNC)
    config = pyfunc.get(_PYFUNC_CONFIG) if isinstance(pyfunc, Mapping) else None
    if config is not None:
        _check_config(config, FLAVOR in flavors)


def check_session_options(options: Any) -> None:
    """Raise ValueError unless an artifact may carry these session options."""
    checked = settings.session_options(options)
    for library in checked.get(OPERATOR_LIBRARIES, ()):
        if library != EXTENSIONS:
            raise ValueError(
                f"it names the library {library!r}, and only {EXTENSIONS!r} may be named in a"
                " model; name the library when the model is loaded"
            )
    for provider, given in (checked.get(settings.PROVIDER_OPTIONS) or {}).items():
        check_options_of_artifact(provider, given)


def _check_built_in(entry: Mapping[str, Any]) -> None:
    """Raise ValueError for options that MLflow's own flavor would apply without checking them."""
    options = entry.get("onnx_session_options") or {}
    if not isinstance(options, Mapping):
        raise ValueError(f"onnx_session_options must be a dictionary, not {options!r}")
    for name, value in options.items():
        if name == _EXTRA_CONFIG:
            if not isinstance(value, Mapping):
                raise ValueError(f"{CONFIG_ENTRIES} must be a dictionary, not {value!r}")
            for key, text in value.items():
                entry_text(key, text)
        elif value is not None:
            check_attribute(name, value)
    providers = entry.get("providers") or []
    for each in [providers] if isinstance(providers, str) else providers:
        if not isinstance(each, str):
            name, options = each
            check_options_of_artifact(str(name), options)


def _check_config(config: Any, is_ours: bool) -> None:
    """Raise ValueError if the python_function entry of our flavor has a config of its own.

    `mlflow.pyfunc.load_model` passes it on as if the caller had given it.
    """
    if not is_ours or not isinstance(config, Mapping):
        return
    said = sorted(str(key) for key, value in config.items() if value is not None)
    if said:
        raise ValueError(
            f"its python_function has a config of its own ({said[0]}), which only whoever loads"
            " the model may give"
        )


def _flavors(folder: str) -> dict[str, Any]:
    try:
        document = parse_yaml(read_text(Path(folder, "MLmodel")))
    except DocumentError as error:
        raise ValueError(
            f"{folder!r} has an MLmodel file that names no flavors: {error}"
        ) from error
    except (FileNotFoundError, NotADirectoryError) as error:
        raise FileNotFoundError(
            f"{folder!r} is neither an .onnx file nor a folder with an MLmodel file"
        ) from error
    flavors = document.get("flavors") if isinstance(document, dict) else None
    if not isinstance(flavors, dict) or not flavors:
        raise ValueError(f"{folder!r} has an MLmodel file that names no flavors")
    if not all(isinstance(name, str) for name in flavors):
        raise ValueError(f"{folder!r} has an MLmodel file that names no flavors: they must be text")
    return flavors
