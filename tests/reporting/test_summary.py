"""A summary survives JSON whole, and refuses what it does not know."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from mlflow_onnx_flavor.schemas.summary import ReleaseSummary, SourceSummary


def test_json_gives_back_the_same_summary(any_summary):
    assert ReleaseSummary.from_json(any_summary.to_json()) == any_summary


def test_an_infinite_error_survives_json(passing):
    row = passing.parity.rows[0]
    output = row.outputs[1].model_copy(update={"max_absolute_error": float("inf")})
    rows = (row.model_copy(update={"outputs": (output,)}),)
    summary = passing.model_copy(
        update={"parity": passing.parity.model_copy(update={"rows": rows})}
    )
    assert ReleaseSummary.from_json(summary.to_json()) == summary


def test_only_the_source_is_needed():
    assert ReleaseSummary(source=SourceSummary(uri="models:/m/1")).verdict is None


def test_a_newer_schema_is_refused_with_what_to_do(passing):
    values = json.loads(passing.to_json()) | {"schema_version": 99, "new_field": 1}
    with pytest.raises(ValidationError, match="upgrade mlflow-onnx-flavor"):
        ReleaseSummary.from_json(json.dumps(values))


def test_an_unknown_field_is_refused(passing):
    values = json.loads(passing.to_json()) | {"surprise": 1}
    with pytest.raises(ValidationError, match="surprise"):
        ReleaseSummary.from_json(json.dumps(values))
