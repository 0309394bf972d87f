"""Check the settings that a session is opened with: ``model_config`` and the environment's."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from .operator_libraries import OPERATOR_LIBRARIES
from .provider_options import check_options_of_artifact
from .session_options import CONFIG_ENTRIES, check_attribute, entry_text

PROVIDER_OPTIONS = "provider_options"

# Keys of ``model_config`` that `load_session` and `mlflow.pyfunc.load_model` take.
CONFIG_KEYS = (
    "execution_providers",
    "session_options",
    "fallback",
    "record_placement",
    "digest",
    "cache_folder",
    "metrics_seconds",
    "tracing",
)
_PROVIDER_KEYS = ("name", "options", "session_options")


def checked(config: Any) -> dict[str, Any]:
    """Return ``config`` without keys whose value is None.

    Raises ValueError naming the key whose value is not valid.
    """
    if not isinstance(config, Mapping):
        raise ValueError(f"model_config must be a dictionary, not {config!r}")
    unknown = [key for key in config if key not in CONFIG_KEYS]
    if unknown:
        raise ValueError(f"unknown model_config key {unknown[0]!r}; expected {list(CONFIG_KEYS)}")
    given = {key: each for key, each in config.items() if each is not None}
    if "execution_providers" in given:
        given["execution_providers"] = providers(given["execution_providers"])
    if "session_options" in given:
        given["session_options"] = session_options(given["session_options"])
    if "metrics_seconds" in given:
        check_seconds("metrics_seconds", given["metrics_seconds"])
    for key in ("record_placement", "tracing"):
        if not isinstance(given.get(key, False), bool):
            raise ValueError(f"{key} must be true or false, not {given[key]!r}")
    if not isinstance(given.get("cache_folder", ""), str | os.PathLike):
        raise ValueError(f"cache_folder must be a path, not {given['cache_folder']!r}")
    return given


def providers(wanted: Any) -> list[dict[str, Any]]:
    """Return execution providers, given as names or dictionaries with a name, as dictionaries."""
    if isinstance(wanted, str):
        wanted = [wanted]
    if not isinstance(wanted, list | tuple):
        raise ValueError(f"execution_providers must be a list of names, not {wanted!r}")
    return [_provider({"name": each} if isinstance(each, str) else each) for each in wanted]


def as_logged(name: str, logged: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Return the provider of that name, with the options that it was logged with, if it was.

    A user who names a provider but cannot set options means the provider that was verified.
    """
    return next((each for each in logged if each["name"] == name), {"name": name})


def session_options(options: Any) -> dict[str, Any]:
    """Return the options, with a single library of operators as a list.

    Raises ValueError naming an option that may not be set; the module `session_options` lists those
    that may.
    """
    _check_dictionary("session_options", options)
    for name in (CONFIG_ENTRIES, PROVIDER_OPTIONS):
        _check_dictionary(f"session_options[{name!r}]", options.get(name) or {})
    for name, each in (options.get(PROVIDER_OPTIONS) or {}).items():
        _check_dictionary(f"session_options[{PROVIDER_OPTIONS!r}][{name!r}]", each)
    for key, each in (options.get(CONFIG_ENTRIES) or {}).items():
        entry_text(key, each)
    for name, each in options.items():
        if name not in (CONFIG_ENTRIES, PROVIDER_OPTIONS, OPERATOR_LIBRARIES):
            check_attribute(name, each)
    if OPERATOR_LIBRARIES not in options:
        return dict(options)
    libraries = options[OPERATOR_LIBRARIES]
    libraries = [libraries] if isinstance(libraries, str) else libraries
    if not isinstance(libraries, list | tuple):
        raise ValueError(
            f"session_options[{OPERATOR_LIBRARIES!r}] must be a list of names, not {libraries!r}"
        )
    return {**options, OPERATOR_LIBRARIES: list(libraries)}


def check_seconds(name: str, seconds: Any) -> None:
    """Raise ValueError unless ``seconds`` is a time that can be waited for; 0 means no waiting."""
    is_number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    if not is_number or not 0 <= seconds <= threading.TIMEOUT_MAX:
        raise ValueError(f"{name} must be seconds, not {seconds!r}")


def _provider(entry: Any) -> dict[str, Any]:
    if not isinstance(entry, Mapping) or not isinstance(entry.get("name"), str):
        raise ValueError(f"an execution provider is a name, or a name with options, not {entry!r}")
    unknown = [key for key in entry if key not in _PROVIDER_KEYS]
    if unknown:
        raise ValueError(
            f"unknown key {unknown[0]!r} of {entry['name']!r}; expected {list(_PROVIDER_KEYS)}"
        )
    for key in ("options", "session_options"):
        _check_dictionary(f"{key} of {entry['name']!r}", entry.get(key) or {})
    if OPERATOR_LIBRARIES in session_options(entry.get("session_options") or {}):
        raise ValueError(
            f"{OPERATOR_LIBRARIES} is no session option of {entry['name']!r} alone; name it in the"
            " session options of the model"
        )
    return dict(entry)


def check_providers_of_artifact(listed: Any) -> None:
    """Raise ValueError if an artifact sets a provider option that only its user may set."""
    for each in providers(listed):
        check_options_of_artifact(each["name"], each.get("options") or {})
        of_providers = (each.get("session_options") or {}).get(PROVIDER_OPTIONS) or {}
        for name, options in of_providers.items():
            check_options_of_artifact(name, options)


def _check_dictionary(name: str, value: Any) -> None:
    if not isinstance(value, Mapping):
        raise ValueError(f"{name} must be a dictionary, not {value!r}")
