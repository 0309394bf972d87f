"""Open an onnxruntime session as the configuration says: providers, options, fallback."""

from __future__ import annotations

import logging
from collections import Counter

import onnxruntime as ort

from .providers import CPU, ExecutionProviderUnavailable, add_providers

_logger = logging.getLogger(__name__)

STRICT, ALLOW = "strict", "allow"


def open_session(
    path: str,
    providers: list[dict],
    session_options: dict,
    fallback: str = STRICT,
    record_placement: bool = False,
) -> ort.InferenceSession:
    """A session on ``path``.

    ``providers``: ``{"name", "options"}`` in order of preference.  ``session_options``: attributes
    of `onnxruntime.SessionOptions`, and ``config_entries``, a dictionary of strings.  ``fallback``
    "strict": a provider that does not start is an error; "allow": the CPU takes over, with a
    warning in the log.
    """
    try:
        return _open(path, providers, session_options, record_placement)
    except ExecutionProviderUnavailable as error:
        if fallback != ALLOW:
            raise
        _logger.warning("%s; the CPU takes over", error)
        return _open(path, [{"name": CPU}], session_options, record_placement)


def placement_of(session: ort.InferenceSession) -> dict[str, int]:
    """How many nodes each provider runs; needs ``record_placement``."""
    nodes: Counter[str] = Counter()
    for subgraph in session.get_provider_graph_assignment_info():
        nodes[subgraph.ep_name] += len(subgraph.get_nodes())
    return dict(nodes)


def _open(
    path: str, providers: list[dict], session_options: dict, record_placement: bool
) -> ort.InferenceSession:
    options = _options(session_options)
    if record_placement:
        options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    remaining = add_providers(options, providers)
    if len(remaining) < len(providers):  # plug-ins are in the options; onnxruntime takes no both
        remaining = []
    try:
        session = ort.InferenceSession(path, sess_options=options, providers=remaining or None)
    except Exception as error:
        name = providers[0]["name"] if providers else CPU
        if name == CPU:
            raise
        reason = str(error).strip().splitlines()[0]
        raise ExecutionProviderUnavailable(
            f"execution provider {name!r} did not start: {reason}"
        ) from error
    wanted = {name for name, _ in remaining}
    missing = wanted - set(session.get_providers())
    if missing:  # onnxruntime says so in its log only, and goes on with the CPU
        raise ExecutionProviderUnavailable(
            f"execution provider {sorted(missing)[0]!r} did not start; onnxruntime's log says why"
        )
    return session


def _options(settings: dict) -> ort.SessionOptions:
    options = ort.SessionOptions()
    for name, value in settings.items():
        if name == "config_entries":
            for key, entry in value.items():
                options.add_session_config_entry(key, str(entry))
        elif not hasattr(options, name):
            raise ValueError(f"onnxruntime.SessionOptions has no {name!r}")
        elif name == "graph_optimization_level":
            options.graph_optimization_level = ort.GraphOptimizationLevel(value)
        elif name == "execution_mode":
            options.execution_mode = ort.ExecutionMode(value)
        else:
            setattr(options, name, value)
    return options
