"""The whole road through the real commands: `mlflow run`, `mlflow-onnx`, a real server."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import mlflow
import numpy as np
import pytest
from mlflow import MlflowClient

from mlflow_onnx_flavor.artifact.identity import identity_of
from mlflow_onnx_flavor.cli import main
from mlflow_onnx_flavor.source.model import fetch
from tests.builders import QUICK_RELEASE
from tests.serving import BIN, environment, tracking_server

pytestmark = pytest.mark.release

PROJECT = Path(__file__).resolve().parents[2]
# Speed is no matter here: whether the candidate is faster must not decide whether a test passes.
CONFIGURATION = """
gates: {latency: {min_speedup: 0, max_regression: 1, batch_sizes: [1, 8]}}
budget: {seconds: 1}
"""
HOPELESS = CONFIGURATION.replace("min_speedup: 0", "min_speedup: 1000000")


@pytest.fixture(scope="module")
def files(tmp_path_factory, frame) -> Path:
    folder = tmp_path_factory.mktemp("files")
    frame.to_parquet(folder / "eval.parquet")
    (folder / "release.yaml").write_text(CONFIGURATION)
    (folder / "quick.yaml").write_text(QUICK_RELEASE)
    (folder / "hopeless.yaml").write_text(HOPELESS)
    return folder


def register_source(folder: Path, name: str) -> str:
    """Register the saved classifier in the current store; returns its URI."""
    client = MlflowClient()
    with mlflow.start_run() as run:
        logged = client.create_logged_model(
            run.info.experiment_id, name="model", source_run_id=run.info.run_id
        )
        client.log_model_artifacts(logged.model_id, str(folder))
        client.finalize_logged_model(logged.model_id, "READY")
    version = mlflow.register_model(f"models:/{logged.model_id}", name).version
    return f"models:/{name}/{version}"


@pytest.fixture(scope="module")
def source_uri(store, classifier_folder) -> str:
    return register_source(classifier_folder, "fraud")


def mlflow_run(*arguments: str, entry_point: str = "main", **extra: str):
    parameters = [each for argument in arguments for each in ("-P", argument)]
    return subprocess.run(
        [
            *(str(BIN / "mlflow"), "run", ".", "--env-manager", "local", "-e", entry_point),
            *parameters,
        ],
        cwd=PROJECT,
        env=environment(**extra),
        capture_output=True,
        text=True,
        timeout=240,
    )


@pytest.fixture(scope="module")
def released(source_uri, files):
    """One release through `mlflow run`."""
    return mlflow_run(
        f"model_uri={source_uri}",
        "registered_model=fraud-onnx",
        f"data={files / 'eval.parquet'}",
        f"config={files / 'release.yaml'}",
    )


def test_mlflow_run_ends_with_a_version_under_the_alias(released):
    assert released.returncode == 0, released.stderr[-3000:]
    version = MlflowClient().get_model_version_by_alias("fraud-onnx", "champion")
    assert version.tags["onnx.digest"].startswith("sha256:")
    assert version.description


def test_it_prints_what_a_person_wants_to_know(released):
    for words in ("Conversion", "Parity", "Latency", "Gates", "fraud-onnx", "report:", "mlflow ui"):
        assert words in released.stdout, released.stdout
    assert "\x1b[" not in released.stdout


def test_the_registered_model_answers_as_the_source_did(released, source_uri, frame):
    expected = mlflow.pyfunc.load_model(source_uri).predict(frame)
    answer = mlflow.pyfunc.load_model("models:/fraud-onnx@champion").predict(frame)
    assert answer.dtype == expected.dtype
    np.testing.assert_array_equal(answer, expected)


def release_run(name: str):
    runs = mlflow.search_runs(
        search_all_experiments=True,
        filter_string=f"tags.`onnx.step` = 'release' and params.registered_as = '{name}'",
        output_format="list",
    )
    return runs[0]


def test_the_run_holds_everything_a_person_looks_for(released, source_uri):
    run = release_run("fraud-onnx")
    assert run.info.status == "FINISHED" and run.data.tags["onnx.verdict"] == "passed"
    artifacts = {each.path for each in MlflowClient().list_artifacts(run.info.run_id)}
    assert {"report.html", "junit.xml", "summary.json", "plots"} <= artifacts
    assert any(name.startswith("speedup") for name in run.data.metrics)
    children = mlflow.search_runs(
        search_all_experiments=True,
        filter_string=f"tags.`mlflow.parentRunId` = '{run.info.run_id}'",
        output_format="list",
    )
    steps = {each.data.tags["onnx.step"]: each for each in children}
    assert set(steps) == {
        "log_source",
        "convert",
        "optimize",
        "check_parity",
        "check_latency",
        "register",
        "promote",
    }
    inputs = mlflow.get_run(steps["log_source"].info.run_id).inputs
    assert inputs.dataset_inputs and inputs.model_inputs
    assert mlflow.get_run(steps["convert"].info.run_id).outputs.model_outputs


def cli(*arguments: str, capsys) -> tuple[int, str, str]:
    try:
        status = main([str(each) for each in arguments])
    except SystemExit as exit:
        status = exit.code
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def release_again(source_uri, files, capsys, *more: str, config="release.yaml"):
    return cli(
        "release",
        source_uri,
        "--registered-model",
        "fraud-onnx",
        "--data",
        files / "eval.parquet",
        "--config",
        files / config,
        "--quiet",
        *more,
        capsys=capsys,
    )


def aliases(name="fraud-onnx") -> dict[str, int]:
    return {
        alias: int(version)
        for alias, version in MlflowClient().get_registered_model(name).aliases.items()
    }


def versions(name="fraud-onnx") -> int:
    return len(MlflowClient().search_model_versions(f"name = '{name}'"))


def test_a_failed_gate_leaves_the_registry_as_it_was(released, source_uri, files, capsys):
    before = aliases(), versions()
    status, out, _ = release_again(source_uri, files, capsys, config="hopeless.yaml")
    assert status == 3 and (aliases(), versions()) == before
    assert "1,000,000" in out


def test_a_dry_run_says_what_would_happen_and_changes_nothing(released, source_uri, files, capsys):
    before = aliases(), versions()
    status, out, _ = release_again(source_uri, files, capsys, "--dry-run")
    assert status == 0 and (aliases(), versions()) == before
    assert "would be registered" in out


def test_the_same_release_again_makes_no_second_version(released, source_uri, files, capsys):
    before = aliases(), versions()
    status, out, _ = release_again(source_uri, files, capsys, "--json")
    document = json.loads(out)
    assert status == 0 and (aliases(), versions()) == before
    assert document["registered"]["version"] == str(aliases()["champion"])
    done = {each["name"]: each["reused"] for each in document["steps"]}
    assert done.pop("promote") is False and all(done.values()), done


def test_a_second_release_promotes_and_rollback_returns(released, source_uri, files, capsys):
    first = aliases()["champion"]
    junit = files / "junit.xml"
    options = ("--fresh", "--json", "--junit", str(junit))
    status, out, err = release_again(source_uri, files, capsys, *options, config="quick.yaml")
    assert status == 0, err
    document = json.loads(out)  # one JSON document and nothing else
    second = int(document["registered"]["version"])
    assert second > first and aliases() == {"champion": second, "previous": first}
    # Measured against the champion, unless the champion is the same model: nothing could regress.
    one, two = (identity_of(fetch(f"models:/fraud-onnx/{each}")) for each in (first, second))
    baselines = {row["baseline"] for row in document["latency"]["rows"]}
    assert ("champion" in baselines) == (one != two)
    assert ElementTree.parse(junit).getroot().attrib["failures"] == "0"

    status, out, _ = cli("rollback", "fraud-onnx", capsys=capsys)
    assert status == 0 and aliases() == {"champion": first, "previous": second}
    status, out, _ = cli("history", "fraud-onnx", "--json", capsys=capsys)
    moves = [(each["action"], each["moved_to"]) for each in json.loads(out)]
    assert moves[-2:] == [("promote", str(second)), ("rollback", str(first))]
    status, out, _ = cli("promote", "fraud-onnx", second, "--dry-run", capsys=capsys)
    assert status == 0 and "would point" in out and aliases()["champion"] == first


def test_promotion_wants_evidence(released, source_uri, capsys):
    status, _, err = cli("promote", "fraud", 1, capsys=capsys)
    assert status == 3 and "was not registered by a release" in err
    assert MlflowClient().get_registered_model("fraud").aliases == {}


def test_a_changed_byte_is_refused(released, capsys):
    before = aliases()
    version = before["champion"]
    uri = f"models:/fraud-onnx/{version}"
    assert cli("verify", uri, capsys=capsys)[0] == 0
    file = Path(mlflow.artifacts.download_artifacts(uri)) / "model.onnx"
    whole = file.read_bytes()
    file.write_bytes(whole + b"\0")
    try:
        for command in (("verify", uri), ("promote", "fraud-onnx", version)):
            status, _, err = cli(*command, capsys=capsys)
            assert status == 1 and "is not the artifact that was verified" in err
            assert "'model.onnx' was changed" in err
        assert aliases() == before
    finally:
        file.write_bytes(whole)


def step(name: str, *arguments: str) -> str:
    """What one step prints that `mlflow run` ends well."""
    finished = mlflow_run(*arguments, entry_point=name)
    assert finished.returncode == 0, finished.stderr[-3000:]
    return finished.stdout


def run_id(output: str) -> str:
    return re.search(r"run_id=(\w+)", output)[1]


def test_a_step_runs_alone(source_uri, files):
    source = step("log_source", f"model_uri={source_uri}", f"data={files / 'eval.parquet'}")
    assert mlflow.get_run(run_id(source)).data.tags["onnx.step"] == "log_source"


@pytest.mark.slow
def test_every_step_runs_alone_against_a_server(
    classifier_folder, files, tmp_path, monkeypatch, new_store
):
    before = mlflow.get_tracking_uri()
    with tracking_server(tmp_path, new_store(tmp_path)) as url:
        try:
            mlflow.set_tracking_uri(url)
            monkeypatch.setenv("MLFLOW_TRACKING_URI", url)
            monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", "")  # set_experiment writes its own there
            mlflow.set_experiment("steps")
            uri = register_source(classifier_folder, "server-source")
            config = f"config={files / 'quick.yaml'}"

            source = step("log_source", f"model_uri={uri}", f"data={files / 'eval.parquet'}")
            source = run_id(source)
            converted = run_id(step("convert", f"source_run_id={source}", config))
            built = run_id(step("optimize", f"convert_run_id={converted}", config))
            agreed = run_id(step("check_parity", f"optimize_run_id={built}", config))
            timed = run_id(step("check_latency", f"optimize_run_id={built}", config))
            registered = step(
                "register",
                f"parity_run_id={agreed}",
                f"latency_run_id={timed}",
                "registered_model=stepwise",
                config,
            )
            assert "version=1" in registered
            step("promote", "registered_model=stepwise", "version=1")
            assert aliases("stepwise") == {"champion": 1}
            refused = mlflow_run("registered_model=stepwise", entry_point="rollback")
            assert refused.returncode != 0
            assert "has no version under alias 'previous'" in refused.stderr
        finally:
            mlflow.set_tracking_uri(before)
            mlflow.set_experiment("tests")


@pytest.mark.parametrize(
    ("arguments", "status", "sentence"),
    [
        (["release", "models:/nothing/7"], 1, "'models:/nothing/7' cannot be fetched"),
        (["release", "models:/nothing"], 2, "give --registered-model"),
        (["release", "no/such/folder", "--registered-model", "x"], 1, "there is no file or folder"),
        (["release", "SOURCE", "--data", "none.parquet"], 1, "there is no evaluation data"),
        (["release", "SOURCE", "--config", "none.yaml"], 2, "cannot be read"),
        (
            ["release", "SOURCE", "--execution-provider", "TensorrtExecutionProvider"],
            1,
            "execution provider 'TensorrtExecutionProvider' is not available here",
        ),
        (["release", "SOURCE", "--registered-model", "a/b"], 2, "needs a name without '/'"),
        (["release"], 2, "release needs MODEL_URI"),
        (
            ["release", "SOURCE", "--tracking-uri", "http://127.0.0.1:9"],
            1,
            "no MLflow server answers",
        ),
        (["promote", "nothing", "1"], 1, "no version 1 of a registered model 'nothing'"),
        (["rollback", "fraud"], 1, "has no version under alias 'previous'"),
        (["unknown-verb"], 2, "invalid choice"),
    ],
)
def test_bad_requests_are_one_sentence_and_leave_nothing(
    arguments, status, sentence, source_uri, capsys, store
):
    runs_before = len(mlflow.search_runs(search_all_experiments=True, output_format="list"))
    arguments = [source_uri if each == "SOURCE" else each for each in arguments]
    if arguments[0] == "release":
        arguments.append("--quiet")
    try:
        found, _, err = cli(*arguments, capsys=capsys)
    finally:
        mlflow.set_tracking_uri(store)
    assert (found, sentence in err) == (status, True), err
    assert "Traceback" not in err
    lines = [line for line in err.splitlines() if line.startswith("mlflow-onnx:")]
    assert len(lines) == 1 or found == 2
    if arguments[0] == "release":
        after = len(mlflow.search_runs(search_all_experiments=True, output_format="list"))
        assert after == runs_before


def test_a_model_without_signature_or_example_says_how_to_give_one(tmp_path, capsys):
    from sklearn.linear_model import LinearRegression

    model = LinearRegression().fit([[1.0]], [1.0])
    mlflow.sklearn.save_model(
        model, str(tmp_path / "m"), serialization_format="cloudpickle", pip_requirements=[]
    )
    status, _, err = cli("release", tmp_path / "m", "--registered-model", "x", capsys=capsys)
    assert status == 1 and "input_example=X[:5]" in err


def test_an_unknown_flavor_is_named(tmp_path, classifier_folder, capsys):
    shutil.copytree(classifier_folder, tmp_path / "m")
    mlmodel = tmp_path / "m" / "MLmodel"
    mlmodel.write_text(mlmodel.read_text().replace("  sklearn:", "  spacy:"))
    status, _, err = cli("release", tmp_path / "m", "--registered-model", "x", capsys=capsys)
    assert status == 4 and "the model's flavor is spacy" in err


@pytest.mark.parametrize("content", ["", "flavors: [", "just text"])
def test_a_corrupt_artifact_is_one_sentence(content, tmp_path, classifier_folder, capsys):
    shutil.copytree(classifier_folder, tmp_path / "m")
    (tmp_path / "m" / "MLmodel").write_text(content)
    status, _, err = cli("release", tmp_path / "m", "--registered-model", "x", capsys=capsys)
    assert status == 1 and "log the model again" in err and "Traceback" not in err


@pytest.mark.slow
def test_a_folder_is_released_like_a_uri(classifier_folder, files, store, capsys):
    status, out, err = cli(
        "release",
        classifier_folder,
        "--registered-model",
        "from-folder",
        "--config",
        files / "release.yaml",
        "--quiet",
        capsys=capsys,
    )
    assert status == 0, err
    assert aliases("from-folder") == {"champion": 1}


def test_the_other_verbs(classifier_folder, files, tmp_path, capsys):
    status, out, err = cli(
        "convert", classifier_folder, "--output", tmp_path / "out", "--json", capsys=capsys
    )
    assert status == 0, err
    path = json.loads(out)["path"]
    status, out, _ = cli("explain", classifier_folder, capsys=capsys)
    assert status == 0 and "float32_matrix" in out
    data = ("--data", files / "eval.parquet", "--config", files / "release.yaml", "--quiet")
    status, out, err = cli("parity", classifier_folder, path, *data, capsys=capsys)
    assert status in (0, 3), err  # 3 where a plug-in provider is present that does not agree
    only_cpu = ("--execution-provider", "CPUExecutionProvider")
    status, out, err = cli("parity", classifier_folder, path, *data, *only_cpu, capsys=capsys)
    assert status == 0, err
    status, out, err = cli(
        "latency", classifier_folder, path, *data, "--batch-size", 4, "--json", capsys=capsys
    )
    assert status == 0, err
    rows = json.loads(out)["report"]["rows"]
    assert [(row["batch_size"], row["path"]) for row in rows] == [(4, "pyfunc"), (4, "session")]
    status, out, _ = cli("providers", capsys=capsys)
    assert status == 0 and "CPUExecutionProvider" in out


def test_the_installed_command_prints_its_help_and_defaults():
    command = BIN / "mlflow-onnx"
    help = subprocess.run([command, "--help"], capture_output=True, text=True, check=True).stdout
    for verb in ("release", "convert", "parity", "latency", "promote", "rollback", "history"):
        assert verb in help
    defaults = subprocess.run(
        [sys.executable, "-m", "mlflow_onnx_flavor.cli", "release", "--print-config"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "min_speedup: 1.0" in defaults
