"""What a server and a database refuse is one sentence that tells the cases apart."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import mlflow
import pytest

from mlflow_onnx_flavor.cli import main


@pytest.fixture
def pointing(store):
    """Points MLflow to a URI until the test ends."""
    before = mlflow.get_tracking_uri()
    yield mlflow.set_tracking_uri
    mlflow.set_tracking_uri(before)


@contextmanager
def answering(status: int, code: str):
    """A server on loopback that is well, and answers all else by this error of MLflow's."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_GET(self):
            health = self.path == "/health"
            body = b"OK" if health else json.dumps({"error_code": code, "message": code}).encode()
            self.send_response(200 if health else status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("uri", ["models:/income/1", "models:/income@champion"])
@pytest.mark.parametrize(
    ("status", "code", "said"),
    [
        (401, "UNAUTHENTICATED", "wants a sign-in"),
        (403, "PERMISSION_DENIED", "does not let"),
        (404, "RESOURCE_DOES_NOT_EXIST", "RESOURCE_DOES_NOT_EXIST"),
    ],
)
def test_verify_tells_a_refusal_from_an_absence(uri, status, code, said, pointing, capsys):
    with answering(status, code) as url:
        pointing(url)
        assert main(["verify", uri]) == 1
    sentence = capsys.readouterr().err
    assert said in sentence and sentence.count("\n") == 1
    absent = "there is no version" in sentence or "cannot be fetched" in sentence
    assert absent == (status == 404)


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("mysql+nodriver://ann@host/db", "names no database that can be used"),
        ("mssql+pymssql://ann@host/db", "whose driver is not installed"),
        ("postgresql://ann@host:port/db", "names no database that can be used"),
    ],
)
def test_a_database_that_cannot_be_spoken_to_is_one_sentence(uri, said, pointing, capsys):
    pointing(uri)
    assert main(["verify", "models:/income/1"]) == 2
    sentence = capsys.readouterr().err
    assert said in sentence and sentence.count("\n") == 1 and uri not in sentence
