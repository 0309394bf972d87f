"""Evidence that an earlier version wrote is read, and judged as it was."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from mlflow_onnx_flavor.gates import judge
from mlflow_onnx_flavor.schemas.configuration import Gates, LatencyGate
from mlflow_onnx_flavor.schemas.verdict import ReleaseEvidence, Verdict

SAMPLES = Path(__file__).parents[1] / "samples" / "evidence"


@pytest.fixture
def evidence() -> ReleaseEvidence:
    return ReleaseEvidence.model_validate_json((SAMPLES / "evidence-1.json").read_text())


def test_it_is_judged_as_it_was(evidence):
    recorded = Verdict.model_validate_json((SAMPLES / "verdict-1.json").read_text())
    verdict = judge(evidence, recorded.gates)
    assert verdict.passed and verdict.chosen == recorded.chosen
    assert [(each.gate, each.passed) for each in verdict.findings] == [
        (each.gate, each.passed) for each in recorded.findings
    ]


def test_gates_that_came_after_can_be_asked_of_it(evidence):
    gates = Gates(latency=LatencyGate(p99_ms=100, min_p99_speedup=1.0))
    found = {each.gate: each for each in judge(evidence, gates).of("converted")}
    assert found["p99"].passed
    assert not found["p99 latency"].passed and "too few" in found["p99 latency"].reason


def test_what_is_not_evidence_is_told(evidence):
    document = json.loads((SAMPLES / "evidence-1.json").read_text())
    document["latency"]["rows"][0]["speed"] = 3
    with pytest.raises(ValidationError, match="speed"):
        ReleaseEvidence.model_validate(document)


def test_evidence_of_a_newer_version_asks_for_an_upgrade(evidence):
    document = json.loads((SAMPLES / "evidence-1.json").read_text())
    document["parity"] |= {"schema_version": 2, "what_came_later": 1}
    with pytest.raises(ValidationError, match="upgrade mlflow-onnx-flavor"):
        ReleaseEvidence.model_validate(document)
