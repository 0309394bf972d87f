"""Open an onnxruntime session as the configuration says: providers, options, fallback."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import takewhile
from types import MappingProxyType
from typing import Any

import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from .operator_libraries import OPERATOR_LIBRARIES, library_path
from .providers import ExecutionProviderUnavailable, add_providers
from .runtimes import CPU
from .session_options import CONFIG_ENTRIES, check_attribute, entry_text
from .settings import PROVIDER_OPTIONS

_logger = logging.getLogger(__name__)

STRICT, ALLOW = "strict", "allow"
NOTHING: Mapping[str, Any] = MappingProxyType({})

# Errors for which the file is at fault, on any provider.
_BAD_FILE = (
    ort_errors.NoSuchFile,
    ort_errors.NoModel,
    ort_errors.InvalidProtobuf,
    ort_errors.InvalidGraph,
)
# Names that MLflow's built-in flavor accepts.
_EXECUTION_MODES = {"sequential": "ORT_SEQUENTIAL", "parallel": "ORT_PARALLEL"}


def open_session(
    path: str,
    providers: Sequence[Mapping[str, Any]],
    session_options: Mapping[str, Any],
    fallback: str = STRICT,
    record_placement: bool = False,
    kept: Mapping[str, Any] = NOTHING,
) -> ort.InferenceSession:
    """Open a session on the file ``path``.

    ``providers``: ``{"name", "options"}`` in order of preference.

    ``session_options`` may hold:

    - attributes of `onnxruntime.SessionOptions`, those that `session_options` lists
    - ``config_entries``: a dictionary of strings, those that `session_options` lists
    - ``provider_options``: by provider, the options that it gets where ``providers`` does not set
      them
    - ``custom_operator_libraries``: "onnxruntime_extensions", or absolute paths of libraries; a
      library is loaded only if it is named here, even if the graph has operators of its own

    Raises ValueError for any other.

    ``fallback``: with "strict" a provider that does not start raises ExecutionProviderUnavailable;
    with "allow" it is left out with a warning in the log, and the CPU takes over where none
    remains.  ``kept``: attributes and ``config_entries`` by which `compiled` has onnxruntime write
    its form of the model; nobody else sets them.
    """
    if fallback not in (STRICT, ALLOW):
        raise ValueError(f"fallback must be {STRICT!r} or {ALLOW!r}, not {fallback!r}")
    wanted = with_defaults(providers, session_options.get(PROVIDER_OPTIONS) or {})
    while True:
        try:
            session = _open(path, wanted, session_options, record_placement, kept)
            if fallback == STRICT:  # onnxruntime's own fallback repeats a failed run on the CPU
                session.disable_fallback()
            return session
        except ExecutionProviderUnavailable as error:
            if fallback != ALLOW:
                raise
            wanted = [each for each in wanted if each["name"] != error.provider]
            _logger.warning("%s; going on with %s", str(error), _names(wanted) or CPU)
            wanted = wanted or [{"name": CPU}]


def before_cpu(names: Iterable[str]) -> list[str]:
    """Return the providers before the CPU, which must start; none after it gets a node."""
    return list(takewhile(lambda name: name != CPU, names))


def with_defaults(
    providers: Sequence[Mapping[str, Any]], of_providers: Mapping[str, Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Return ``providers`` with their options on top of those in ``of_providers``."""
    return [
        {**each, "options": {**of_providers.get(each["name"], {}), **(each.get("options") or {})}}
        for each in providers
    ]


def placement_of(session: ort.InferenceSession) -> dict[str, int]:
    """Return how many nodes each provider runs; needs ``record_placement``."""
    nodes: Counter[str] = Counter()
    for subgraph in session.get_provider_graph_assignment_info():
        nodes[subgraph.ep_name] += len(subgraph.get_nodes())
    return dict(nodes)


def _open(
    path: str,
    providers: Sequence[Mapping[str, Any]],
    session_options: Mapping[str, Any],
    record_placement: bool,
    kept: Mapping[str, Any],
) -> ort.InferenceSession:
    options = options_of(session_options)
    for key, entry in (kept.get(CONFIG_ENTRIES) or {}).items():
        options.add_session_config_entry(key, entry)
    for name, value in kept.items():
        if name != CONFIG_ENTRIES:
            setattr(options, name, value)
    if record_placement:
        options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    accelerators = before_cpu(each["name"] for each in providers)
    try:
        as_argument = add_providers(options, providers)
        session = ort.InferenceSession(path, sess_options=options, providers=as_argument or None)
    except (ExecutionProviderUnavailable, *_BAD_FILE):
        raise
    except Exception as error:  # onnxruntime's errors have no base of their own
        reason = _first_line(error)
        if not accelerators or "Load model from" in reason:
            raise
        raise ExecutionProviderUnavailable(
            f"execution provider {accelerators[0]!r} did not start: {reason}", accelerators[0]
        ) from error
    for name in accelerators:
        if name not in session.get_providers():  # onnxruntime only logs it and uses the CPU
            raise ExecutionProviderUnavailable(
                f"execution provider {name!r} did not start; onnxruntime's log says why", name
            )
    return session


def options_of(settings: Mapping[str, Any]) -> ort.SessionOptions:
    """Return the settings as onnxruntime's options.

    Raises ValueError naming the setting that it does not take.
    """
    options = ort.SessionOptions()
    for name, value in settings.items():
        if name == PROVIDER_OPTIONS:
            continue
        if name == OPERATOR_LIBRARIES:
            for library in value:
                options.register_custom_ops_library(library_path(str(library)))
            continue
        if name == CONFIG_ENTRIES:
            for key, entry in value.items():
                options.add_session_config_entry(key, entry_text(key, entry))
            continue
        check_attribute(name, value)
        try:
            setattr(options, name, _option_value(name, value))
        except (TypeError, ValueError, AttributeError) as error:
            raise ValueError(
                f"onnxruntime.SessionOptions.{name} cannot be {value!r}: {_first_line(error)}"
            ) from error
    return options


def _option_value(name: str, value: Any) -> Any:
    if name == "graph_optimization_level":
        return _member(ort.GraphOptimizationLevel, value)
    if name == "execution_mode":
        return _member(ort.ExecutionMode, _EXECUTION_MODES.get(value, value))
    if name == "execution_order":
        return _member(ort.ExecutionOrder, value)
    return value


def _member(kind: Any, value: Any) -> Any:
    """Return the member of one of onnxruntime's enumerations, by its name or number."""
    for name, member in kind.__members__.items():
        if value in (name, int(member)):
            return member
    raise ValueError(f"expected one of {list(kind.__members__)}")


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]


def _names(providers: Sequence[Mapping[str, Any]]) -> str:
    return ", ".join(each["name"] for each in providers)
