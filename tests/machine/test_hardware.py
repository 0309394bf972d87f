"""The environment of a measurement, and the limits that a container sets."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys

import pytest

from mlflow_onnx_flavor.machine import hardware as module
from mlflow_onnx_flavor.machine.hardware import (
    cores_allowed,
    cpu_quotas,
    environment,
    memory_limits,
    versions,
)


def cgroup(folder, **files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text + "\n")


@pytest.fixture
def membership(tmp_path):
    def write(text):
        path = tmp_path / "membership"
        path.write_text(text)
        return path

    return write


def test_the_environment_names_hardware_and_versions():
    here = environment(("scikit-learn", "not-a-distribution"))
    assert here.cpu and here.platform.startswith(("Linux", "macOS"))
    assert 1 <= here.cores_allowed <= os.cpu_count()
    assert here.memory_bytes > 2**28
    assert here.versions["onnxruntime"] == importlib.metadata.version("onnxruntime")
    assert "scikit-learn" in here.versions and "not-a-distribution" not in here.versions


def test_versions_that_are_not_installed_are_left_out():
    assert list(versions(("numpy", "no-such-thing"))) == ["numpy"]


def test_the_tightest_limit_of_a_version_2_tree_is_found_on_an_ancestor(tmp_path, membership):
    cgroup(tmp_path / "fs" / "pod", cpu__max="150000 100000", memory__max="1000")
    cgroup(tmp_path / "fs" / "pod" / "box", cpu__max="max 100000", memory__max="max")
    path = membership("0::/pod/box\n")
    assert cpu_quotas(tmp_path / "fs", path) == [1.5]
    assert memory_limits(tmp_path / "fs", path) == [1000]


def test_version_1_limits_are_read_from_each_controllers_tree(tmp_path, membership):
    cgroup(tmp_path / "fs" / "cpu" / "box", cpu__cfs_quota_us="50000", cpu__cfs_period_us="100000")
    cgroup(tmp_path / "fs" / "cpu", cpu__cfs_quota_us="-1", cpu__cfs_period_us="100000")
    cgroup(tmp_path / "fs" / "memory", memory__limit_in_bytes="2000")
    path = membership("5:memory:/elsewhere\n4:cpu,cpuacct:/box\n1:pids:/\n")
    assert cpu_quotas(tmp_path / "fs", path) == [0.5]
    assert memory_limits(tmp_path / "fs", path) == [2000]


def test_a_quota_below_the_cores_is_what_is_allowed(monkeypatch):
    monkeypatch.setattr(module, "cpu_quotas", lambda: [0.5])
    assert cores_allowed() == 1


def test_without_cgroups_there_is_no_limit(tmp_path):
    assert cpu_quotas(tmp_path, tmp_path / "absent") == []
    assert memory_limits(tmp_path, tmp_path / "absent") == []


@pytest.mark.process
def test_reading_the_environment_imports_no_framework():
    code = (
        "import sys; from mlflow_onnx_flavor.machine.hardware import environment;"
        "environment(('torch',)); heavy = {'mlflow', 'onnx', 'onnxruntime', 'numpy', 'torch'};"
        "print(heavy & set(sys.modules))"
    )
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert finished.stdout.strip() == "set()", finished.stderr
