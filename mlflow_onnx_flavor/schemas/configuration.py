"""The typed configuration: execution providers, gates, candidates and how to build them.

`Configuration()` holds the defaults; `read_configuration` reads YAML or JSON.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from mlflow_onnx_flavor.schemas.evidence import ExecutionProvider

Fraction = Annotated[float, Field(ge=0, le=1)]
Confidence = Annotated[float, Field(gt=0.5, lt=1)]
Positive = Annotated[float, Field(gt=0, le=1e12)]
NonNegative = Annotated[float, Field(ge=0, le=1e12)]
Count = Annotated[int, Field(ge=1, lt=1 << 31)]


Tolerance = Literal["auto"] | Positive

SourceEnv = Literal["current", "recorded"]


class Section(BaseModel):
    """Base class of the configuration's sections: frozen, without unknown keys, NaN or infinity."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def _provider(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


def _of_harmless_options(provider: ExecutionProvider) -> ExecutionProvider:
    """Raise ValueError, which pydantic reports, for options that no session may have."""
    from mlflow_onnx_flavor.scoring.settings import providers

    providers([provider.model_dump()])
    return provider


RequestedProvider = Annotated[
    ExecutionProvider, BeforeValidator(_provider), AfterValidator(_of_harmless_options)
]


class ParityGate(Section):
    """The parity gate: how far a candidate's answers may differ from the source's."""

    max_disagreement_rate: Fraction = Field(
        0.001, description="share of evaluation rows that may disagree with the source"
    )
    max_probe_disagreement_rate: Fraction = Field(
        0.0, description="the same of probes, each of which stands for a part of the model"
    )
    confidence: Confidence = Field(
        0.95, description="confidence of the upper bound on the true disagreement rate"
    )
    max_disagreement_bound: Fraction | None = Field(
        None,
        description="fail unless that bound is at most this; 0.001 needs 2,995 agreeing rows",
    )
    tolerance: Tolerance | dict[str, Tolerance] = Field(
        "auto",
        description="on |candidate - source| / max(|source|, rms); auto: from the"
        " source's own rounding; or one for each output, such as {probabilities: 0.001}",
    )
    extreme_probes: bool = Field(
        False, description="whether probes of huge, tiny and infinite numbers must agree as well"
    )


class LatencyGate(Section):
    """The latency gate: how fast a candidate must be, and at which batch sizes."""

    min_speedup: NonNegative = Field(
        1.0, description="source time / candidate time must be at least this, at every batch size"
    )
    min_p99_speedup: NonNegative | None = Field(
        None, description="the same of 99th percentiles; null: they are shown, not judged"
    )
    max_regression: Fraction = Field(
        0.05, description="how much slower than the current champion a candidate may be"
    )
    max_p99_regression: Fraction | None = Field(
        None, description="the same of 99th percentiles; null: they are shown, not judged"
    )
    p50_ms: Positive | None = Field(
        None, description="absolute budget for the median of one call, milliseconds"
    )
    p90_ms: Positive | None = Field(None, description="the same for the 90th percentile")
    p99_ms: Positive | None = Field(None, description="the same for the 99th percentile")
    batch_sizes: tuple[Count, ...] = Field(
        (1, 32), min_length=1, description="rows per call at which latency is measured and judged"
    )
    confidence: Confidence = Field(
        0.95, description="confidence of the intervals: a gate holds where all of one does"
    )


class SizeGate(Section):
    """The size gate: how large the registered artifact may be."""

    max_megabytes: Positive | None = Field(
        None, description="limit for the registered artifact, 1 MB = 1,000,000 bytes"
    )


class MemoryGate(Section):
    """The memory gate: how much memory the process that serves may take."""

    max_megabytes: Positive | None = Field(
        None, description="limit for the peak memory of the process that serves, 1 MB = 1e6 bytes"
    )


class Gates(Section):
    """All gates that a candidate must pass."""

    parity: ParityGate = ParityGate()
    latency: LatencyGate = LatencyGate()
    size: SizeGate = SizeGate()
    memory: MemoryGate = MemoryGate()


class ServerScenario(Section):
    """MLPerf's server scenario: at which arrival rates the tail of the latency is measured."""

    rates_per_second: tuple[Positive, ...] = Field(
        (), description="queries of one row a second, arriving at random, to measure the tail at"
    )
    p99_ms: Positive | None = Field(
        None, description="find the highest rate whose 99th percentile stays within this"
    )
    seconds: Positive = Field(3, description="of each rate")
    threads: Count | None = Field(
        None, description="that answer side by side; null: as many as cores are allowed"
    )


class LatencyOptions(Section):
    """Workloads at which latency and throughput are measured."""

    sequence_lengths: tuple[Count, ...] = Field(
        (), description="along the open axis of the inputs, each judged; none: as the inputs are"
    )
    threads: tuple[Count, ...] = Field(
        (), description="of onnxruntime, to show beside what each candidate is served with"
    )
    offline_batch_sizes: tuple[Count, ...] = Field(
        (1, 8, 32, 128), description="at which throughput is shown"
    )
    server: ServerScenario = ServerScenario()


class Promotion(Section):
    """The conditions under which an alias moves to a version, and the names of the aliases."""

    alias: str = Field("champion", min_length=1, description="the alias that serving follows")
    previous_alias: str = Field(
        "previous", min_length=1, description="keeps the version that the alias pointed to before"
    )
    max_evidence_age_hours: Positive | None = Field(
        None, description="refuse to promote a version that was registered longer ago"
    )
    required_providers: tuple[str, ...] = Field(
        (), description="names of execution providers on which a version must have passed"
    )
    approver_tag: str | None = Field(
        None, description="a tag that the version must have, such as who approved it"
    )


class SigningKey(Section):
    """The private key that releases are signed with, and its certificates."""

    private_key: str | None = Field(
        None, description="file of the key that releases are signed with (PEM); null: unsigned"
    )
    certificate: str | None = Field(None, description="of that key, where it has one (PEM)")
    certificate_chain: tuple[str, ...] = Field((), description="of that certificate (PEM)")


class Trust(Section):
    """The signers that are trusted, and whether a signature is required."""

    require_signature: bool = Field(
        False, description="promote only what is signed by somebody who is trusted"
    )
    public_key: str | None = Field(None, description="file of the key to trust (PEM)")
    certificate_chain: tuple[str, ...] = Field(
        (), description="files of certificates that vouch for the signer's (PEM)"
    )
    identity: str | None = Field(None, description="of a signer through sigstore")
    oidc_issuer: str | None = Field(None, description="that vouches for that identity")


class ProbeOptions(Section):
    """Options of the probes: inputs that are generated to look for trouble."""

    enabled: bool = Field(True, description="also compare inputs that are made to look for trouble")
    seed: Annotated[int, Field(ge=0, lt=1 << 63)] = Field(
        0, description="another one makes other probes"
    )


class Budget(Section):
    """The time for measuring latency and for tuning."""

    seconds: Positive = Field(
        300, description="time for measuring latency; less is used where intervals are narrow"
    )
    tuning_seconds: Positive = Field(
        30,
        description="time for the candidate tuned, which is the converted model with the fastest"
        " session settings; for it to be built, name it among the candidates",
    )


class Choice(Section):
    """The rule by which one of the candidates that pass is chosen."""

    indifference: Fraction = Field(
        0.05,
        description="a candidate that is faster by no more than this share counts as equal, and the"
        " one that is named first in candidates is chosen",
    )


class Reuse(Section):
    """The conditions under which the results of an earlier release are reused."""

    enabled: bool = Field(
        True, description="take what an earlier release with the same inputs has finished"
    )
    max_age_hours: Positive = Field(168, description="of what is taken; older steps are done anew")


class ConversionOptions(Section):
    """Options of the conversion: versions of the ONNX file, and limits on time and memory."""

    opset: Annotated[int, Field(ge=7, le=1000)] | None = Field(
        None, description="version of the standard operators, for an older runtime; null: newest"
    )
    ir_version: Annotated[int, Field(ge=3, le=1000)] | None = Field(
        None, description="version of the file format, for an older runtime; null: the exporter's"
    )
    timeout_seconds: Positive = Field(
        600, description="for one export strategy; one that takes longer is stopped"
    )
    max_memory_gigabytes: Positive | None = Field(
        None,
        description="of the process that exports, 1 GB = 1e9 bytes; null: 85 % of this machine's",
    )


class Configuration(Section):
    """The whole configuration of a release."""

    schema_version: Literal[1] = Field(1, description="of these keys")
    execution_providers: tuple[RequestedProvider, ...] | None = Field(
        None,
        description="each must pass every gate; null: CPU must, others that are present are shown;"
        " a name, or {name, options, session_options}",
    )
    gates: Gates = Gates()
    candidates: tuple[str, ...] = Field(
        ("converted", "fused", "int8_dynamic"),
        min_length=1,
        description="variants to build and compare",
    )
    source_env: SourceEnv = Field(
        "current",
        description="where the source model runs: current, or recorded (its own, built with uv)",
    )
    scan_source: bool = Field(
        False,
        description="refuse a source whose pickles would run dangerous code (extra scan)",
    )
    conversion: ConversionOptions = ConversionOptions()
    probes: ProbeOptions = ProbeOptions()
    latency: LatencyOptions = LatencyOptions()
    promotion: Promotion = Promotion()
    signing: SigningKey = SigningKey()
    trust: Trust = Trust()
    choice: Choice = Choice()
    budget: Budget = Budget()
    reuse: Reuse = Reuse()
