"""Describe the machine of a measurement (hardware, limits, versions) without importing anything."""

from __future__ import annotations

import importlib.metadata
import math
import os
import platform
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from mlflow_onnx_flavor.machine.execution_providers import runtime_versions
from mlflow_onnx_flavor.schemas.evidence import Environment

_ALWAYS = ("mlflow", "onnx", "numpy", "pandas")
_CGROUPS = Path("/sys/fs/cgroup")
_GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
# Instruction sets by which onnxruntime selects its kernels, by their names in /proc/cpuinfo.
_FLAGS = re.compile(r"(avx|fma|amx|f16c|sse4|vnni|asimd|sve|bf16|i8mm|sme\d*$)")


def environment(distributions: Sequence[str] = ()) -> Environment:
    """Return the description of this machine.

    It holds the versions of this package's core requirements, of every build and plug-in of
    onnxruntime and of ``distributions``.
    """
    return Environment(
        python=platform.python_version(),
        platform=platform.platform(),
        cpu=cpu_model(),
        cores_allowed=cores_allowed(),
        memory_bytes=memory_bytes(),
        versions=versions((*_ALWAYS, *distributions)) | runtime_versions(),
        cpu_flags=cpu_flags(),
        governor="".join(lines_of(_GOVERNOR)),
    )


def versions(distributions: Sequence[str]) -> dict[str, str]:
    """Return the installed version of each distribution, without those that are not installed."""
    found = {}
    for name in distributions:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # one of several names for one thing, such as tensorflow-cpu
    return found


def cpu_model() -> str:
    """Return the processor's name."""
    for line in lines_of(Path("/proc/cpuinfo")):
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return value.strip()
    return platform.processor() or platform.machine()


def cpu_flags() -> tuple[str, ...]:
    """Return the processor's instruction sets that matter to inference, in alphabetical order."""
    for line in lines_of(Path("/proc/cpuinfo")):
        key, _, value = line.partition(":")
        if key.strip() in ("flags", "Features"):
            return tuple(sorted(flag for flag in value.split() if _FLAGS.match(flag)))
    return ()


def throttled_microseconds(
    cgroups: Path = _CGROUPS, membership: Path = Path("/proc/self/cgroup")
) -> int | None:
    """Return the time for which cgroups throttled this process; None where it is not counted."""
    found = [
        int(value) // scale
        for folder in _own_cgroups(cgroups, membership, "cpu")
        for line in lines_of(folder / "cpu.stat")
        for key, value in [line.split()]
        for name, scale in (("throttled_usec", 1), ("throttled_time", 1000))
        if key == name
    ]
    return max(found, default=None)


def cores_allowed() -> int:
    """Return the number of cores that this process may use.

    It is the smaller of the process's affinity and the cgroup's quota, rounded up.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    quotas = [math.ceil(each) for each in cpu_quotas()]
    return max(min([cores or 1, *quotas]), 1)


def memory_bytes() -> int:
    """Return the bytes of memory that this process may use.

    They are the machine's, or the cgroup's limit where that is smaller.
    """
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([machine, *memory_limits()])


def cpu_quotas(
    cgroups: Path = _CGROUPS, membership: Path = Path("/proc/self/cgroup")
) -> list[float]:
    """Return the number of cores that each cgroup of this process allows (cgroups v1 and v2)."""
    quotas = []
    for folder in _own_cgroups(cgroups, membership, "cpu"):
        quota = period = ""
        for line in lines_of(folder / "cpu.max"):
            quota, _, period = line.partition(" ")
        for line in lines_of(folder / "cpu.cfs_quota_us"):
            quota, period = line, "".join(lines_of(folder / "cpu.cfs_period_us"))
        if quota.isdigit() and period.isdigit():  # "max" or -1 where there is no limit
            quotas.append(int(quota) / int(period))
    return quotas


def memory_limits(
    cgroups: Path = _CGROUPS, membership: Path = Path("/proc/self/cgroup")
) -> list[int]:
    """Return the bytes of memory that each cgroup of this process allows (cgroups v1 and v2)."""
    return [
        int(line)
        for folder in _own_cgroups(cgroups, membership, "memory")
        for name in ("memory.max", "memory.limit_in_bytes")
        for line in lines_of(folder / name)
        if line.isdigit()
    ]


def _own_cgroups(cgroups: Path, membership: Path, controller: str) -> Iterator[Path]:
    """Yield the folders of this process's cgroup and its ancestors: a limit on any of them holds.

    Version 2 keeps one tree, version 1 one for each controller.  Inside a container the path may be
    the host's, and then only the root exists.
    """
    roots = {"": cgroups, controller: cgroups / controller}
    for line in lines_of(membership):
        _, controllers, path = line.split(":", 2)
        root = next((roots[each] for each in controllers.split(",") if each in roots), None)
        if root is not None:
            own = root / path.strip("/")
            yield from (each for each in (own, *own.parents) if each.is_relative_to(root))


def lines_of(path: Path) -> list[str]:
    """Return the lines of a system file; an empty list where there is no such file."""
    try:
        return path.read_text().splitlines()
    except OSError:
        return []  # not Linux, or no such cgroup: the callers have fallbacks
