"""Where a measurement is made: hardware, limits and versions, read without importing anything."""

from __future__ import annotations

import importlib.metadata
import math
import os
import platform
from collections.abc import Sequence
from pathlib import Path

from mlflow_onnx_flavor.evidence import Environment

_ALWAYS = ("mlflow", "onnx", "onnxruntime", "numpy", "pandas")


def environment(distributions: Sequence[str] = ()) -> Environment:
    """This machine and the versions of the core, plus those of ``distributions``."""
    return Environment(
        python=platform.python_version(),
        platform=platform.platform(),
        cpu=cpu_model(),
        cores_allowed=cores_allowed(),
        memory_bytes=memory_bytes(),
        versions=versions((*_ALWAYS, *distributions)),
    )


def versions(distributions: Sequence[str]) -> dict[str, str]:
    """Distribution name -> installed version; those that are not installed are left out."""
    found = {}
    for name in distributions:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # one of several names for one thing, such as tensorflow-cpu
    return found


def cpu_model() -> str:
    """The processor's name."""
    for line in _lines("/proc/cpuinfo"):
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return value.strip()
    return platform.processor() or platform.machine()


def cores_allowed() -> int:
    """Cores that this process may use: its affinity, and the cgroup's quota rounded up."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    for line in _lines("/sys/fs/cgroup/cpu.max"):
        quota, _, period = line.partition(" ")
        if quota.isdigit() and period.strip().isdigit():
            cores = min(cores, math.ceil(int(quota) / int(period)))
    return max(cores or 1, 1)


def memory_bytes() -> int:
    """Memory that this process may use: the machine's, or the cgroup's limit."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for line in _lines("/sys/fs/cgroup/memory.max"):
        if line.strip().isdigit():
            total = min(total, int(line))
    return total


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []  # not Linux, or no cgroup: the fallbacks above tell what they can
