"""JUnit XML: valid, its counts right, and red exactly where the release did not pass."""

from __future__ import annotations

from xml.etree import ElementTree

from mlflow_onnx_flavor.reporting import headline
from mlflow_onnx_flavor.reporting.junit import render_junit


def parsed(summary) -> ElementTree.Element:
    return ElementTree.fromstring(render_junit(summary).encode("utf-8"))


def counts(element: ElementTree.Element) -> tuple[int, int, int]:
    return tuple(int(element.get(name)) for name in ("tests", "failures", "errors"))


def test_the_counts_are_those_of_the_cases(any_summary):
    root = parsed(any_summary)
    for element in (root, *root.iter("testsuite")):
        found = [len(list(element.iter(tag))) for tag in ("testcase", "failure", "error")]
        assert list(counts(element)) == found
    for suite in root:
        assert int(suite.get("skipped")) == len(list(suite.iter("skipped")))


def test_it_is_green_exactly_where_the_release_passed(any_summary):
    _, failures, errors = counts(parsed(any_summary))
    assert (failures + errors == 0) == (headline.outcome(any_summary) == "passed")


def test_a_passing_release_skips_the_candidates_that_were_not_chosen(passing):
    root = parsed(passing)
    assert counts(root)[1:] == (0, 0)
    skipped = root.find("testsuite[@name='int8_dynamic: parity']/testcase/skipped")
    assert skipped.get("message").startswith("fused was chosen; here: 1,437 of 1,437 rows differ")


def test_a_suite_per_candidate_and_gate_a_case_per_provider_and_batch_size(passing):
    suite = parsed(passing).find("testsuite[@name='fused: latency']")
    assert [case.get("name") for case in suite] == [
        "CPUExecutionProvider, batch 1",
        "CPUExecutionProvider, batch 32",
    ]
    assert "times as fast as the source" in suite.find("testcase/system-out").text


def test_a_failed_gate_is_a_failure_with_its_reason(failing):
    failure = parsed(failing).find("testsuite[@name='converted: parity']/testcase/failure")
    assert "rows differ in probabilities" in failure.get("message")
    assert "INFERENCE_PRECISION_HINT" in failure.text


def test_a_required_provider_that_crashed_is_an_error(crashed_and_required):
    root = parsed(crashed_and_required)
    error = root.find("testsuite[@name='fused: parity']/testcase/error")
    assert "SIGSEGV" in error.get("message")


def test_a_provider_that_nobody_asked_for_may_crash(crashed):
    root = parsed(crashed)
    assert counts(root)[1:] == (0, 0)
    skipped = root.find("testsuite[@name='shown only']/testcase/skipped")
    assert "crashed" in skipped.get("message")


def test_every_strategy_that_failed_counts_when_none_is_left(not_converted):
    suite = parsed(not_converted).find("testsuite[@name='conversion']")
    assert counts(suite) == (3, 3, 0)


def test_a_strategy_that_failed_before_another_worked_is_skipped(passing):
    suite = parsed(passing).find("testsuite[@name='conversion']")
    assert counts(suite) == (3, 0, 0) and suite.get("skipped") == "2"


def test_a_candidate_that_could_not_be_built_is_skipped(failing):
    skipped = parsed(failing).find(
        "testsuite[@name='candidates']/testcase[@name='float16']/skipped"
    )
    assert "no float16 kernel" in skipped.get("message")


def test_hostile_names_stay_text(hostile):
    root = parsed(hostile)
    assert "<script>alert(1)</script>" in root.get("name")
    assert root.find(".//script") is None


def test_the_declaration_says_how_it_is_to_be_written(passing):
    assert render_junit(passing).startswith('<?xml version="1.0" encoding="utf-8"?>')
