"""Summaries as releases leave them: judged by the real `judge`, with figures of a real shape."""

from __future__ import annotations

import functools
import json

import numpy as np
import pytest

from mlflow_onnx_flavor.gates import judge
from mlflow_onnx_flavor.reporting.html import render_html
from mlflow_onnx_flavor.schemas.configuration import Configuration, Gates, LatencyGate
from mlflow_onnx_flavor.schemas.evidence import (
    ERROR_THRESHOLDS,
    Environment,
    ExecutionProvider,
    FormDifference,
    Interval,
    LatencyFigures,
    LatencyReport,
    LatencyRow,
    LoadFigures,
    LoadRow,
    ModelIdentity,
    OfflineRow,
    OutputParity,
    ParityReport,
    ParityRow,
    Surroundings,
)
from mlflow_onnx_flavor.schemas.summary import (
    AttemptSummary,
    ConversionSummary,
    DataSummary,
    RegisteredVersion,
    ReleaseSummary,
    SkippedCandidate,
    SourceSummary,
    StepSummary,
)
from mlflow_onnx_flavor.schemas.verdict import ReleaseEvidence
from tests.builders import CPU, OPENVINO

ROWS = 1437
BATCHES = (1, 32)
BF16_REMEDY = (
    'give OpenVINOExecutionProvider the option load_config={"CPU": {"INFERENCE_PRECISION_HINT":'
    ' "f32"}}'
)
ENVIRONMENT = Environment(
    python="3.11.9",
    platform="Linux-6.1.0-x86_64",
    cpu="Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz",
    cores_allowed=2,
    memory_bytes=25_769_803_776,
    versions={"mlflow": "3.17.2", "onnx": "1.23.2", "onnxruntime": "1.32.0", "numpy": "2.4.6"},
)
SPEED = {"converted": 21.4, "fused": 23.9, "int8_dynamic": 30.2}
ERROR = {"converted": 3e-8, "fused": 4e-8, "int8_dynamic": 2.1e-3}
SIZE = {"source": 1_840_223, "converted": 913_402, "fused": 871_150, "int8_dynamic": 239_871}


def identity(name: str) -> ModelIdentity:
    uri = "models:/digits/3" if name == "source" else f"runs:/4f1c0de5a11ed0c5/{name}"
    return ModelIdentity(name=name, uri=uri, digest=name[0] * 64, size_bytes=SIZE[name])


def scores(size: float, rows: int = ROWS, seed: int = 0) -> OutputParity:
    rng = np.random.default_rng(seed)
    errors = np.abs(rng.standard_normal((rows, 10))) * size * rng.gamma(2, 0.5, (rows, 1))
    per_row = errors.max(axis=1) / 0.3
    return OutputParity(
        name="probabilities",
        kind="scores",
        rows=rows,
        source_dtype="float64",
        candidate_dtype="float32",
        source_shape=(rows, 10),
        candidate_shape=(rows, 10),
        max_absolute_error=errors.max(),
        p999_absolute_error=np.quantile(errors, 0.999),
        max_relative_error=errors.max() * 40,
        p999_relative_error=np.quantile(errors, 0.999) * 12,
        scale=0.3,
        auto_tolerance=1e-4,
        rows_above=tuple(int((per_row > threshold).sum()) for threshold in ERROR_THRESHOLDS),
    )


def labels(disagreements: int, rows: int = ROWS) -> OutputParity:
    return OutputParity(
        name="label",
        kind="labels",
        rows=rows,
        source_dtype="int64",
        candidate_dtype="int64",
        source_shape=(rows,),
        candidate_shape=(rows,),
        label_disagreements=disagreements,
    )


def parity_row(candidate: str, provider: ExecutionProvider, batch: int, **changes) -> ParityRow:
    bf16 = provider == OPENVINO
    size = ERROR[candidate] + (1.1e-3 if bf16 else 0)
    values = {
        "candidate": candidate,
        "execution_provider": provider,
        "inputs": "evaluation data",
        "batch_size": batch,
        "rows": ROWS,
        "status": "measured",
        "outputs": (labels(23 if size > 2e-3 else 0), scores(size, seed=batch)),
        "placement": {CPU.name: 3, provider.name: 41} if bf16 else {provider.name: 44},
        "cause": "OpenVINO computes in bf16 on this processor" if bf16 else "",
        "remedy": BF16_REMEDY if bf16 else "",
    }
    return ParityRow(**values | changes)


def figures_at(p50_ms: float, batch: int) -> LatencyFigures:
    spread = np.random.default_rng(batch).lognormal(0, 0.08, 400) * p50_ms
    p50, p90, p99 = np.quantile(spread, [0.5, 0.9, 0.99])
    return LatencyFigures(
        calls=1200,
        p50_ms=p50,
        p90_ms=p90,
        p99_ms=p99,
        throughput_rows_per_second=batch * 1000 / p50,
        histogram_ms=tuple(np.quantile(spread, np.linspace(0, 1, 101))),
    )


def latency_row(candidate: str, provider: ExecutionProvider, batch: int, **changes) -> LatencyRow:
    source_ms = 1.91 + 0.004 * batch
    speedup = SPEED[candidate] * (0.7 if provider == OPENVINO else 1) * (1 - 0.002 * batch)
    values = {
        "candidate": candidate,
        "baseline": "source",
        "execution_provider": provider,
        "batch_size": batch,
        "status": "measured",
        "candidate_figures": figures_at(source_ms / speedup, batch),
        "baseline_figures": figures_at(source_ms, batch),
        "speedup": Interval(
            estimate=speedup, low=speedup * 0.983, high=speedup * 1.021, confidence=0.95
        ),
        "rounds": 60,
    }
    return LatencyRow(**values | changes)


def load_row(model: str, provider: ExecutionProvider | None) -> LoadRow:
    seconds, memory = (1.62, 318_767_104) if provider is None else (0.021, 61_865_984)
    figures = LoadFigures(
        load_seconds=seconds,
        first_call_ms=seconds * 7,
        peak_memory_bytes=memory,
        size_bytes=SIZE[model],
    )
    return LoadRow(model=model, execution_provider=provider, figures=figures)


def offline_row(model: str, provider: ExecutionProvider | None, batch: int) -> OfflineRow:
    ms = (1.91 + 0.004 * batch) / SPEED.get(model, 1)
    rate = batch * 1000 / ms
    return OfflineRow(
        model=model,
        execution_provider=provider,
        batch_size=batch,
        status="measured",
        rows_per_second=rate,
        spread=(rate * 0.97, rate * 1.01),
        p50_ms=ms,
    )


def evidence(
    candidates=tuple(SPEED), providers=(CPU, OPENVINO), parity=parity_row, latency=latency_row
) -> tuple[ParityReport, LatencyReport]:
    shared = {
        "source": identity("source"),
        "candidates": tuple(identity(name) for name in candidates),
        "inputs_digest": "d" * 64,
        "environment": ENVIRONMENT,
    }
    places = [(name, ep, batch) for name in candidates for ep in providers for batch in BATCHES]
    loads = [load_row("source", None)]
    loads += [load_row(name, ep) for name in candidates for ep in providers]
    return (
        ParityReport(rows=tuple(parity(*place) for place in places), seconds=4.2, **shared),
        LatencyReport(
            rows=tuple(latency(*place) for place in places),
            loads=tuple(loads),
            offline=tuple(
                offline_row(name, ep, batch)
                for name, ep in [
                    ("source", None),
                    *((n, ep) for n in candidates for ep in providers),
                ]
                for batch in (1, 8, 128)
            ),
            seconds=21.7,
            surroundings=Surroundings(
                seconds=20.0, load_average=1.2, others_share=0.02, source_spread=0.01
            ),
            **shared,
        ),
    )


CONVERTED = ConversionSummary(
    attempts=(
        AttemptSummary(
            strategy="float64 inputs",
            why="the signature says double",
            exporter="skl2onnx",
            exporter_version="1.20.0",
            seconds=0.41,
            outcome="failed",
            cause="Type (tensor(double)) of output arg (variable) does not match expected type"
            " (tensor(float))",
            remedy="none needed: the next strategy casts the inputs",
        ),
        AttemptSummary(
            strategy="float32 with cast inputs",
            why="trees are exported in float32",
            exporter="skl2onnx",
            exporter_version="1.20.0",
            seconds=0.73,
            outcome="converted",
        ),
        AttemptSummary(strategy="one tree at a time", why="a last resort", outcome="not tried"),
    ),
    strategy="float32 with cast inputs",
    opset=21,
    seconds=1.14,
)


def release(**changes) -> ReleaseSummary:
    """A release that passed and was promoted; ``changes`` replace fields."""
    parity, latency = changes.pop("evidence", None) or evidence()
    required = changes.pop("required", (CPU,))
    gates = changes.pop("gates", Gates())
    verdict = judge(ReleaseEvidence(parity=parity, latency=latency, required=required), gates)
    registered = RegisteredVersion(
        name="digits-onnx",
        version="4",
        uri="models:/digits-onnx/4",
        digest="f" * 64,
        alias="champion",
        alias_moved_from="3",
        alias_moved_to="4",
    )
    values = {
        "package_version": "0.1.0",
        "finished_at": "2026-11-03T14:02:11+00:00",
        "source": SourceSummary(
            uri="models:/digits@staging",
            resolved_uri="models:/digits/3",
            framework="sklearn",
            digest="a" * 64,
            run_id="0f3b1e7c9a2d4c55",
            signature="inputs: 64 columns of double\noutputs: tensor of int64, shape (-1)",
        ),
        "registered_model": "digits-onnx",
        "configuration": Configuration(gates=gates),
        "data": DataSummary(
            name="digits evaluation rows", path="eval.parquet", rows=ROWS, digest="d" * 64
        ),
        "conversion": CONVERTED,
        "parity": parity,
        "latency": latency,
        "verdict": verdict,
        "registered": registered if verdict.passed else None,
        "promotion": "" if verdict.passed else "the alias stays, since no candidate passes",
        "run_id": "9b1d5c0ffee0f00d",
        "run_url": "http://127.0.0.1:5000/#/experiments/1/runs/9b1d5c0ffee0f00d",
        "steps": tuple(
            StepSummary(name=name, seconds=seconds, run_id=f"{name[:3]}0", reused=name == "convert")
            for name, seconds in [("convert", 0.1), ("optimize", 1.9), ("check_parity", 4.2)]
            + [("check_latency", 21.7), ("register", 0.4), ("promote", 0.1)]
        ),
        "notes": ("OpenVINOExecutionProvider is shown only: nothing asks for it.",),
    }
    return ReleaseSummary(**values | changes)


def failing() -> ReleaseSummary:
    """OpenVINO is required and computes in bf16; one candidate answers in another form."""

    def parity(candidate, provider, batch):
        differences = ()
        if candidate == "fused":
            differences = (FormDifference(what="dtype", source="int64", candidate="float32"),)
        return parity_row(candidate, provider, batch, form_differences=differences)

    return release(
        evidence=evidence(parity=parity),
        required=(CPU, OPENVINO),
        gates=Gates(latency=LatencyGate(min_speedup=21.0, p99_ms=0.1)),
        skipped=(SkippedCandidate(name="float16", reason="TreeEnsemble has no float16 kernel"),),
    )


def crashed(required=(CPU,)) -> ReleaseSummary:
    """A provider's library takes its process down, in parity and in latency."""

    def parity(candidate, provider, batch):
        if provider != OPENVINO:
            return parity_row(candidate, provider, batch)
        cause = "the process died with signal 11 (SIGSEGV) while it opened the model"
        gone = {"status": "crashed", "outputs": (), "placement": {}, "cause": cause}
        remedy = "leave the provider out, or report the crash to its makers"
        return parity_row(candidate, provider, batch, **gone, remedy=remedy)

    def latency(candidate, provider, batch):
        if provider != OPENVINO:
            return latency_row(candidate, provider, batch)
        gone = {"candidate_figures": None, "baseline_figures": None, "speedup": None}
        cause = "the process died with signal 11 (SIGSEGV)"
        return latency_row(candidate, provider, batch, **gone, status="crashed", cause=cause)

    return release(evidence=evidence(parity=parity, latency=latency), required=required)


def not_converted() -> ReleaseSummary:
    """No strategy gave a right model; nothing was measured."""
    attempts = (
        CONVERTED.attempts[0],
        AttemptSummary(
            strategy="float32 with cast inputs",
            exporter="skl2onnx",
            exporter_version="1.20.0",
            seconds=120.0,
            outcome="timed out",
            cause="stopped after 120 s",
            remedy="allow more with conversion.timeout_seconds",
        ),
        AttemptSummary(
            strategy="one tree at a time",
            exporter="skl2onnx",
            exporter_version="1.20.0",
            seconds=2.1,
            outcome="wrong answers",
            cause="1,201 of 1,437 rows differ in label",
        ),
    )
    return ReleaseSummary(
        source=SourceSummary(uri="models:/digits/3", framework="sklearn"),
        registered_model="digits-onnx",
        conversion=ConversionSummary(attempts=attempts, seconds=122.5),
    )


SUMMARIES = {
    "passing": release,
    "failing": failing,
    "crashed, not required": crashed,
    "crashed, required": lambda: crashed(required=(CPU, OPENVINO)),
    "not converted": not_converted,
    "stopped": lambda: ReleaseSummary(
        source=SourceSummary(uri="models:/digits/3"), error="the MLflow server does not answer"
    ),
}


@pytest.fixture
def make_release():
    return release


@functools.cache
def made(name: str) -> ReleaseSummary:
    """The summary of that name, made once: it is frozen."""
    return SUMMARIES[name]()


@functools.cache
def page_of(summary_name: str) -> str:
    """Its HTML report, drawn once: its plots take a second."""
    return render_html(made(summary_name))


@pytest.fixture(params=SUMMARIES)
def summary_name(request) -> str:
    return request.param


@pytest.fixture
def any_summary(summary_name) -> ReleaseSummary:
    return made(summary_name)


@pytest.fixture
def passing() -> ReleaseSummary:
    return made("passing")


@pytest.fixture(name="failing")
def _failing() -> ReleaseSummary:
    return made("failing")


@pytest.fixture(name="crashed")
def _crashed() -> ReleaseSummary:
    return made("crashed, not required")


@pytest.fixture
def crashed_and_required() -> ReleaseSummary:
    return made("crashed, required")


@pytest.fixture(name="not_converted")
def _not_converted() -> ReleaseSummary:
    return made("not converted")


@pytest.fixture
def rendered():
    """The HTML report of a summary by its name in `SUMMARIES`: (name) -> text."""
    return page_of


HOSTILE = "<script>alert(1)</script>\"'&]]>\x1b[31m[red]`*_|\n\u202e\x00$x_{"


@pytest.fixture
def hostile() -> ReleaseSummary:
    """Every name from outside tries to break out of the text that it stands in."""
    outside = {"fused", "digits-onnx", "probabilities", "models:/digits@staging", "sklearn"}
    outside |= {"float32 with cast inputs", "convert", "skl2onnx", BF16_REMEDY}

    def spoilt(value):
        if isinstance(value, dict):
            return {name: spoilt(each) for name, each in value.items()}
        if isinstance(value, list):
            return [spoilt(each) for each in value]
        return HOSTILE if value in outside else value

    values = spoilt(json.loads(release(run_url="javascript:alert(1)").to_json()))
    return ReleaseSummary.model_validate(values | {"notes": [HOSTILE]})
