"""Records that the steps pass on to each other, as JSON artifacts of their runs."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from mlflow_onnx_flavor.schemas.evidence import Count, Seconds

SOURCE, CONVERSION, CANDIDATES = "source.json", "conversion.json", "candidates.json"
PARITY, LATENCY, VERDICT = "evidence/parity.json", "evidence/latency.json", "verdict.json"
EVIDENCE = "evidence.json"  # both reports and the required providers, the input of a verdict
REGISTRATION, MANIFEST = "registration.json", "manifest.json"


class StepRecord(BaseModel):
    """Base class of the records: frozen, without unknown keys, with a schema version."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    schema_version: int = 1


class DataRecord(StepRecord):
    """Inputs that a run keeps, as the artifact ``artifact``.

    If the data is large, the artifact is its first batch, ``whole`` is the complete file, and
    ``rows`` and ``digest`` are those of the file.
    """

    artifact: str
    origin: str
    rows: Count
    digest: str
    location: str = ""  # path of the user's file
    whole: str = ""


class SourceRecord(StepRecord):
    """The source model, written by the step log_source."""

    run_id: str
    uri: str
    model_uri: str  # loaded by later steps: reachable from any machine that reaches the server
    framework: str
    digest: str
    size_bytes: Count
    signature: str
    evaluation: DataRecord | None
    example: DataRecord | None


class ConvertedRecord(StepRecord):
    """The converted model, written by the step convert beside the conversion's own record."""

    run_id: str
    source_run_id: str
    model_uri: str
    description: str
    seconds: Seconds


class CandidateRecord(StepRecord):
    """A candidate that was built.

    ``details``: measurements that were made to build it.
    """

    name: str
    model_uri: str
    digest: str
    size_bytes: Count
    description: str
    details: dict[str, Any] = {}


class SkippedCandidate(StepRecord):
    """A candidate that was not built, and the cause."""

    name: str
    cause: str


class CandidatesRecord(StepRecord):
    """The candidates, written by the step optimize."""

    run_id: str
    source_run_id: str
    convert_run_id: str
    candidates: tuple[CandidateRecord, ...]
    skipped: tuple[SkippedCandidate, ...]


class RegistrationRecord(StepRecord):
    """The registered version, written by the step register."""

    run_id: str
    name: str
    version: str
    model_uri: str
    digest: str
    candidate: str
