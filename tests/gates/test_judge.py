"""`judge`: what passes, what fails and why, from evidence alone."""

from __future__ import annotations

import pytest

from mlflow_onnx_flavor.errors import ConfigurationError
from mlflow_onnx_flavor.gates import is_undecided, judge, judge_latency, rows_needed, upper_bound
from mlflow_onnx_flavor.schemas.configuration import (
    Configuration,
    Gates,
    LatencyGate,
    MemoryGate,
    ParityGate,
    SizeGate,
)
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
    OutputParity,
    ParityReport,
    ParityRow,
)
from mlflow_onnx_flavor.schemas.verdict import Finding, ReleaseEvidence
from tests.builders import CPU

HERE = Environment(
    python="3.11", platform="Linux", cpu="x", cores_allowed=2, memory_bytes=2**34, versions={}
)
SOURCE = ModelIdentity(name="source", uri="models:/m/1", digest="sha256:0")


def scores(error: float = 1e-7, rows: int = 100, wrong_rows: int = 0, **changes) -> OutputParity:
    """Scores whose rows are off by ``error``, but ``wrong_rows`` of them by 0.5."""
    above = tuple(
        rows if error > each else wrong_rows if each < 0.5 else 0 for each in ERROR_THRESHOLDS
    )
    values = {
        "name": "probabilities",
        "kind": "scores",
        "rows": rows,
        "source_dtype": "float64",
        "candidate_dtype": "float32",
        "source_shape": (rows, 3),
        "candidate_shape": (rows, 3),
        "max_absolute_error": 0.5 if wrong_rows else error,
        "auto_tolerance": 1e-4,
        "rows_above": above,
    }
    return OutputParity(**(values | changes))


def parity_row(name="converted", *outputs, **changes) -> ParityRow:
    values = {
        "candidate": name,
        "execution_provider": CPU,
        "inputs": "evaluation data",
        "batch_size": 32,
        "rows": 100,
        "status": "measured",
        "outputs": outputs or (scores(),),
    }
    return ParityRow(**(values | changes))


def latency_row(name="converted", speedup=2.0, width=0.1, batch_size=1, **changes) -> LatencyRow:
    figures = LatencyFigures(
        calls=10, p50_ms=1, p90_ms=2, p99_ms=3, throughput_rows_per_second=1000
    )
    values = {
        "candidate": name,
        "baseline": "source",
        "execution_provider": CPU,
        "batch_size": batch_size,
        "status": "measured",
        "candidate_figures": figures,
        "baseline_figures": figures,
        "speedup": Interval(
            estimate=speedup, low=speedup - width, high=speedup + width, confidence=0.95
        ),
    }
    return LatencyRow(**(values | changes))


def evidence(parity=None, latency=None, names=("converted",), size_bytes=0) -> ReleaseEvidence:
    candidates = tuple(
        ModelIdentity(name=name, uri=f"models:/m-{name}", digest="sha256:1", size_bytes=size_bytes)
        for name in names
    )
    common = {"source": SOURCE, "candidates": candidates, "inputs_digest": "d", "seconds": 1.0}
    return ReleaseEvidence(
        parity=ParityReport(
            **common, environment=HERE, rows=tuple(parity or [parity_row(name) for name in names])
        ),
        latency=LatencyReport(
            **common,
            environment=HERE,
            loads=(),
            rows=tuple(
                latency
                or [latency_row(name, batch_size=size) for name in names for size in (1, 32)]
            ),
        ),
        required=(CPU,),
    )


def test_a_faithful_and_faster_candidate_passes():
    verdict = judge(evidence(), Gates())
    assert verdict.passed and verdict.chosen == "converted" and verdict.serve_on == CPU


def test_the_fastest_that_passes_is_chosen():
    names = ("converted", "fused", "int8_dynamic")
    latency = [
        latency_row(name, speed, batch_size=size)
        for name, speed in zip(names, (2.0, 3.0, 9.0), strict=True)
        for size in (1, 32)
    ]
    parity = [
        parity_row("converted"),
        parity_row("fused"),
        parity_row("int8_dynamic", scores(0.01)),
    ]
    verdict = judge(evidence(parity, latency, names), Gates())
    assert verdict.chosen == "fused"
    assert [finding.passed for finding in verdict.of("int8_dynamic")] == [False, True, True]


@pytest.mark.parametrize(
    ("fused", "chosen"), [(2.09, "converted"), (2.11, "fused"), (1.9, "converted")]
)
def test_of_candidates_that_are_equally_fast_the_simpler_is_chosen(fused, chosen):
    names = ("converted", "fused")
    latency = [
        latency_row(name, speed, batch_size=size)
        for name, speed in zip(names, (2.0, fused), strict=True)
        for size in (1, 32)
    ]
    measured = evidence(latency=latency, names=names)
    configured = measured.model_copy(update={"configuration": Configuration()})
    assert judge(configured, Gates()).chosen == chosen


def test_evidence_from_before_there_was_a_choice_keeps_its_verdict():
    names = ("converted", "fused")
    latency = [
        latency_row(name, speed, batch_size=size)
        for name, speed in zip(names, (2.0, 2.01), strict=True)
        for size in (1, 32)
    ]
    measured = evidence(latency=latency, names=names)
    document = measured.model_copy(update={"configuration": Configuration()}).model_dump(
        mode="json"
    )
    assert judge(ReleaseEvidence.model_validate(document), Gates()).chosen == "converted"
    del document["configuration"]["choice"]
    assert judge(ReleaseEvidence.model_validate(document), Gates()).chosen == "fused"


def test_the_same_provider_under_other_session_options_is_judged_by_itself():
    single = ExecutionProvider(name=CPU.name, session_options={"intra_op_num_threads": 1})
    measured = evidence(
        [parity_row(), parity_row(outputs=(scores(0.01),), execution_provider=single)],
        [
            latency_row(batch_size=size, execution_provider=provider)
            for size in (1, 32)
            for provider in (CPU, single)
        ],
    )
    assert judge(measured, Gates()).passed
    verdict = judge(measured.model_copy(update={"required": (CPU, single)}), Gates())
    assert not verdict.passed
    failed = {finding.execution_provider for finding in verdict.failures()}
    assert failed == {"CPUExecutionProvider [intra_op_num_threads=1]"}


def test_too_many_disagreeing_rows_fail_parity():
    gates = Gates(parity=ParityGate(max_disagreement_rate=0.01))
    assert judge(evidence([parity_row("converted", scores(wrong_rows=1))]), gates).passed
    verdict = judge(evidence([parity_row("converted", scores(wrong_rows=2))]), gates)
    assert not verdict.passed
    assert "2 of 100 rows differ in probabilities" in verdict.failures()[0].measured


def test_a_stricter_tolerance_needs_no_new_measurement():
    measured = evidence([parity_row("converted", scores(error=3e-6))])
    assert judge(measured, Gates()).passed
    assert not judge(measured, Gates(parity=ParityGate(tolerance=1e-6))).passed
    assert judge(measured, Gates(parity=ParityGate(tolerance=1e-5))).passed


def test_each_output_may_have_a_tolerance_of_its_own():
    loose, strict = scores(error=1e-2, name="embedding"), scores(error=1e-6)
    seen = scores(error=1e-2, name="pyfunc 'embedding'")
    measured = evidence([parity_row("converted", loose, strict, seen)])
    assert not judge(measured, Gates()).passed
    by_name = Gates(parity=ParityGate(tolerance={"embedding": 0.1}))
    assert judge(measured, by_name).passed
    stricter = Gates(parity=ParityGate(tolerance={"embedding": 0.1, "probabilities": 1e-7}))
    (failed,) = judge(measured, stricter).failures()
    assert "differ in probabilities" in failed.measured


def test_a_tolerance_on_an_output_that_is_not_there_names_those_that_are():
    gates = Gates(parity=ParityGate(tolerance={"probabilites": 0.1}))
    with pytest.raises(ConfigurationError, match="'probabilites', but the models have probab"):
        judge(evidence([parity_row()]), gates)


def test_label_disagreements_ignore_the_tolerance():
    labels = scores(kind="labels", name="label", label_disagreements=1, rows_above=())
    gates = Gates(parity=ParityGate(tolerance=10.0))
    assert not judge(evidence([parity_row("converted", labels)]), gates).passed


def test_another_shape_is_a_disagreement_of_every_row():
    verdict = judge(evidence([parity_row("converted", scores(candidate_shape=(300,)))]), Gates())
    assert "shape (300,) where the source gives (100, 3)" in verdict.failures()[0].reason


@pytest.mark.parametrize("status", ["failed", "crashed", "timed out", "fell back", "skipped"])
def test_what_was_not_measured_does_not_pass(status):
    row = parity_row("converted", status=status, cause="it broke", remedy="mend it", outputs=())
    verdict = judge(evidence([row]), Gates())
    assert verdict.failures()[0].measured == status
    assert verdict.failures()[0].reason == "it broke; mend it"


def test_a_required_provider_without_evidence_fails():
    other = ExecutionProvider(name="OpenVINOExecutionProvider")
    measured = evidence().model_copy(update={"required": (CPU, other)})
    failed = judge(measured, Gates()).failures()
    assert {each.execution_provider for each in failed} == {"OpenVINOExecutionProvider"}


def test_another_form_fails_though_values_agree():
    difference = FormDifference(what="dtype", source="int64", candidate="float32")
    verdict = judge(evidence([parity_row("converted", form_differences=(difference,))]), Gates())
    assert [each.gate for each in verdict.failures()] == ["form"]


def test_a_bound_that_the_rows_cannot_show_says_how_many_would():
    gates = Gates(parity=ParityGate(max_disagreement_bound=0.001))
    verdict = judge(evidence(), gates)
    assert "2,995 rows" in verdict.failures()[0].reason
    loose = Gates(parity=ParityGate(max_disagreement_bound=0.05))
    assert judge(evidence(), loose).passed


def test_a_speedup_whose_interval_spans_the_threshold_is_not_enough_evidence():
    latency = [latency_row(speedup=1.02, width=0.05, batch_size=size) for size in (1, 32)]
    verdict = judge(evidence(latency=latency), Gates())
    assert all("not enough evidence" in each.reason for each in verdict.failures())
    assert all("budget seconds would tell" in each.reason for each in verdict.failures())


def test_a_speedup_on_its_threshold_is_told_that_no_budget_would_do():
    latency = [latency_row(speedup=1.001, width=0.05, batch_size=size) for size in (1, 32)]
    verdict = judge(evidence(latency=latency), Gates())
    assert all("no budget would tell" in each.reason for each in verdict.failures())


def test_a_slower_candidate_fails_latency():
    latency = [latency_row(speedup=0.5, batch_size=size) for size in (1, 32)]
    verdict = judge(evidence(latency=latency), Gates())
    assert [each.gate for each in verdict.failures()] == ["latency", "latency"]


def test_every_batch_size_of_the_gate_must_be_measured():
    verdict = judge(evidence(latency=[latency_row(batch_size=1)]), Gates())
    assert [(each.batch_size, each.measured) for each in verdict.failures()] == [
        (32, "not measured")
    ]


def test_a_regression_against_the_champion_fails():
    rows = [latency_row(batch_size=size) for size in (1, 32)]
    slower = [
        latency_row(speedup=0.8, width=0.01, batch_size=size, baseline="champion")
        for size in (1, 32)
    ]
    verdict = judge(evidence(latency=rows + slower), Gates())
    assert [each.gate for each in verdict.failures()] == ["regression", "regression"]
    assert judge(
        evidence(latency=rows + slower), Gates(latency=LatencyGate(max_regression=0.3))
    ).passed


def test_absolute_budgets_are_gates_too():
    assert not judge(evidence(), Gates(latency=LatencyGate(p99_ms=2.0))).passed
    assert judge(evidence(), Gates(latency=LatencyGate(p99_ms=3.0))).passed
    big = evidence(size_bytes=3_000_000)
    assert not judge(big, Gates(size=SizeGate(max_megabytes=2.9))).passed
    assert judge(big, Gates(size=SizeGate(max_megabytes=3.0))).passed


def test_evidence_survives_json():
    measured = evidence()
    assert ReleaseEvidence.model_validate_json(measured.model_dump_json()) == measured


def test_bounds_match_the_closed_form_for_no_disagreement():
    # With k = 0 Clopper and Pearson's bound is 1 - (1 - confidence) ** (1 / n).
    assert upper_bound(0, 100, 0.95) == pytest.approx(1 - 0.05**0.01)
    assert rows_needed(0.001, 0.95) == 2995
    assert upper_bound(0, 2995, 0.95) <= 0.001 < upper_bound(0, 2994, 0.95)
    assert upper_bound(5, 5, 0.95) == 1.0 and upper_bound(0, 0, 0.95) == 1.0


def served(speedup=2.0, **changes) -> LatencyReport:
    """A report of one row that stands alone, as it is served."""
    return evidence(latency=[latency_row(speedup=speedup, **changes)]).latency


ONE_TO_TWO = Interval(estimate=1.5, low=1, high=2, confidence=0.95)


def budgeted(p99_ms: float, low: float, high: float) -> LatencyFigures:
    return LatencyFigures(
        calls=500,
        p50_ms=1,
        p90_ms=2,
        p99_ms=p99_ms,
        throughput_rows_per_second=1000,
        intervals={"p99": Interval(estimate=p99_ms, low=low, high=high, confidence=0.95)},
    )


def only(report: LatencyReport, gate: LatencyGate, name: str) -> Finding:
    (found,) = (each for each in judge_latency(report, gate) if each.gate == name)
    return found


def test_a_budget_holds_where_the_whole_interval_is_within_it():
    gate = LatencyGate(p99_ms=4, batch_sizes=[1])
    assert only(served(candidate_figures=budgeted(3, 2.8, 3.5)), gate, "p99").passed
    spans = only(served(candidate_figures=budgeted(3.8, 3.5, 4.2)), gate, "p99")
    assert not spans.passed and spans.reason.startswith("not enough evidence")
    over = only(served(candidate_figures=budgeted(5, 4.5, 5.5)), gate, "p99")
    assert not over.passed and not over.reason


def test_a_tail_that_is_not_known_is_not_enough_evidence():
    known = budgeted(1, 0.9, 1.1).model_copy(update={"intervals": {"p50": ONE_TO_TWO}})
    found = only(served(candidate_figures=known), LatencyGate(p99_ms=4, batch_sizes=[1]), "p99")
    assert not found.passed and "made by too few rounds" in found.reason


def test_evidence_without_intervals_is_judged_by_its_percentiles():
    gate = LatencyGate(p50_ms=1, p90_ms=1.9, batch_sizes=[1])
    assert only(served(), gate, "p50").passed and not only(served(), gate, "p90").passed


def test_the_tail_may_be_held_against_the_source_and_the_champion():
    gate = LatencyGate(min_p99_speedup=1.5, max_p99_regression=0.1, batch_sizes=[1])
    tail = Interval(estimate=1.6, low=1.4, high=1.8, confidence=0.95)
    rows = [
        latency_row(p99_speedup=tail),
        latency_row(baseline="champion", p99_speedup=None, rounds=5),
    ]
    report = evidence(latency=rows).latency
    against_source = only(report, gate, "p99 latency")
    assert not against_source.passed and "spans the threshold" in against_source.reason
    against_champion = only(report, gate, "p99 regression")
    assert not against_champion.passed and "5 rounds are too few" in against_champion.reason


def test_only_what_is_served_is_judged():
    rows = [latency_row(batch_size=size) for size in (1, 32)]
    rows += [
        latency_row(speedup=0.1, width=0.01, path="session"),
        latency_row(speedup=0.1, threads=1),
    ]
    rows += [latency_row(speedup=0.5, baseline="converted")]
    assert judge(evidence(latency=rows), Gates()).passed


def test_every_sequence_length_is_judged():
    rows = [
        latency_row(speedup=speed, batch_size=size, sequence_length=length)
        for length, speed in ((16, 2.0), (128, 0.8))
        for size in (1, 32)
    ]
    failures = judge(evidence(latency=rows), Gates()).failures()
    assert [(each.batch_size, each.sequence_length) for each in failures] == [(1, 128), (32, 128)]


@pytest.mark.parametrize(("peak", "passed"), [(90e6, True), (110e6, False), (None, False)])
def test_peak_memory_has_a_limit(peak, passed):
    measured = evidence()
    if peak is not None:
        figures = LoadFigures(
            load_seconds=1, first_call_ms=1, peak_memory_bytes=int(peak), size_bytes=1
        )
        load = LoadRow(model="converted", execution_provider=CPU, figures=figures)
        latency = measured.latency.model_copy(update={"loads": (load,)})
        measured = measured.model_copy(update={"latency": latency})
    verdict = judge(measured, Gates(memory=MemoryGate(max_megabytes=100)))
    assert verdict.passed is passed
    if peak is None:
        assert verdict.failures()[0].measured == "not measured"


def test_evidence_is_undecided_where_a_gate_wants_more_of_it():
    report = served(speedup=2.0, width=0.1)
    assert not is_undecided(report, LatencyGate(min_speedup=1.0, batch_sizes=[1]))
    assert not is_undecided(report, LatencyGate(min_speedup=3.0, batch_sizes=[1]))  # it is slower
    assert is_undecided(report, LatencyGate(min_speedup=2.05, batch_sizes=[1]))
