"""Causes are named where they are known, and not where something else explains the difference."""

from __future__ import annotations

import pytest

from mlflow_onnx_flavor.parity.known_causes import cause_and_remedy, remedy_for, share_that_differs
from mlflow_onnx_flavor.schemas.evidence import ExecutionProvider, OutputParity
from tests.builders import CPU, IN_FLOAT32, OPENVINO

HINTED = ExecutionProvider(name="OpenVINOExecutionProvider", options={"load_config": IN_FLOAT32})


def output(above=10, kind="scores", candidate_shape=(10,)):
    """Ten rows, of which ``above`` are beyond every threshold."""
    return OutputParity(
        name="y",
        kind=kind,
        rows=10,
        source_dtype="float32",
        candidate_dtype="float32",
        source_shape=(10,),
        candidate_shape=candidate_shape,
        max_absolute_error=1e-3,
        auto_tolerance=1e-4,
        label_disagreements=above if kind == "labels" else 0,
        rows_above=(above,) * 141,
    )


def test_reduced_precision_of_openvino_comes_with_the_option_that_cures_it():
    cause, remedy = cause_and_remedy(OPENVINO, (output(),), share_on_cpu=0.0)
    assert cause.startswith("OpenVINO computes in bf16")
    assert f"load_config: '{IN_FLOAT32}'" in remedy


def test_without_a_measurement_on_the_cpu_the_cause_is_only_likely():
    cause, remedy = cause_and_remedy(OPENVINO, (output(),), share_on_cpu=None)
    assert cause.startswith("OpenVINO may compute in bf16") and IN_FLOAT32 in remedy


def test_a_candidate_that_is_as_wrong_on_the_cpu_is_not_blamed_on_the_provider():
    cause, remedy = cause_and_remedy(OPENVINO, (output(),), share_on_cpu=1.0)
    assert "differs on CPUExecutionProvider as well" in cause and remedy == ""


def test_few_flips_on_the_cpu_do_not_hide_reduced_precision():
    assert "bf16" in cause_and_remedy(OPENVINO, (output(),), share_on_cpu=0.1)[0]


@pytest.mark.parametrize(
    ("provider", "seen"),
    [
        (HINTED, output()),
        (CPU, output()),
        (ExecutionProvider(name="CUDAExecutionProvider"), output()),
        (OPENVINO, output(above=0)),
        (OPENVINO, output(kind="labels")),  # rounding moves scores first
        (OPENVINO, output(candidate_shape=(10, 1))),
    ],
)
def test_nothing_is_said_where_precision_does_not_explain_it(provider, seen):
    assert cause_and_remedy(provider, (seen,), share_on_cpu=0.0) == ("", "")


def test_the_output_that_differs_most_counts():
    assert share_that_differs((output(0), output(3), output(1, "labels"))) == 0.3
    assert share_that_differs(()) == 0.0


@pytest.mark.parametrize("status", ["failed", "crashed", "timed out"])
def test_every_row_that_ends_early_has_a_remedy(status):
    assert "leave OpenVINOExecutionProvider out" in remedy_for(OPENVINO, status)
    assert remedy_for(CPU, status) and "leave" not in remedy_for(CPU, status)
