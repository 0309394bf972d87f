"""Releases against a server as teams run it: PostgreSQL, an S3 store, users who sign in."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.server import get_app_client

from examples.shared_server.start import BUCKET, S3_KEYS, NotHere, shared_server
from tests.builders import QUICK_RELEASE
from tests.serving import environment

pytestmark = pytest.mark.release

READER = {"MLFLOW_TRACKING_USERNAME": "reader", "MLFLOW_TRACKING_PASSWORD": "only reads here"}


@pytest.fixture(scope="module")
def server():
    # Not pytest's folder, whose parents are the user's own: where that is root, the database runs
    # as somebody else.
    with tempfile.TemporaryDirectory(prefix="shared server ") as folder:
        Path(folder).chmod(0o755)
        try:
            with shared_server(Path(folder)) as started:
                yield started
        except NotHere as missing:
            pytest.skip(str(missing))


@pytest.fixture
def client(server, monkeypatch):
    """The administrator's, in this process."""
    before = mlflow.get_tracking_uri()
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    mlflow.set_tracking_uri(server.url)
    yield MlflowClient()
    mlflow.set_tracking_uri(before)


@pytest.fixture
def command(server, classifier_folder, frame, tmp_path):
    """Runs the real command as somebody; returns the finished process."""
    frame.to_parquet(tmp_path / "eval.parquet")
    (tmp_path / "release.yaml").write_text(QUICK_RELEASE)
    release = [
        *("release", str(classifier_folder), "--data", str(tmp_path / "eval.parquet")),
        *("--config", str(tmp_path / "release.yaml"), "--quiet", "--registered-model"),
    ]

    def run(*words: str, **variables: str):
        somebody = environment(**{**server.environment, **variables})
        if "MLFLOW_EXPERIMENT_NAME" not in variables:
            somebody.pop("MLFLOW_EXPERIMENT_NAME", None)
        somebody.pop("MLFLOW_EXPERIMENT_ID", None)
        words = (*release, *words[1:]) if words[0] == "release" else words
        return subprocess.run(
            [sys.executable, "-m", "mlflow_onnx_flavor.cli", *words],
            cwd=tmp_path,
            env=somebody,
            timeout=240,
            capture_output=True,
            text=True,
        )

    return run


def keys_in_the_store(server) -> list[str]:
    import boto3

    s3 = boto3.client(
        "s3",
        endpoint_url=server.s3_url,
        region_name=S3_KEYS["AWS_DEFAULT_REGION"],
        aws_access_key_id=S3_KEYS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=S3_KEYS["AWS_SECRET_ACCESS_KEY"],
    )
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
    return [each["Key"] for page in pages for each in page.get("Contents", [])]


def test_a_release(server, client, command):
    done = command("release", "fraud")
    assert done.returncode == 0, done.stderr
    assert client.get_model_version_by_alias("fraud", "champion").version == "1"
    assert any(key.endswith("model.onnx") for key in keys_in_the_store(server))


@pytest.mark.slow
def test_the_same_release_again_makes_no_second_version(client, command):
    again = command("release", "fraud")
    assert again.returncode == 0, again.stderr
    assert len(client.search_model_versions("name='fraud'")) == 1


@pytest.mark.slow
def test_promotion_and_rollback(client, command):
    again = command("release", "fraud", "--fresh")
    assert again.returncode == 0, again.stderr
    assert client.get_model_version_by_alias("fraud", "champion").version == "2"
    back = command("rollback", "fraud")
    assert back.returncode == 0, back.stderr
    assert client.get_model_version_by_alias("fraud", "champion").version == "1"


@pytest.mark.slow
def test_artifacts_straight_in_the_store(server, client, command):
    client.create_experiment("straight", artifact_location=f"s3://{BUCKET}/straight")
    done = command(
        "release", "straight", MLFLOW_EXPERIMENT_NAME="straight", **server.s3_environment
    )
    assert done.returncode == 0, done.stderr
    assert client.get_model_version_by_alias("straight", "champion").version == "1"
    assert any(key.startswith("straight/") for key in keys_in_the_store(server))


@pytest.fixture
def reader(server, client, command):
    """Runs the command as somebody who may read and nothing else."""
    users = get_app_client("basic-auth", server.url)
    users.create_user(READER["MLFLOW_TRACKING_USERNAME"], READER["MLFLOW_TRACKING_PASSWORD"])
    return lambda *words: command(*words, **READER)


def test_who_may_only_read_is_told_and_changes_nothing(client, reader):
    was = client.get_registered_model("fraud")
    for words in (("release", "theirs"), ("promote", "fraud", "1"), ("rollback", "fraud")):
        done = reader(*words)
        assert done.returncode == 1
        assert "does not let user 'reader' do that" in done.stderr
        assert "ask its administrator" in done.stderr
        assert len(done.stderr.splitlines()) == 1
    assert "theirs" not in [each.name for each in client.search_registered_models()]
    now = client.get_registered_model("fraud")
    assert (now.aliases, now.tags) == (was.aliases, was.tags)
    assert "promote" in reader("history", "fraud").stdout


def test_a_wrong_password_is_told(command):
    for words in (("release", "fraud"), ("history", "fraud")):
        done = command(*words, MLFLOW_TRACKING_PASSWORD="wrong")
        assert done.returncode == 1
        assert "wants a sign-in and does not take the one that was given" in done.stderr
        assert len(done.stderr.splitlines()) == 1
