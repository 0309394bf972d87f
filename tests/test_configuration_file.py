"""The configuration: defaults that print and read back, and errors that name the key."""

from __future__ import annotations

import json

import pytest
import yaml

from mlflow_onnx_flavor.configuration_file import (
    defaults_as_yaml,
    overridden,
    parse_configuration,
    read_configuration,
)
from mlflow_onnx_flavor.errors import ConfigurationError
from mlflow_onnx_flavor.schemas.configuration import Configuration
from mlflow_onnx_flavor.schemas.evidence import ExecutionProvider


def test_printed_defaults_read_back_as_the_defaults(tmp_path):
    path = tmp_path / "release.yaml"
    path.write_text(defaults_as_yaml())
    assert read_configuration(path) == Configuration()


def test_every_printed_key_has_a_comment():
    lines = defaults_as_yaml().splitlines()
    for before, line in zip(lines, lines[1:], strict=False):
        if ": " in line and not line.lstrip().startswith("#"):
            assert before.lstrip().startswith("# "), line
            assert "None" not in before


def test_json_is_read_like_yaml(tmp_path):
    path = tmp_path / "release.json"
    path.write_text(json.dumps({"gates": {"latency": {"min_speedup": 2}}}))
    assert read_configuration(path).gates.latency.min_speedup == 2


def test_providers_are_names_or_names_with_options():
    values = yaml.safe_load(
        "execution_providers: [CPUExecutionProvider, {name: X, options: {a: b}}]"
    )
    first, second = parse_configuration(values).execution_providers
    assert first.name == "CPUExecutionProvider" and second.options == {"a": "b"}


@pytest.mark.parametrize("key", ["min speedup", "", "1e9", "-", "x" * 100_000])
def test_an_unknown_key_may_be_any_text(key):
    with pytest.raises(ConfigurationError, match="unknown key") as raised:
        parse_configuration({"gates": {"latency": {key: 1}}, key: 2})
    assert len(str(raised.value)) < 2000


def test_the_same_provider_under_other_session_options_is_another():
    entry = {"name": "CPUExecutionProvider", "session_options": {"intra_op_num_threads": 1}}
    values = {"execution_providers": ["CPUExecutionProvider", entry]}
    plain, tuned = parse_configuration(values).execution_providers
    assert plain != tuned and (str(plain), str(tuned)) == (
        "CPUExecutionProvider",
        "CPUExecutionProvider [intra_op_num_threads=1]",
    )
    # Evidence without them is what it was.
    assert plain.model_dump() == {"name": "CPUExecutionProvider", "options": {}}
    assert ExecutionProvider.model_validate_json(tuned.model_dump_json()) == tuned


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"gate": {}}, "unknown key 'gate'; did you mean 'gates'?"),
        (
            {"gates": {"parity": {"tolerence": 1}}},
            "unknown key 'gates.parity.tolerence'; did you mean 'tolerance'?",
        ),
        ({"gates": {"latency": {"batch_sizes": [0]}}}, "gates.latency.batch_sizes.0: .*, got 0"),
        ({"gates": {"parity": {"confidence": 2}}}, "gates.parity.confidence: .*, got 2"),
        ([1], "must be a mapping of keys, not list"),
    ],
)
def test_a_wrong_key_is_named_with_what_it_got(values, sentence):
    with pytest.raises(ConfigurationError, match=sentence.replace("?", r"\?")):
        parse_configuration(values)


def test_a_missing_or_broken_file_is_one_sentence(tmp_path):
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_configuration(tmp_path / "none.yaml")
    broken = tmp_path / "broken.yaml"
    broken.write_text("a: [1")
    with pytest.raises(ConfigurationError, match="broken.yaml is not valid"):
        read_configuration(broken)


def test_the_command_line_overrides_the_file():
    changed = overridden(
        Configuration(),
        execution_providers=["CPUExecutionProvider", '{"name": "X", "options": {"a": "b"}}'],
        alias="live",
        batch_sizes=[4],
    )
    assert [each.name for each in changed.execution_providers] == ["CPUExecutionProvider", "X"]
    assert changed.promotion.alias == "live" and changed.gates.latency.batch_sizes == (4,)
    assert overridden(Configuration()) == Configuration()
