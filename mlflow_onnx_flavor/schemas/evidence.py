"""Evidence: measurements with units, versions and hardware, without any judgement.

Every report is JSON with a schema version, logged as an artifact.  It can be judged again later
against other gates (`gates`) without running a model.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_serializer, model_validator

SCHEMA_VERSION = 1
_ENTRIES = "config_entries"  # the session option that holds others

# Numbers are finite (`Evidence.model_config`), except errors: these are infinite where two answers
# cannot be compared.
Count = Annotated[int, Field(ge=0, lt=1 << 63)]
NonNegative = Annotated[float, Field(ge=0)]
Seconds = Annotated[float, Field(ge=0, le=1e12)]
Error = Annotated[float, Field(ge=0, allow_inf_nan=True)]
# Both leave room for the rounding error of their own computation.
Divergent = Annotated[float, Field(ge=-1e-6)]
Cosine = Annotated[float, Field(ge=-1.001, le=1.001)]
# A share of time that the system counted; its counters may be read at slightly different moments,
# so it may be below 0 or above 1.
Share = Annotated[float, Field(ge=-1e3, le=1e9)]

# Errors are counted at ten thresholds a decade, so that any tolerance can be judged afterwards.
ERROR_THRESHOLDS = tuple(10.0 ** (exponent / 10) for exponent in range(-120, 21))


class Evidence(BaseModel):
    """Base class of evidence: frozen, without unknown fields; NaN and infinity only in errors."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", ser_json_inf_nan="strings", allow_inf_nan=False
    )


class Versioned(Evidence):
    """A document with the version of its schema; a newer version than this one's is refused."""

    schema_version: Annotated[int, Field(ge=1)] = SCHEMA_VERSION

    @model_validator(mode="before")
    @classmethod
    def _must_be_a_known_version(cls, values: Any) -> Any:
        version = values.get("schema_version", 1) if isinstance(values, dict) else 1
        if isinstance(version, int) and version > SCHEMA_VERSION:
            raise ValueError(
                f"it has schema version {version} and this mlflow-onnx-flavor reads up to"
                f" {SCHEMA_VERSION}: upgrade mlflow-onnx-flavor"
            )
        return values


class Environment(Evidence):
    """The machine and the software of a measurement."""

    python: str
    platform: str
    cpu: str
    cores_allowed: Count
    memory_bytes: Count
    versions: dict[str, str]  # distribution name -> version
    cpu_flags: tuple[str, ...] = ()  # instruction sets that matter to inference
    governor: str = ""  # that of the processor's frequency, where the system names it


class ExecutionProvider(Evidence):
    """An execution provider as it was requested, options included.

    ``session_options``: those of onnxruntime's session on it; the same provider with other session
    options counts as another provider.
    """

    name: str
    options: dict[str, str] = {}
    session_options: dict[str, Any] = {}

    def __str__(self) -> str:
        settings = ", ".join(f"{key}={value}" for key, value in self.session_settings.items())
        return f"{self.name} [{settings}]" if settings else self.name

    @property
    def session_settings(self) -> dict[str, Any]:
        """The `session_options` by name, with the configuration entries among them."""
        plain = {name: each for name, each in self.session_options.items() if name != _ENTRIES}
        return dict(sorted((plain | (self.session_options.get(_ENTRIES) or {})).items()))

    @model_serializer(mode="wrap")
    def _as_before_where_there_are_none(self, write: Any) -> Any:
        """Evidence without session options is what earlier versions read."""
        values = write(self)
        return values if self.session_options else {"name": self.name, "options": self.options}


class ModelIdentity(Evidence):
    """The model that a row describes.

    ``digest``: SHA-256 of the file manifest of the artifact.
    """

    name: str  # "source", "champion", or the candidate's name: converted, fused, ...
    uri: str
    digest: str
    size_bytes: Count = 0


class OutputParity(Evidence):
    """The comparison of one output of source and candidate, row by row.

    The scaled error of an element is ``|candidate - source| / max(|source|, scale)``, where
    ``scale`` is the root mean square of the source's output, so that one number serves outputs of
    any size.  ``rows_above`` gives for each of `ERROR_THRESHOLDS` the number of rows whose largest
    scaled error is above it; rows with a NaN or infinity in only one of the two count as above all.

    ``tolerance_from``: the origin of the automatic tolerance: the dtypes; the number of terms that
    the graph adds up; the source's own rounding error, seen when its inputs are moved by one
    rounding step ("perturbation") or when it is compared with itself in float64.

    ``label_ties``: rows whose labels differ between classes that the source itself scores the same,
    within the tolerance of its arithmetic; they do not count as ``label_disagreements``.
    """

    name: str
    kind: Literal["scores", "labels"]
    rows: Count
    source_dtype: str
    candidate_dtype: str
    source_shape: tuple[Count, ...]
    candidate_shape: tuple[Count, ...]
    max_absolute_error: Error = 0.0
    p999_absolute_error: Error = 0.0
    max_relative_error: Error = 0.0
    p999_relative_error: Error = 0.0
    scale: Error = 1.0
    auto_tolerance: NonNegative = 0.0  # on the scaled error; never derived from the candidate
    tolerance_from: Literal["dtypes", "reductions", "perturbation", "float64"] = "dtypes"
    source_rounding: Error = 0.0  # the source's rounding error, scaled; 0: not known
    max_divergence: Divergent | None = None  # for probabilities: Jensen-Shannon, in nats
    max_confidence_shift: NonNegative | None = None  # for the class that the source chose
    min_cosine: Cosine | None = None  # for embeddings
    label_disagreements: Count = 0
    label_ties: Count = 0
    nonfinite_mismatches: Count = 0  # rows with a NaN or infinity in only one of the two
    rows_above: tuple[Count, ...] = ()

    @model_validator(mode="after")
    def _says_how_many_rows_are_above(self) -> OutputParity:
        counted = len(self.rows_above)
        if self.kind == "scores" and self.same_shape and counted != len(ERROR_THRESHOLDS):
            raise ValueError(f"rows_above has {counted} values, not {len(ERROR_THRESHOLDS)}")
        return self

    @property
    def same_shape(self) -> bool:
        """True where source and candidate give this output in the same shape."""
        return self.source_shape == self.candidate_shape

    def disagreements(self, tolerance: float) -> int:
        """Return how many rows have a scaled error above ``tolerance``; labels must be equal.

        All rows disagree where the shapes differ.
        """
        if not self.same_shape:
            return self.rows
        if self.kind == "labels":
            return self.label_disagreements
        if tolerance < ERROR_THRESHOLDS[0]:
            return self.rows if self.max_absolute_error > 0 else self.nonfinite_mismatches
        position = math.floor(math.log10(tolerance) * 10 + 1e-9) + 120
        return self.rows_above[min(position, len(ERROR_THRESHOLDS) - 1)]


class FormDifference(Evidence):
    """A difference in form between the pyfunc answers of candidate and source.

    ``what``: type, dtype, columns, ...
    """

    what: str
    source: str
    candidate: str


class WorstRow(Evidence):
    """A row that disagrees: its position among the inputs, and the output where it differs most.

    ``kind``: that of the probe; "" for other inputs.  ``error``: scaled; infinite where a label
    differs, or a NaN or infinity stands on one side only.
    """

    row: Count
    kind: str
    output: str
    error: Error


class Divergence(Evidence):
    """The first node whose output leaves the tolerance although its inputs are within it.

    ``layer``: the source's own name of the layer, such as "encoder.layers.0.norm1"; "a or b" where
    the reference does not know the values between the two.  Errors are scaled; ``error_before`` is
    the error of the node's inputs.  ``reference``: the computation that the node was compared with.
    """

    node: str
    operator: str
    layer: str
    output: str
    error: Error
    error_before: Error
    reference: str

    def __str__(self) -> str:
        layer = f" of layer {self.layer!r}" if self.layer else ""
        apart = "differs" if math.isinf(self.error) else f"is {self.error:.1e} off"
        where = f"{self.operator} node {self.node!r}{layer}"
        return (
            f"answers leave the tolerance at {where}, which {apart} where what it is given is"
            f" {self.error_before:.1e} off, against {self.reference}"
        )


class ProbeRecord(Evidence):
    """The generated probes: how many rows of each kind the source accepts.

    ``seed`` generates the same probes again.  ``cause``: why there are none.
    """

    seed: Count
    rows: dict[str, Count] = {}
    cause: str = ""


Status = Literal["measured", "failed", "crashed", "timed out", "fell back", "skipped"]


class ParityRow(Evidence):
    """The parity of one candidate on one execution provider, kind of inputs and batch size."""

    candidate: str
    execution_provider: ExecutionProvider
    inputs: str  # "evaluation data", "input example", "probes" or "extreme probes"
    batch_size: Count
    rows: Count
    status: Status
    cause: str = ""
    remedy: str = ""
    outputs: tuple[OutputParity, ...] = ()
    form_differences: tuple[FormDifference, ...] = ()  # source pyfunc against candidate pyfunc
    placement: dict[str, Count] = {}  # execution provider -> nodes that ran there
    worst: tuple[WorstRow, ...] = ()  # the disagreeing rows that differ most
    divergence: Divergence | None = None  # the node where they begin to differ, if it was found

    @model_validator(mode="after")
    def _has_outputs_if_measured(self) -> ParityRow:
        if self.status == "measured" and not self.outputs:
            raise ValueError("measured, but without outputs")
        return self


class ParityReport(Versioned):
    """The comparison of the candidates' answers with the source's.

    It has one row for each combination that was tried.
    """

    source: ModelIdentity
    candidates: tuple[ModelIdentity, ...]
    inputs_digest: str
    rows: tuple[ParityRow, ...]
    probes: ProbeRecord | None = None  # None where none were requested
    seconds: Seconds
    measuring_seconds: Seconds = 0.0  # the part in which the models computed answers
    environment: Environment


class Interval(Evidence):
    """An estimate with its confidence interval; ``confidence`` such as 0.95."""

    estimate: NonNegative
    low: NonNegative
    high: NonNegative
    confidence: Annotated[float, Field(gt=0, lt=1)]

    def __str__(self) -> str:
        return f"{self.estimate:.2f} [{self.low:.2f}, {self.high:.2f}]"


class LatencyFigures(Evidence):
    """The latency of one model at one workload; times are those of one call.

    ``intervals``: by "p50", "p90" and "p99", in ms; empty where there are too few calls for one.
    """

    calls: Count
    p50_ms: NonNegative
    p90_ms: NonNegative
    p99_ms: NonNegative
    throughput_rows_per_second: NonNegative
    histogram_ms: tuple[NonNegative, ...] = ()  # 101 quantiles from 0 to 100 %
    intervals: dict[str, Interval] = {}


class LoadFigures(Evidence):
    """The time and memory that a model takes until its first answer, and its peak memory."""

    load_seconds: Seconds
    first_call_ms: NonNegative
    peak_memory_bytes: Count
    size_bytes: Count


CallPath = Literal["pyfunc", "session"]


class LatencyRow(Evidence):
    """The latency of one candidate against one baseline on one execution provider and workload.

    ``speedup`` is baseline time / candidate time, the ratio of medians from paired blocks: above 1,
    the candidate is faster.  ``p99_speedup`` is that of 99th percentiles, None where there are too
    few calls.  ``path`` tells which part of the candidate was called: its pyfunc, as it is served,
    or the onnxruntime session alone with inputs that are ready.  The baseline is called through its
    pyfunc in both cases.
    """

    candidate: str
    baseline: str  # "source", "champion", or the candidate that others are compared with
    execution_provider: ExecutionProvider
    batch_size: Count
    sequence_length: Count | None = None  # None: as the inputs are
    threads: Count | None = None  # onnxruntime's; None: as the candidate is served
    path: CallPath = "pyfunc"
    status: Status
    cause: str = ""
    candidate_figures: LatencyFigures | None = None
    baseline_figures: LatencyFigures | None = None
    speedup: Interval | None = None
    p99_speedup: Interval | None = None
    rounds: Count = 0


class LoadRow(Evidence):
    """The load figures of one model on one execution provider.

    ``placement``: execution provider -> nodes that it runs, where onnxruntime reports it.
    """

    model: str
    execution_provider: ExecutionProvider | None  # None for the source
    threads: Count | None = None
    figures: LoadFigures
    placement: dict[str, Count] = {}


class OfflineRow(Evidence):
    """MLPerf's offline scenario: all rows are there, and batches follow each other without a pause.

    ``rows_per_second``: the median of a few blocks; ``spread`` holds the lowest and the highest.
    """

    model: str
    execution_provider: ExecutionProvider | None
    batch_size: Count
    status: Status
    cause: str = ""
    rows_per_second: NonNegative = 0.0
    spread: tuple[NonNegative, NonNegative] = (0.0, 0.0)
    p50_ms: NonNegative = 0.0


class ServerRow(Evidence):
    """MLPerf's server scenario: queries of one row arrive at random times (a Poisson process).

    Times count from the arrival, so they include the wait for earlier queries.
    ``answered_per_second`` falls behind ``arrivals_per_second`` where the model cannot keep up; the
    run is then ``cut`` short.
    """

    model: str
    execution_provider: ExecutionProvider | None
    arrivals_per_second: NonNegative
    threads: Count  # threads that answer queries in parallel
    status: Status
    cause: str = ""
    queries: Count = 0
    answered_per_second: NonNegative = 0.0
    p50_ms: NonNegative = 0.0
    p90_ms: NonNegative = 0.0
    p99_ms: NonNegative = 0.0
    cut: bool = False


class ServerCapacity(Evidence):
    """The highest of the tried rates at which the 99th percentile stays within a budget.

    It is 0 where no rate did, and None where the model failed.
    """

    model: str
    execution_provider: ExecutionProvider | None
    p99_budget_ms: NonNegative
    highest_per_second: NonNegative | None


class Surroundings(Evidence):
    """The system load while latency was measured; None for figures that the system does not give.

    ``others_share``: processor time of other processes, as a share of all cores' time.
    ``steal_share``: the share of all cores' time that the hypervisor took.  ``throttled_share``:
    the share of the time in which a cgroup's quota held the process back.  ``waiting_share``: the
    share of the time in which some process waited for a core.  ``source_spread``: the typical
    distance of a round's median of the source from the middle one.
    """

    seconds: Seconds
    load_average: NonNegative | None = None
    others_share: Share | None = None
    steal_share: Share | None = None
    throttled_share: Share | None = None
    waiting_share: Share | None = None
    source_spread: NonNegative | None = None


class LatencyReport(Versioned):
    """The comparison of the candidates' latency with the source's.

    Models are measured alternately, so that ratios hold on a noisy machine.
    """

    source: ModelIdentity
    candidates: tuple[ModelIdentity, ...]
    inputs_digest: str
    rows: tuple[LatencyRow, ...]
    loads: tuple[LoadRow, ...]
    offline: tuple[OfflineRow, ...] = ()
    server: tuple[ServerRow, ...] = ()
    capacities: tuple[ServerCapacity, ...] = ()
    seconds: Seconds
    measuring_seconds: Seconds = 0.0  # the part in the alternating blocks
    environment: Environment
    surroundings: Surroundings | None = None
