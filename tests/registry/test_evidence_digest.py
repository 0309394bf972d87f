"""Evidence counts as it was when its version was registered, and in numbers that can be."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import mlflow
import numpy as np
import pytest
from mlflow import MlflowClient
from pydantic import ValidationError

import mlflow_onnx_flavor
from mlflow_onnx_flavor import registry
from mlflow_onnx_flavor.artifact.digests import digest_of, manifest_of
from mlflow_onnx_flavor.cli import main
from mlflow_onnx_flavor.configuration_file import parse_configuration
from mlflow_onnx_flavor.errors import ConfigurationError, DigestMismatchError
from mlflow_onnx_flavor.schemas.registry_tags import EVIDENCE_DIGEST_TAG
from mlflow_onnx_flavor.schemas.verdict import ReleaseEvidence
from tests.onnx_graphs import doubling

SAMPLES = Path(__file__).parents[1] / "samples" / "evidence"
ROWS = np.ones((4, 2), np.float32)


@dataclass(frozen=True)
class Registered:
    name: str
    version: str
    evidence: Path  # the folder of the run's artifacts
    artifact: Path

    @property
    def uri(self) -> str:
        return f"models:/{self.name}/{self.version}"


@pytest.fixture
def registered(store, tmp_path, request) -> Registered:
    """A version whose evidence passes, of a model that lies in the local store."""
    name = f"m-{abs(hash(request.node.name))}"
    with mlflow.start_run() as run:
        logged = mlflow_onnx_flavor.log_model(
            str(doubling(tmp_path / "m.onnx")), name="converted", input_example=ROWS
        )
        artifact = Path(mlflow.artifacts.download_artifacts(logged.model_uri))
        digest, manifest = digest_of(artifact), manifest_of(artifact)
        verdict = json.loads((SAMPLES / "verdict-1.json").read_text())
        evidence = json.loads((SAMPLES / "evidence-1.json").read_text())
        for report in ("parity", "latency"):
            for candidate in evidence[report]["candidates"]:
                if candidate["name"] == verdict["chosen"]:
                    candidate["digest"] = digest
        mlflow.log_dict(evidence, "evidence.json")
        mlflow.log_dict(verdict, "verdict.json")
        mlflow.log_dict(manifest, "manifest.json")
    version = registry.register(
        name, logged.model_uri, digest, run.info.run_id, {}, "", "a key", manifest
    )
    return Registered(name, version, Path(run.info.artifact_uri.removeprefix("file://")), artifact)


def edited(registered: Registered, name: str) -> None:
    """One digit of the file becomes another."""
    file = registered.evidence / name
    text = file.read_text()
    at = next(at for at in range(len(text) - 1, 0, -1) if text[at] in "12345678")
    file.write_text(text[:at] + str(int(text[at]) + 1) + text[at + 1 :])


def counts(registered: Registered) -> list:
    """Every way in which a verdict counts."""
    return [
        lambda: registry.verify(registered.uri),
        lambda: registry.promote(registered.name, registered.version),
        lambda: registry.copy(registered.name, registered.version, to_name="elsewhere"),
        lambda: mlflow_onnx_flavor.load_pyfunc(registered.uri),
    ]


def test_evidence_that_is_what_it_was_counts(registered):
    verification = registry.verify(registered.uri)
    assert verification.evidence_known
    copied = registry.copy(registered.name, registered.version, to_name=f"{registered.name}-copy")
    tags = registry.get_version(f"{registered.name}-copy", copied).tags
    of_original = registry.get_version(registered.name, registered.version).tags
    assert tags[EVIDENCE_DIGEST_TAG] == of_original[EVIDENCE_DIGEST_TAG]
    assert registry.promote(registered.name, registered.version).moved_to == registered.version


@pytest.mark.parametrize("name", ["evidence.json", "verdict.json", "manifest.json"])
def test_evidence_of_which_one_digit_was_changed_does_not(registered, name):
    edited(registered, name)
    for use in counts(registered):
        with pytest.raises(
            DigestMismatchError, match="evidence of .* is not what it was registered"
        ):
            use()
    assert registry.aliased_version(registered.name, "champion") is None


def test_evidence_without_its_manifest_does_not(registered):
    (registered.evidence / "manifest.json").unlink()
    with pytest.raises(DigestMismatchError, match="is not what it was registered with"):
        registry.verify(registered.uri)


def test_of_a_version_from_before_it_is_said_that_nobody_knows(registered, capsys):
    MlflowClient().delete_model_version_tag(
        registered.name, registered.version, EVIDENCE_DIGEST_TAG
    )
    assert not registry.verify(registered.uri).evidence_known
    assert registry.promote(registered.name, registered.version).moved_to == registered.version
    assert main(["verify", registered.uri, "--quiet"]) == 0
    assert "whether its evidence was changed since is not known" in capsys.readouterr().out
    copied = registry.copy(registered.name, registered.version, to_name=f"{registered.name}-old")
    assert EVIDENCE_DIGEST_TAG not in registry.get_version(f"{registered.name}-old", copied).tags


def test_load_pyfunc_of_a_version_names_the_file_that_was_changed(registered, tmp_path):
    loaded = mlflow_onnx_flavor.load_pyfunc(registered.uri)
    np.testing.assert_array_equal(loaded.predict(ROWS)["y"], 2 * ROWS)
    digest = registry.verify(registered.uri).digest
    (shipped,) = (registered.artifact / "code").glob("mlflow_onnx_scoring_*")
    with (shipped / "__init__.py").open("a") as file:
        file.write(f"\nimport pathlib\npathlib.Path({str(tmp_path / 'ran')!r}).touch()\n")
    for how in ({}, {"digest": digest}):
        with pytest.raises(DigestMismatchError, match="__init__.py' was changed"):
            mlflow_onnx_flavor.load_pyfunc(registered.uri, **how)
    assert not (tmp_path / "ran").exists()


def test_a_version_that_holds_a_link_or_a_cache_is_not_promoted(registered):
    (registered.artifact / "code" / "onnxruntime").symlink_to(registered.evidence)
    for use in counts(registered):
        with pytest.raises(DigestMismatchError, match="'code/onnxruntime' in .* is a link"):
            use()


def paths_of_numbers(value, path=()):
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, each in items:
        if isinstance(each, dict | list):
            yield from paths_of_numbers(each, (*path, key))
        elif isinstance(each, int | float) and not isinstance(each, bool):
            yield (*path, key)


EVIDENCE = json.loads((SAMPLES / "evidence-1.json").read_text())
# One of each field is enough: indices of lists are left out of its name.
NUMBERS = {
    ".".join(key for key in path if isinstance(key, str)): path
    for path in paths_of_numbers(EVIDENCE)
}
# Infinite where answers cannot be held against each other, or are too large to be squared.
UNBOUNDED = {"error", "max_absolute_error", "p999_absolute_error"}
UNBOUNDED |= {"max_relative_error", "p999_relative_error", "scale", "source_rounding"}


def with_number(path: tuple, number: str) -> str:
    document = json.loads(json.dumps(EVIDENCE))
    place = document
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = "NUMBER"
    return json.dumps(document).replace('"NUMBER"', number)


@pytest.mark.parametrize("name", sorted(NUMBERS))
def test_no_number_of_evidence_is_beyond_what_it_can_be(name):
    numbers = ["NaN", "-1e308"] + ["1e999"] * (name.rpartition(".")[2] not in UNBOUNDED)
    for number in numbers:
        with pytest.raises(ValidationError):
            ReleaseEvidence.model_validate_json(with_number(NUMBERS[name], number))


@pytest.mark.parametrize("number", [float("inf"), float("nan"), -1e308, 1e308, sys.maxsize**9])
@pytest.mark.parametrize(
    "key",
    [
        "budget.seconds",
        "budget.tuning_seconds",
        "conversion.timeout_seconds",
        "conversion.max_memory_gigabytes",
        "conversion.opset",
        "reuse.max_age_hours",
        "promotion.max_evidence_age_hours",
        "probes.seed",
        "gates.latency.min_speedup",
        "gates.latency.min_p99_speedup",
        "gates.latency.p99_ms",
        "gates.parity.tolerance",
        "gates.parity.max_disagreement_rate",
        "gates.size.max_megabytes",
        "gates.memory.max_megabytes",
        "latency.server.seconds",
        "latency.server.p99_ms",
        "latency.server.threads",
    ],
)
def test_no_number_of_a_configuration_is_either(key, number):
    values = number
    for part in reversed(key.split(".")):
        values = {part: values}
    with pytest.raises(ConfigurationError, match=f"^the configuration: {key}"):
        parse_configuration(values)
