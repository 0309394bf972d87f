"""One model is one version: by its graph and configuration, not by the ids of what was logged."""

from __future__ import annotations

import threading

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient
from mlflow.entities import DatasetInput, InputTag
from mlflow.exceptions import MlflowException

from mlflow_onnx_flavor import flavor, registry
from mlflow_onnx_flavor.artifact.digests import digest_of
from mlflow_onnx_flavor.artifact.identity import identity_of
from mlflow_onnx_flavor.errors import DigestMismatchError
from mlflow_onnx_flavor.pipeline.cache import finished
from mlflow_onnx_flavor.pipeline.check_latency import champion_folder
from mlflow_onnx_flavor.pipeline.runs import step_run
from mlflow_onnx_flavor.registry.versions import register
from mlflow_onnx_flavor.schemas.configuration import Configuration
from mlflow_onnx_flavor.schemas.records import CandidateRecord, CandidatesRecord
from mlflow_onnx_flavor.schemas.registry_tags import DIGEST_TAG
from mlflow_onnx_flavor.source.model import fetch
from mlflow_onnx_flavor.tracking.retrying import retried

pytestmark = pytest.mark.release


@pytest.fixture(scope="module")
def logged(store, classifier_onnx):
    """The URIs of the same model logged twice, and of one with other session options."""

    def log(**options) -> str:
        model = flavor.log_model(
            classifier_onnx.path, name="converted", graph=classifier_onnx.graph, **options
        )
        return f"models:/{model.model_id}"

    with mlflow.start_run():
        return log(), log(), log(session_options={"intra_op_num_threads": 1})


def test_a_model_logged_twice_is_the_same_model_with_other_bytes(logged):
    one, twin, other = map(fetch, logged)
    assert digest_of(one) != digest_of(twin)
    assert identity_of(one) == identity_of(twin) != identity_of(other)


def test_other_weights_are_another_model(logged, tmp_path):
    one = fetch(logged[0])
    before = identity_of(one)
    file = one / "model.onnx"
    whole = file.read_bytes()
    file.write_bytes(whole + b"\0")
    try:
        assert identity_of(one) != before
    finally:
        file.write_bytes(whole)


def test_the_same_release_of_a_twin_is_one_version_checked_by_its_own_digest(logged):
    one, twin, _ = logged
    made = [
        register("twins", uri, digest_of(fetch(uri)), "run", {}, "", "the key")
        for uri in (one, twin, one)
    ]
    assert set(made) == {"1"} and len(list(registry.versions_of("twins"))) == 1
    version = registry.get_version("twins", "1")
    assert version.tags[DIGEST_TAG] == digest_of(fetch(one))
    file = fetch("models:/twins/1") / "model.onnx"
    whole = file.read_bytes()
    file.write_bytes(whole + b"\0")
    try:
        with pytest.raises(DigestMismatchError):
            register("twins", twin, digest_of(fetch(twin)), "run", {}, "", "the key")
    finally:
        file.write_bytes(whole)


def test_several_releases_at_once_make_one_version(logged):
    uri = logged[0]
    made, digest = [], digest_of(fetch(uri))

    def release() -> None:
        made.append(register("at once", uri, digest, "run", {}, "", "the key"))

    threads = [threading.Thread(target=release) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    (there,) = registry.versions_of("at once")
    assert made == [str(there.version)] * 4


def test_a_champion_that_is_a_candidate_is_not_measured_against_itself(logged):
    one, twin, other = logged
    record = CandidateRecord(
        name="converted",
        model_uri=one,
        digest=digest_of(fetch(one)),
        size_bytes=1,
        description="",
    )
    built = CandidatesRecord(
        run_id="r", source_run_id="s", convert_run_id="c", candidates=(record,), skipped=()
    )
    assert champion_folder(twin, built) is None
    assert champion_folder(other, built).identity.name == "champion"


def test_a_finished_step_is_found_from_another_experiment(store):
    mlflow.create_experiment("another")
    with step_run("convert", key="the key of a step") as run:
        pass
    before = mlflow.get_experiment_by_name("tests").experiment_id
    mlflow.set_experiment("another")
    try:
        arguments = ("convert", "the key of a step", Configuration(), str)
        assert finished(*arguments) == run.info.run_id
        assert finished("optimize", *arguments[1:]) is None
    finally:
        mlflow.set_experiment(experiment_id=before)


def test_the_same_data_set_is_logged_by_several_at_once(store):
    """The store refuses the same row to whoever comes second; that one asks again."""
    experiment = mlflow.get_experiment_by_name("tests").experiment_id
    client, failed = MlflowClient(), []
    frame = pd.DataFrame({"a": np.arange(3.0)})
    dataset = mlflow.data.from_pandas(frame, name="evaluation", digest="0123")
    context = [InputTag("mlflow.data.context", "evaluation")]
    inputs = [DatasetInput(dataset._to_mlflow_entity(), context)]
    runs = [client.create_run(experiment).info.run_id for _ in range(4)]

    def log(run_id: str) -> None:
        try:
            retried(lambda: client.log_inputs(run_id, inputs))
        except MlflowException as error:
            failed.append(error)

    threads = [threading.Thread(target=log, args=(run_id,)) for run_id in runs]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert failed == []
    assert all(client.get_run(each).inputs.dataset_inputs for each in runs)


@pytest.mark.parametrize(
    ("said", "times"),
    [
        ("(sqlite3.IntegrityError) UNIQUE constraint failed: datasets", 3),
        ("API request failed with exception Connection broken: IncompleteRead(5 bytes read)", 3),
        ("Permission denied", 1),
    ],
)
def test_what_is_retried_is_what_another_try_may_mend(said, times, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    tries = []

    def work():
        tries.append(said)
        raise MlflowException(said)

    with pytest.raises(MlflowException):
        retried(work)
    assert len(tries) == times
