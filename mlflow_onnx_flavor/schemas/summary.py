"""`ReleaseSummary`: everything that one release did, in one typed record that every report reads.

    summary = ReleaseSummary(source=..., conversion=..., parity=..., latency=..., verdict=...)
    text = summary.to_json()
    summary = ReleaseSummary.from_json(text)

Everything but ``source`` may be absent: a release that stopped early has a report too.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from mlflow_onnx_flavor.schemas.configuration import Configuration
from mlflow_onnx_flavor.schemas.evidence import LatencyReport, ParityReport, Seconds, Versioned
from mlflow_onnx_flavor.schemas.tuning import Tuning
from mlflow_onnx_flavor.schemas.verdict import Verdict


class Part(BaseModel):
    """Base class of the summary's parts: frozen, without unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")


class SourceSummary(Part):
    """The source model.

    ``uri``: as the user wrote it.  ``resolved_uri``: with its version fixed.
    """

    uri: str
    resolved_uri: str = ""
    framework: str = ""  # MLflow's flavor name
    digest: str = ""
    run_id: str | None = None
    signature: str = ""


class DataSummary(Part):
    """The evaluation data."""

    name: str
    path: str = ""
    rows: int
    digest: str = ""


class AttemptSummary(Part):
    """One export strategy that was tried.

    ``outcome``: "converted", "failed", "crashed", "timed out", "wrong answers" or "not tried".
    """

    strategy: str
    why: str = ""
    exporter: str = ""
    exporter_version: str = ""
    seconds: Seconds = 0.0
    outcome: str
    cause: str = ""
    remedy: str = ""


class ConversionSummary(Part):
    """The attempts to make the ONNX model.

    ``strategy`` is None where none worked.  ``environment_note``: how the source's environment
    differed from the recorded one.
    """

    attempts: tuple[AttemptSummary, ...] = ()
    strategy: str | None = None
    opset: int | None = None
    seconds: Seconds = 0.0
    environment_note: str = ""


class SkippedCandidate(Part):
    """A candidate that could not be built."""

    name: str
    reason: str


class RegisteredVersion(Part):
    """The version in the registry.

    ``alias_moved_from`` is the version that the alias pointed to before; it and ``alias_moved_to``
    are None where the alias did not move.
    """

    name: str
    version: str
    uri: str
    digest: str
    alias: str = ""
    alias_moved_from: str | None = None
    alias_moved_to: str | None = None


class StepSummary(Part):
    """One step of the release.

    ``reused``: an earlier run with the same key did the work.
    """

    name: str
    seconds: Seconds
    run_id: str = ""
    url: str = ""
    reused: bool = False


class ReleaseSummary(Versioned):
    """Everything that a release did and measured; the only input of the reports."""

    package_version: str = ""
    finished_at: str = ""  # ISO 8601, with the offset from UTC
    source: SourceSummary
    registered_model: str = ""  # the name that was requested; `registered` holds the result
    configuration: Configuration | None = None
    data: DataSummary | None = None
    conversion: ConversionSummary | None = None
    skipped: tuple[SkippedCandidate, ...] = ()
    tuning: Tuning | None = None
    parity: ParityReport | None = None
    latency: LatencyReport | None = None
    verdict: Verdict | None = None
    registered: RegisteredVersion | None = None
    promotion: str = ""  # one sentence on whether and why the alias moved
    error: str = ""  # one sentence on why the release stopped before its end
    run_id: str = ""
    run_url: str = ""
    steps: tuple[StepSummary, ...] = ()
    notes: tuple[str, ...] = ()

    def to_json(self) -> str:
        """Return the summary as JSON."""
        return self.model_dump_json(indent=2)

    @classmethod
    def from_json(cls, text: str) -> ReleaseSummary:
        """Return the summary that `to_json` wrote.

        Raises ``pydantic.ValidationError`` for any other text.
        """
        return cls.model_validate_json(text)
