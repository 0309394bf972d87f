"""Steps of one process share what they found; a step alone finds it from the id of a run."""

from __future__ import annotations

import pytest

from mlflow_onnx_flavor.pipeline import context as module
from mlflow_onnx_flavor.pipeline.context import ReleaseContext
from mlflow_onnx_flavor.pipeline.log_source import log_source, prepare_source
from mlflow_onnx_flavor.schemas.configuration import Configuration

pytestmark = pytest.mark.process

ALONE = Configuration()


@pytest.fixture(scope="module")
def prepared(store, classifier_folder, frame):
    return prepare_source(str(classifier_folder), frame)


@pytest.fixture(scope="module")
def logged(prepared):
    return log_source(prepared, ALONE)


@pytest.fixture
def read(monkeypatch):
    """The names of the records that are read from the server."""
    names = []

    def reading(run_id, name, kind):
        names.append(name)
        return read_record(run_id, name, kind)

    read_record = module.read_record
    monkeypatch.setattr(module, "read_record", reading)
    return names


def test_a_record_is_read_once(logged, read):
    context = ReleaseContext(ALONE)
    assert context.source_record(logged.run_id) == logged
    assert context.source_record(logged.run_id) == logged
    assert read == ["source.json"]


def test_what_log_source_recorded_is_not_read_back(logged, prepared, read):
    context = ReleaseContext(ALONE)
    context.keep_source(logged, prepared.source)
    assert context.source_record(logged.run_id) == logged
    assert read == []


def test_a_source_from_a_local_folder_is_the_one_that_was_logged(logged, prepared):
    context = ReleaseContext(ALONE)
    context.keep_source(logged, prepared.source)
    source = context.source(logged)
    assert source.resolved_uri == logged.model_uri != prepared.source.resolved_uri
    assert source.digest == logged.digest
    assert context.source(logged) is source


def test_a_source_of_the_server_is_not_fetched_again(logged):
    again = prepare_source(logged.model_uri)
    record = log_source(again, ALONE)
    context = ReleaseContext(ALONE)
    context.keep_source(record, again.source)
    assert context.source(record) is again.source


def test_rows_are_those_that_were_kept_and_loaded_once(logged, prepared):
    context = ReleaseContext(ALONE)
    evaluation, example = context.rows(logged)
    assert evaluation.digest() == prepared.evaluation.digest()
    assert example.digest() == prepared.example.digest()
    assert context.rows(logged) == (evaluation, example)
    assert context.rows(logged)[0] is evaluation


def test_steps_share_the_process_of_the_source_until_the_outermost_ends(logged, prepared):
    context = ReleaseContext(ALONE)
    with context.source_process(logged) as outer:
        (first,) = outer.reference(prepared.example, [(5, 5)])
        with context.source_process(logged) as inner:
            assert inner is outer
        (second,) = outer.reference(prepared.example, [(5, 5)])
        assert first.keys() == second.keys()
    with context.source_process(logged) as another:
        assert another is not outer
