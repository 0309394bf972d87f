"""Session settings worth trying: those that change onnxruntime's speed and never its answers."""

from __future__ import annotations

import random
from typing import Any

from mlflow_onnx_flavor.latency.statistics import SEED
from mlflow_onnx_flavor.schemas.tuning import Settings
from mlflow_onnx_flavor.scoring.runtimes import CPU

MOST = 24

_SPINNING, _PREPACKING = "session.intra_op.allow_spinning", "session.disable_prepacking"
# Each entry is one decision; the first of its choices is onnxruntime's own default.
_CHOICES: dict[str, tuple[Settings, ...]] = {
    "spinning": ({}, {"config_entries": {_SPINNING: "0"}}),
    "optimization": (
        {},
        {"graph_optimization_level": "ORT_ENABLE_EXTENDED"},
        {"graph_optimization_level": "ORT_ENABLE_BASIC"},
    ),
    "execution": ({}, {"execution_mode": "parallel"}),
    "arena": ({}, {"enable_cpu_mem_arena": False}),
    "patterns": ({}, {"enable_mem_pattern": False}),
    "prepacking": ({}, {"config_entries": {_PREPACKING: "1"}}),
}

# Provider options, one decision each; the provider's own default is tried by setting nothing.
_OF_PROVIDERS: dict[str, dict[str, tuple[str, ...]]] = {
    "OpenVINOExecutionProvider": {
        "num_of_threads": ("1", "2", "4"),
        "num_streams": ("1", "2"),
        "enable_qdq_optimizer": ("true",),
    },
    "CUDAExecutionProvider": {
        "cudnn_conv_algo_search": ("HEURISTIC", "DEFAULT"),
        "cudnn_conv_use_max_workspace": ("0",),
        "prefer_nhwc": ("1",),
        "arena_extend_strategy": ("kSameAsRequested",),
    },
    "TensorrtExecutionProvider": {
        "trt_builder_optimization_level": ("5",),
        "trt_auxiliary_streams": ("0",),
        "trt_context_memory_sharing_enable": ("1",),
    },
    "WebGpuExecutionProvider": {"preferredLayout": ("NHWC",)},
    "XnnpackExecutionProvider": {"intra_op_num_threads": ("1", "2", "4")},
}


def settings_to_try(cores: int, provider: str = CPU, most: int = MOST) -> list[Settings]:
    """Return at most ``most`` settings, without the default.

    They are every decision alone, threads with and without spinning, and some random combinations.
    """
    threads = tuple({"intra_op_num_threads": number} for number in thread_counts(cores))
    choices = {**_of_provider(provider), "threads": ({}, *threads), **_CHOICES}
    tried: list[Settings] = []

    def add(settings: Settings) -> None:
        if settings and settings not in tried:
            tried.append(settings)

    for of_decision in choices.values():
        for choice in of_decision[1:]:
            add(choice)
    for number in threads:
        add(merged(number, _CHOICES["spinning"][1]))
    generator = random.Random(SEED)
    for _ in range(10 * most):
        if len(tried) >= most:
            break
        add(merged(*(generator.choice(of_decision) for of_decision in choices.values())))
    return tried[:most]


def thread_counts(cores: int) -> list[int]:
    """Return the powers of two up to the number of cores, and that number itself."""
    powers = [1 << exponent for exponent in range(cores.bit_length()) if 1 << exponent <= cores]
    return sorted({*powers, cores})


def merged(*parts: Settings) -> Settings:
    """Merge settings into one; nested entries are merged too."""
    whole: Settings = {}
    for part in parts:
        for name, value in part.items():
            whole[name] = _both(whole.get(name), value)
    return whole


def _both(value: Any, other: Any) -> Any:
    if isinstance(value, dict) and isinstance(other, dict):
        return {**value, **{name: _both(value.get(name), each) for name, each in other.items()}}
    return other


def _of_provider(provider: str) -> dict[str, tuple[Settings, ...]]:
    return {
        f"{provider} {option}": (
            {},
            *({"provider_options": {provider: {option: value}}} for value in values),
        )
        for option, values in _OF_PROVIDERS.get(provider, {}).items()
    }
