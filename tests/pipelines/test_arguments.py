"""Parameters of `mlflow run`, which are all texts."""

from __future__ import annotations

import pytest

from pipelines.arguments import several

OPENVINO = '{"name": "OpenVINOExecutionProvider", "options": {"precision": "FP32", "n": "a,b"}}'


@pytest.mark.parametrize(
    ("text", "entries"),
    [
        ("", []),
        ("CPUExecutionProvider", ["CPUExecutionProvider"]),
        ("a, b,,c,", ["a", "b", "c"]),
        (OPENVINO, [OPENVINO]),
        (f"a,{OPENVINO}, b", ["a", OPENVINO, "b"]),
        (f"{OPENVINO},{OPENVINO}", [OPENVINO, OPENVINO]),
        ('a,{"name": "b, c', ["a", '{"name": "b, c']),
    ],
)
def test_entries_are_set_apart_by_commas_that_are_not_of_their_json(text, entries):
    assert several(text) == entries
