"""Session options that a model may be opened with, and the values that each may have.

This is an allow-list, since MLmodel files, configurations and environment variables have many
authors, and onnxruntime has options that write files (optimized graphs, profiles), read them, or
load code.  None of these is on the list, whoever sets it.  Options of execution providers in an
artifact have a list of their own in `provider_options`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

CONFIG_ENTRIES = "config_entries"
MOST_THREADS = 4096
_SHOWN = 200  # characters of a value that a message shows


@dataclass(frozen=True)
class Rule:
    """A rule for the value of an option.

    ``expected``: the rule in words.  ``holds``: returns whether a value meets it.
    """

    expected: str
    holds: Callable[[Any], bool]


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _integer(low: int, high: int) -> Rule:
    return Rule(
        f"a whole number from {low} to {high}",
        lambda value: _is_integer(value) and low <= value <= high,
    )


def _text(pattern: str, expected: str) -> Rule:
    compiled = re.compile(pattern)
    return Rule(expected, lambda value: isinstance(value, str) and bool(compiled.fullmatch(value)))


def _number_as_text(low: int, high: int) -> Rule:
    return Rule(
        f"a whole number from {low} to {high}",
        lambda text: bool(re.fullmatch(r"-?[0-9]{1,18}", text)) and low <= int(text) <= high,
    )


_BOOLEAN = Rule("true or false", lambda value: isinstance(value, bool))
_MEMBER = Rule("a name or a number", lambda value: isinstance(value, str) or _is_integer(value))
_FLAG = _text("[01]", "0 or 1")
_NAMES = _text(r"[A-Za-z0-9_;, ]{0,2000}", "names, with semicolons between")
_MICROSECONDS = _number_as_text(-1, 10_000_000)
_BYTES = _number_as_text(0, 1 << 40)

# Attributes of `onnxruntime.SessionOptions`.
_ATTRIBUTES: Mapping[str, Rule] = {
    "enable_cpu_mem_arena": _BOOLEAN,
    "enable_mem_pattern": _BOOLEAN,
    "enable_mem_reuse": _BOOLEAN,
    "execution_mode": _MEMBER,
    "execution_order": _MEMBER,
    "graph_optimization_level": _MEMBER,
    "inter_op_num_threads": _integer(0, MOST_THREADS),
    "intra_op_num_threads": _integer(0, MOST_THREADS),
    "log_severity_level": _integer(-1, 4),
    "log_verbosity_level": _integer(0, 10),
    "logid": _text(r"[A-Za-z0-9 ._:-]{0,100}", "a short name"),
    "use_deterministic_compute": _BOOLEAN,
    "use_per_session_threads": _BOOLEAN,
}

# Keys of `SessionOptions.add_session_config_entry`.
_ENTRIES: Mapping[str, Rule] = {
    **dict.fromkeys(
        (
            "mlas.disable_kleidiai",
            "mlas.qnbit.force_fp32",
            "mlas.use_lut_gemm",
            "optimization.enable_cast_chain_elimination",
            "optimization.enable_gelu_approximation",
            "session.allow_released_opsets_only",
            "session.disable_aot_function_inlining",
            "session.disable_cpu_ep_fallback",
            "session.disable_double_qdq_remover",
            "session.disable_prepacking",
            "session.disable_qdq_constant_folding",
            "session.disable_quant_qdq",
            "session.enable_dq_matmulnbits_fusion",
            "session.enable_quant_qdq_cleanup",
            "session.force_spinning_stop",
            "session.inter_op.allow_spinning",
            "session.intra_op.allow_spinning",
            "session.prepack.enable_parallel",
            "session.qdqisint8allowed",
            "session.record_ep_graph_assignment_info",
            "session.set_denormal_as_zero",
            "session.strict_shape_type_inference",
            "session.use_device_allocator_for_initializers",
            "session.use_env_allocators",
            "session.x64quantprecision",
        ),
        _FLAG,
    ),
    "optimization.constant_folding_max_output_size_in_bytes": _BYTES,
    "optimization.disable_specified_optimizers": _NAMES,
    "session.dynamic_block_base": _number_as_text(0, 1_000_000),
    "session.graph_optimizations_loop_level": _number_as_text(0, 10),
    "session.inter_op.spin_backoff_max": _MICROSECONDS,
    "session.inter_op.spin_duration_us": _MICROSECONDS,
    "session.intra_op.spin_backoff_max": _MICROSECONDS,
    "session.intra_op.spin_duration_us": _MICROSECONDS,
    "session.intra_op_thread_affinities": _text(r"[0-9,;-]{0,20000}", "numbers of processors"),
    "session.qdq_matmulnbits_accuracy_level": _number_as_text(0, 4),
    "session.qdq_matmulnbits_block_size": _number_as_text(0, 4096),
}


def check_attribute(name: Any, value: Any) -> None:
    """Raise ValueError unless the attribute ``name`` may be set to ``value``."""
    if name not in _ATTRIBUTES:
        raise ValueError(
            f"session option {_shown(name)} is refused: onnxruntime.SessionOptions has no"
            f" {_shown(name)} that neither touches files nor loads code; expected"
            f" {', '.join((*_ATTRIBUTES, CONFIG_ENTRIES))}"
        )
    _check(f"onnxruntime.SessionOptions.{name}", _ATTRIBUTES[name], value)


def entry_text(key: Any, value: Any) -> str:
    """Return the configuration entry as text; raise ValueError unless it may be set."""
    if key not in _ENTRIES:
        raise ValueError(
            f"session option {CONFIG_ENTRIES}[{_shown(key)}] is refused: only entries that neither"
            f" touch files nor load code may be set; expected {', '.join(_ENTRIES)}"
        )
    if not isinstance(value, str | int):  # bool is an int
        raise ValueError(f"{CONFIG_ENTRIES}[{key!r}] cannot be {_shown(value)}: expected text")
    text = str(int(value)) if isinstance(value, bool) else str(value)
    _check(f"{CONFIG_ENTRIES}[{key!r}]", _ENTRIES[key], text)
    return text


def _check(what: str, rule: Rule, value: Any) -> None:
    if not rule.holds(value):
        raise ValueError(f"{what} cannot be {_shown(value)}: expected {rule.expected}")


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
