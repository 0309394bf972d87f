"""What the steps hand each other, as JSON artifacts of their runs."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from mlflow_onnx_flavor.schemas.evidence import Count, Seconds

SOURCE, CONVERSION, CANDIDATES = "source.json", "conversion.json", "candidates.json"
PARITY, LATENCY, VERDICT = "evidence/parity.json", "evidence/latency.json", "verdict.json"
EVIDENCE = "evidence.json"  # both, with the providers that are required: what a verdict reads
REGISTRATION, MANIFEST = "registration.json", "manifest.json"


class StepRecord(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    schema_version: int = 1


class DataRecord(StepRecord):
    """Inputs that a run keeps, as the artifact ``artifact``.

    Of large data that is the first batch, and ``whole`` the file; ``rows`` and ``digest`` are of
    the file then.
    """

    artifact: str
    origin: str
    rows: Count
    digest: str
    location: str = ""  # where the user's file was
    whole: str = ""


class SourceRecord(StepRecord):
    """Written by log_source."""

    run_id: str
    uri: str
    model_uri: str  # what later steps load: reachable from any machine that reaches the server
    framework: str
    digest: str
    size_bytes: Count
    signature: str
    evaluation: DataRecord | None
    example: DataRecord | None


class ConvertedRecord(StepRecord):
    """Written by convert, beside the conversion's own record."""

    run_id: str
    source_run_id: str
    model_uri: str
    description: str
    seconds: Seconds


class CandidateRecord(StepRecord):
    """``details``: what was measured to build it."""

    name: str
    model_uri: str
    digest: str
    size_bytes: Count
    description: str
    details: dict[str, Any] = {}


class SkippedCandidate(StepRecord):
    name: str
    cause: str


class CandidatesRecord(StepRecord):
    """Written by optimize."""

    run_id: str
    source_run_id: str
    convert_run_id: str
    candidates: tuple[CandidateRecord, ...]
    skipped: tuple[SkippedCandidate, ...]


class RegistrationRecord(StepRecord):
    """Written by register."""

    run_id: str
    name: str
    version: str
    model_uri: str
    digest: str
    candidate: str
