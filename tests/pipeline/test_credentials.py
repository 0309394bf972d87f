"""A password in the URI of a server appears nowhere: not printed, not logged, not stored."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from mlflow_onnx_flavor.cli import main
from mlflow_onnx_flavor.errors import OnnxFlavorError
from mlflow_onnx_flavor.redaction import redact
from tests.builders import QUICK_RELEASE
from tests.serving import BIN, environment, free_port, running

pytestmark = pytest.mark.release

SECRET = "hunter2-is-secret"
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server's folder and its URL with a password in it, which it does not ask for."""
    folder, port = tmp_path_factory.mktemp("server"), free_port()
    command = [
        *(str(BIN / "mlflow"), "server", "--host", "127.0.0.1", "--port", str(port)),
        *("--backend-store-uri", f"sqlite:///{folder / 'server.db'}", "--workers", "1"),
        *("--artifacts-destination", str(folder / "artifacts")),
    ]
    health = f"http://127.0.0.1:{port}/health"
    log = tmp_path_factory.mktemp("log") / "log"  # the server's own, of what it was asked
    with running(command, health, log, 120, env=environment()):
        yield folder, f"http://ann:{SECRET}@127.0.0.1:{port}"


@pytest.fixture
def command(server, classifier_folder, frame, tmp_path):
    """Runs the real command against the server; temporary files go to ``tmp_path``."""
    frame.to_parquet(tmp_path / "eval.parquet")
    (tmp_path / "release.yaml").write_text(QUICK_RELEASE)
    release = [
        *("release", str(classifier_folder), "--registered-model", "income"),
        *("--data", str(tmp_path / "eval.parquet"), "--config", str(tmp_path / "release.yaml")),
    ]

    def run(*words: str, **variables: str):
        words = tuple(release + list(words[1:])) if words[0] == "release" else words
        temporary = tmp_path / "temporary"
        temporary.mkdir(exist_ok=True)
        mine = environment(
            MLFLOW_TRACKING_URI=server[1],
            MLFLOW_REGISTRY_URI=server[1],
            TMPDIR=str(temporary),
            MLFLOW_HTTP_REQUEST_MAX_RETRIES="1",
            **variables,
        )
        mine.pop("MLFLOW_EXPERIMENT_ID", None)
        mine["PYTHONPATH"] = str(ROOT)
        return subprocess.run(
            [sys.executable, "-m", "mlflow_onnx_flavor.cli", *words],
            cwd=tmp_path,
            env=mine,
            timeout=240,
            capture_output=True,
            text=True,
        )

    return run


def files_with_the_secret(folder: Path) -> list[str]:
    files = [file for file in folder.rglob("*") if file.is_file()]
    assert files
    return [str(file) for file in files if SECRET.encode() in file.read_bytes()]


def test_a_release_leaves_no_password(server, command, tmp_path):
    """Database (tags, parameters, descriptions), artifacts, output, files left behind; and with
    ``--json`` standard output is one document.
    """
    done = command("release", "--json", "--junit", str(tmp_path / "junit.xml"))
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout)["registered"]["version"] == "1"
    assert "View run" in done.stderr
    assert SECRET not in done.stdout + done.stderr
    assert files_with_the_secret(server[0]) == []
    assert files_with_the_secret(tmp_path) == []


@pytest.fixture
def dead(store, monkeypatch):
    """The URI of a server that is gone, with a password."""
    import mlflow

    monkeypatch.setenv("MLFLOW_ONNX_TRACEBACK", "1")
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(f"http://ann:{SECRET}@127.0.0.1:9")
    yield
    mlflow.set_tracking_uri(before)


@pytest.mark.parametrize(
    "words",
    [
        ("promote", "nothing", "1"),
        ("rollback", "nothing"),
        ("history", "nothing"),
        ("verify", "models:/nothing/1"),
        ("verify", "models:/nothing@champion"),
        ("explain", "models:/nothing/1"),
        ("explain", f"https://ann:{SECRET}@127.0.0.1:9/model"),
        ("gc", "nothing", "--tracking-uri", f"http://ann:{SECRET}@127.0.0.1:9"),
        ("verify", "models:/a/1", "--tracking-uri", f"postgresql+nodriver://a:{SECRET}@h/d"),
        ("convert", "x", "--outptu", f"http://ann:{SECRET}@127.0.0.1:9"),
    ],
    ids=lambda words: " ".join(words[:2]).split("://")[0],
)
def test_what_fails_says_no_password(words, dead, capsys, tmp_path):
    try:
        status = main(words)
    except SystemExit as ended:
        status = ended.code
    said = "".join(capsys.readouterr())
    assert status in (1, 2) and said
    assert SECRET not in said
    assert "unexpected" not in said


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("at http://u:p@h:1/x now", "at http://h:1/x now"),
        ("'postgresql+psycopg://u:p%40q@h/d'", "'postgresql+psycopg://h/d'"),
        ("http://u:p@q@h/", "http://h/"),
        ("https://token@h", "https://h"),
        ("https://h/x?a=1&X-Amz-Signature=abc&b=2", "https://h/x?a=1&X-Amz-Signature=***&b=2"),
        ("https://h/x?sig=a%2Fb", "https://h/x?sig=***"),
        ("Authorization: Bearer abc.def", "Authorization: Bearer ***"),
        ("models:/name@champion", "models:/name@champion"),
        ("https://h/@scope/x", "https://h/@scope/x"),
        ("mail ann@example.com", "mail ann@example.com"),
    ],
)
def test_user_information_and_tokens_are_stripped(text, right):
    assert redact(text) == right
    assert str(OnnxFlavorError(text)) == right
