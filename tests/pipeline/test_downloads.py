"""A model that steps read is what its URI names at that moment."""

from __future__ import annotations

import os

import mlflow
import pytest
from mlflow import MlflowClient

from mlflow_onnx_flavor.errors import ModelNotFoundError
from mlflow_onnx_flavor.pipeline import downloads
from mlflow_onnx_flavor.pipeline.log_source import prepare_source
from mlflow_onnx_flavor.source.model import resolve_alias

NAME = "a model whose alias moves"


@pytest.fixture(scope="module")
def versions(store, classifier_folder) -> list[str]:
    """Two registered versions of the classifier."""
    client = MlflowClient()
    client.create_registered_model(NAME)
    return [client.create_model_version(NAME, classifier_folder.as_uri()).version for _ in range(2)]


def test_an_alias_that_has_moved_names_the_version_that_it_points_to_now(versions):
    for version in versions:
        MlflowClient().set_registered_model_alias(NAME, "serving", version)
        prepared = prepare_source(f"models:/{NAME}@serving")
        assert prepared.source.resolved_uri == f"models:/{NAME}/{version}"


def test_latest_and_a_stage_are_resolved_to_a_version_too(versions):
    first, second = versions
    assert resolve_alias(f"models:/{NAME}/latest") == f"models:/{NAME}/{second}"
    MlflowClient().transition_model_version_stage(NAME, first, "Production")
    assert resolve_alias(f"models:/{NAME}/production") == f"models:/{NAME}/{first}"
    assert resolve_alias(f"models:/{NAME}/{first}") == f"models:/{NAME}/{first}"


def test_an_alias_that_is_not_there_is_one_sentence(versions):
    with pytest.raises(ModelNotFoundError, match="'models:/.*@nobody' cannot be fetched from"):
        prepare_source(f"models:/{NAME}@nobody")


def test_a_folder_is_not_kept_beyond_its_store(store, candidate_folder, tmp_path):
    name = "a model of one store"
    MlflowClient().create_registered_model(name)
    version = MlflowClient().create_model_version(name, candidate_folder.as_uri()).version
    uri = f"models:/{name}/{version}"
    assert downloads.model_folder(uri) == candidate_folder
    try:
        mlflow.set_tracking_uri(f"sqlite:///{tmp_path / 'another.db'}")
        with pytest.raises(ModelNotFoundError):
            downloads.model_folder(uri)
    finally:
        mlflow.set_tracking_uri(store)
        os.environ["MLFLOW_TRACKING_URI"] = store


def test_a_logged_model_is_fetched_once_since_it_cannot_change(store, candidate_folder):
    client = MlflowClient()
    experiment = client.get_experiment_by_name("tests")
    logged = client.create_logged_model(experiment.experiment_id, name="fixed")
    client.log_model_artifacts(logged.model_id, str(candidate_folder))
    client.finalize_logged_model(logged.model_id, "READY")
    uri = f"models:/{logged.model_id}"
    assert downloads.model_folder(uri) is downloads.model_folder(uri)
