"""The key of a step changes with whatever its answers depend on."""

from __future__ import annotations

import pytest

from mlflow_onnx_flavor import candidates
from mlflow_onnx_flavor.machine.hardware import environment
from mlflow_onnx_flavor.pipeline import cache, optimize
from mlflow_onnx_flavor.pipeline.cache import step_key
from mlflow_onnx_flavor.schemas.configuration import Configuration
from mlflow_onnx_flavor.scoring.providers import BUILDS, PLUGINS


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Installs the metadata of a distribution that provides a module: (name, version, module)."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def install(name: str, version: str, module: str) -> None:
        folder = tmp_path / f"{name.replace('-', '_')}.dist-info"
        folder.mkdir(exist_ok=True)
        (folder / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        )
        (folder / "top_level.txt").write_text(f"{module}\n")

    return install


@pytest.mark.parametrize(
    ("name", "module"),
    [
        *((name, "onnxruntime") for name in sorted(set(BUILDS.values()))),
        ("ort-nightly", "onnxruntime"),
        *((each.package, each.module) for each in PLUGINS.values()),
        ("a-plug-in-of-tomorrow", "onnxruntime_ep_tomorrow"),
        ("operators-of-ours", "onnxruntime_extensions"),
    ],
)
def test_another_version_of_whatever_runs_a_graph_is_another_key(installed, name, module):
    before = step_key("check_parity")
    installed(name, "1.0", module)
    first = step_key("check_parity")
    installed(name, "2.0", module)
    assert len({before, first, step_key("check_parity")}) == 3
    assert environment().versions[name] == "2.0"


def test_a_distribution_that_runs_no_graph_leaves_the_key_as_it_is(installed):
    before = step_key("check_parity")
    installed("something-else", "1.0", "something_else")
    assert step_key("check_parity") == before


@pytest.fixture
def another_candidate(tmp_path, monkeypatch):
    """Adds a candidate as one does, by a file in the package: (name, its lines)."""
    monkeypatch.setattr(candidates, "__path__", [*candidates.__path__, str(tmp_path)])

    def add(name: str, *lines: str) -> None:
        build = "def build(converted, out, measuring=None): ..."
        (tmp_path / f"{name}.py").write_text("\n".join((f"name = {name!r}", *lines, build)))
        candidates.names.cache_clear()

    yield add
    candidates.names.cache_clear()


@pytest.mark.parametrize(
    ("name", "lines", "is_measured"),
    [("timed_somehow", ["measured = True"], True), ("rewritten_somehow", [], False)],
)
def test_candidates_are_made_anew_on_other_hardware_where_one_is_measured(
    another_candidate, monkeypatch, name, lines, is_measured
):
    another_candidate(name, *lines)
    configuration = Configuration(candidates=("converted", name))
    here = optimize._key("a run", configuration)
    monkeypatch.setattr(cache, "cpu_model", lambda: "another processor")
    assert (optimize._key("a run", configuration) != here) is is_measured


def test_the_candidate_that_is_tuned_is_measured():
    assert [name for name in candidates.names() if candidates.is_measured(name)] == ["tuned"]
