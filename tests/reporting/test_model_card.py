"""The description and the tags of a registered version."""

from __future__ import annotations

import re

from mlflow_onnx_flavor.reporting.model_card import LONGEST_TAG, describe_version, tags


def test_the_description_says_source_conversion_parity_speed_gates_and_evidence(passing):
    text = describe_version(passing)
    for expected in (
        "ONNX release of `models:/digits/3`",
        "- **Conversion:** float32 with cast inputs, opset 21",
        "- **Candidate:** fused on CPUExecutionProvider",
        "worst error 4.5e-07 in probabilities over 1,437 rows",
        "- **Batch 32:** 22.37 [21.99, 22.84] times as fast as the source",
        "- **Gates:** 4 of 4 hold",
        "[run `9b1d5c0ffee0f00d`](http://127.0.0.1:5000/#/experiments/1/runs/9b1d5c0ffee0f00d)",
    ):
        assert expected in text


def test_a_doubt_of_the_conversion_is_for_whoever_reads_the_version(passing):
    made = [each.model_copy(update={"cause": "ties"}) for each in passing.conversion.attempts]
    conversion = passing.conversion.model_copy(update={"attempts": tuple(made)})
    described = describe_version(passing.model_copy(update={"conversion": conversion}))
    assert described.count("- **Doubtful:** ties") == 1
    assert "Doubtful" not in describe_version(passing)


def test_hostile_names_stay_text_in_markdown(hostile):
    text = describe_version(hostile)
    # Outside of code spans nothing of Markdown or HTML is left as it came.
    outside = re.sub(r"`[^`]*`", "", text)
    assert "<script>" not in outside.replace(r"\<script\>", "")
    assert "javascript:" not in text
    # A line end in a name starts no line of its own.
    assert all(line.startswith(("- **", "ONNX release of")) for line in text.split("\n") if line)


def test_tags_are_short_and_prefixed(passing, hostile):
    found = tags(passing)
    assert found["onnx.candidate"] == "fused" and found["onnx.framework"] == "sklearn"
    assert found["onnx.speedup.batch_1"] == "23.85"
    assert found["onnx.source"] == "models:/digits/3"
    for name, value in (found | tags(hostile)).items():
        assert name.startswith("onnx.")
        assert 0 < len(value) <= LONGEST_TAG and "\n" not in value


def test_a_release_that_stopped_has_a_description_and_tags_too(any_summary):
    assert describe_version(any_summary).startswith("ONNX release of")
    assert tags(any_summary)["onnx.verdict"] in ("passed", "failed", "stopped")
