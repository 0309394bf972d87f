"""The first sentence, the worst error and the advice say what happened."""

from __future__ import annotations

from mlflow_onnx_flavor.reporting import headline
from mlflow_onnx_flavor.schemas.summary import ReleaseSummary, SourceSummary


def test_a_passed_release_names_candidate_provider_version_and_alias(passing):
    assert headline.sentence(passing) == (
        "Passed: candidate fused on CPUExecutionProvider is registered as digits-onnx version 4"
        " under alias champion."
    )
    assert headline.alias_change(passing) == "champion moved from version 3 to version 4"


def test_a_dry_run_says_that_nothing_was_registered(make_release):
    dry = make_release(registered=None, promotion="dry run: no alias was moved")
    assert headline.sentence(dry).endswith("holds every gate; nothing was registered.")
    assert headline.alias_change(dry) == "dry run: no alias was moved"


def test_a_failed_release_says_that_the_registry_stays(failing):
    assert headline.outcome(failing) == "failed"
    assert "none of the 3 candidates passes every gate" in headline.sentence(failing)
    assert "registry stays as it was" in headline.sentence(failing)


def test_a_conversion_that_failed_says_what_to_try(not_converted):
    assert "none of the 3 export strategies" in headline.sentence(not_converted)
    steps = headline.next_steps(not_converted)
    assert "For strategy `float32 with cast inputs`: allow more with" in steps[1]
    assert any("mlflow-onnx explain models:/digits/3" in step for step in steps)


def test_an_error_after_a_passing_verdict_is_not_a_pass(make_release):
    stopped = make_release(registered=None, error="the registry does not answer")
    assert headline.outcome(stopped) == "stopped"
    assert headline.sentence(stopped) == "Stopped: the registry does not answer."


def test_a_release_without_a_verdict_is_not_a_pass():
    assert headline.outcome(ReleaseSummary(source=SourceSummary(uri="m"))) == "stopped"


def test_the_worst_error_is_of_the_chosen_candidate_on_the_providers_that_count(passing):
    worst = headline.worst_error(passing)
    of_fused_on_cpu = [
        output.max_absolute_error
        for row in passing.parity.rows
        if row.candidate == "fused" and str(row.execution_provider) == "CPUExecutionProvider"
        for output in row.outputs
    ]
    assert worst.absolute_error == max(of_fused_on_cpu)
    assert worst.label_disagreements == 0 and worst.rows == 1437


def test_the_worst_error_is_not_that_of_probes(passing):
    """They are judged with the rest, but stand for nothing that the model is asked."""
    rows = passing.parity.rows
    scores = next(each for each in rows[0].outputs if each.kind == "scores")
    far = scores.model_copy(update={"max_absolute_error": 7.0})
    probes = [row.model_copy(update={"inputs": "probes", "outputs": (far,)}) for row in rows]
    parity = passing.parity.model_copy(update={"rows": (*rows, *probes)})
    probed = passing.model_copy(update={"parity": parity})
    assert headline.worst_error(probed) == headline.worst_error(passing)


def test_speedups_are_those_of_the_chosen_candidate_on_its_provider(passing):
    assert [batch for batch, _ in headline.speedups(passing)] == [1, 32]
    assert headline.speedups(passing)[0][1].estimate > 20


def test_speedups_are_of_the_model_as_it_is_served(passing):
    """The session alone is measured beside it, and faster."""
    rows = passing.latency.rows
    alone = [row.model_copy(update={"path": "session"}) for row in rows]
    latency = passing.latency.model_copy(update={"rows": (*rows, *alone)})
    both = passing.model_copy(update={"latency": latency})
    assert headline.speedups(both) == headline.speedups(passing)


def test_a_remedy_is_given_once_however_often_it_was_needed(failing):
    steps = headline.next_steps(failing)
    assert sum("INFERENCE_PRECISION_HINT" in step for step in steps) == 1
    assert len(set(steps)) == len(steps)


def test_every_other_candidate_says_why_it_was_not_chosen(passing):
    assert headline.judged_candidates(passing)[0] == "fused"
    assert headline.why_not_chosen(passing, "converted") == "passes every gate, slower than fused"
    assert "rows differ in probabilities" in headline.why_not_chosen(passing, "int8_dynamic")


def test_the_command_to_reproduce_is_safe_to_paste(make_release):
    summary = make_release(registered=None, registered_model="a; rm -rf b")
    assert headline.reproduce_command(summary) == (
        "mlflow-onnx release models:/digits/3 --registered-model 'a; rm -rf b'"
        " --data eval.parquet --config release.yaml"
    )
