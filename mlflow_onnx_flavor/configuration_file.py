"""Read the configuration from YAML or JSON, and write the defaults with a comment for each."""

from __future__ import annotations

import difflib
import json
import types
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from mlflow_onnx_flavor.errors import ConfigurationError
from mlflow_onnx_flavor.schemas.configuration import Configuration
from mlflow_onnx_flavor.scoring.documents import (
    DocumentError,
    parse_json,
    parse_yaml,
    read_text,
)

_MOST_BYTES = 4_000_000
_MOST_PROBLEMS = 20  # listed in one message
_MOST_SHOWN = 200  # characters of a value in a message


def read_configuration(path: str | Path | None) -> Configuration:
    """Return the configuration in the file at ``path``; the defaults for None.

    Raises ConfigurationError that names the key, the values that it accepts and the value it got;
    for an unknown key it names the nearest known key.
    """
    if path is None:
        return Configuration()
    path = Path(path)
    return parse_configuration(_load(path), path.name)


def parse_configuration(values: Any, what: str = "the configuration") -> Configuration:
    """Check ``values`` (nested dictionaries) and return them as a `Configuration`."""
    if values is None:
        return Configuration()
    if not isinstance(values, dict):
        raise ConfigurationError(f"{what} must be a mapping of keys, not {type(values).__name__}")
    try:
        return Configuration.model_validate(values)
    except ValidationError as error:
        found = error.errors()
        problems = [_sentence(each) for each in found[:_MOST_PROBLEMS]]
        if len(found) > _MOST_PROBLEMS:
            problems.append(f"and {len(found) - _MOST_PROBLEMS} more")
        raise ConfigurationError(f"{what}: {'; '.join(problems)}") from error


def defaults_as_yaml() -> str:
    """Return every key with its default, as YAML, with a comment that explains it."""
    header = "# Every key is optional; these are the defaults.\n"
    return header + "\n".join(_yaml_lines(Configuration(), indent=0)) + "\n"


def _load(path: Path) -> Any:
    try:
        text = read_text(path, _MOST_BYTES)
    except (OSError, DocumentError) as error:
        raise ConfigurationError(
            f"the configuration {str(path)!r} cannot be read: {error}"
        ) from error
    try:
        return parse_json(text) if path.suffix == ".json" else parse_yaml(text)
    except DocumentError as error:
        raise ConfigurationError(f"{path.name} is not valid: {error}") from error


def _sentence(error: Mapping[str, Any]) -> str:
    # pydantic puts the tag of a union's branch into the location; only keys and positions are ours.
    is_unknown = error["type"] == "extra_forbidden"
    *above, last = error["loc"] or ("",)
    location = [part for part in above if isinstance(part, int) or part.isidentifier()]
    if is_unknown or isinstance(last, int) or last.isidentifier():  # a key may be any text
        location.append(last)
    key = ".".join(map(str, location))[:_MOST_SHOWN]
    if not is_unknown:
        return f"{key}: {_lower_first(error['msg'])}, got {_shown(error['input'])}"
    section = _section(location[:-1])
    near = difflib.get_close_matches(str(location[-1]), section, n=1, cutoff=0.4)
    hint = f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(section)}"
    return f"unknown key {key!r}; {hint}"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}..."


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:]


def _section(location: list[str | int]) -> list[str]:
    """Return the keys that are known at ``location``."""
    model: type[BaseModel] = Configuration
    for part in location:
        if isinstance(part, str) and part in model.model_fields:
            model = _model_in(model.model_fields[part].annotation) or model
    return list(model.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (tuple, Union, types.UnionType) or get_args(annotation):
        return next(filter(None, map(_model_in, get_args(annotation))), None)
    return None


def _yaml_lines(section: BaseModel, indent: int) -> Iterator[str]:
    margin = "  " * indent
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if isinstance(value, BaseModel):
            yield f"{margin}{name}:"
            yield from _yaml_lines(value, indent + 1)
            continue
        yield f"{margin}# {field.description}"
        yield f"{margin}{name}: {_yaml_value(value)}"


def _yaml_value(value: Any) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(map(_yaml_value, value)) + "]"
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    return str(value)


def overridden(
    configuration: Configuration,
    *,
    execution_providers: Sequence[str] | None = None,
    alias: str | None = None,
    batch_sizes: Sequence[int] | None = None,
    source_env: str | None = None,
    scan_source: bool = False,
    fresh: bool = False,
    trust: Mapping[str, Any] | None = None,
) -> Configuration:
    """Return ``configuration`` with the command line's values; None and empty values are ignored.

    An execution provider is a name, or JSON such as ``{"name": ..., "options": {...}}``.
    """
    values = configuration.model_dump()
    if execution_providers:
        values["execution_providers"] = [_provider(each) for each in execution_providers]
    if alias:
        values["promotion"]["alias"] = alias
    if source_env:
        values["source_env"] = source_env
    if scan_source:
        values["scan_source"] = True
    values["trust"] |= trust or {}
    if fresh:
        values["reuse"]["enabled"] = False
    if batch_sizes:
        values["gates"]["latency"]["batch_sizes"] = list(batch_sizes)
    return parse_configuration(values, "the command line")


def _provider(text: str) -> Any:
    if not text.lstrip().startswith("{"):
        return text
    try:
        return parse_json(text)
    except DocumentError as error:
        raise ConfigurationError(
            f"an execution provider is a name or JSON with name and options, not {text!r} ({error})"
        ) from error
