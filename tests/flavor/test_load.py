"""A real server under load: every request is answered, memory stays, bad requests are told so."""

from __future__ import annotations

import json
import os
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.serving import score, served

pytestmark = pytest.mark.server

CLIENTS, SECONDS = 8, 5.0
# After warming up, for a few thousand requests.
MOST_GROWTH_BYTES = 40_000_000


@pytest.fixture(scope="module")
def url(candidate_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("load")
    with served(candidate_folder, "local", folder / "log", folder) as address:
        yield address


@pytest.fixture(scope="module")
def payload(frame) -> dict:
    return {"dataframe_split": json.loads(frame.head(4).to_json(orient="split", index=False))}


def server_memory(url: str) -> int:
    """Resident bytes of all processes of the server on that port."""
    port = url.rpartition(":")[2]
    total = 0
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                command = (process / "cmdline").read_bytes().split(b"\0")
                pages = int((process / "statm").read_text().split()[1])
            except (OSError, IndexError):
                continue  # it ended meanwhile
            if port.encode() in command:
                total += pages * os.sysconf("SC_PAGE_SIZE")
    return total


def load(url: str, payload: dict, seconds: float) -> tuple[list, list]:
    """Answers and errors of `CLIENTS` that ask one after another for so long."""
    answers, errors, end = [], [], time.monotonic() + seconds

    def client() -> None:
        while time.monotonic() < end:
            try:
                answers.append(score(url, payload)["predictions"])
            except OSError as error:
                errors.append(error)

    clients = [threading.Thread(target=client) for _ in range(CLIENTS)]
    for each in clients:
        each.start()
    for each in clients:
        each.join()
    return answers, errors


def test_every_request_of_eight_clients_is_answered_and_memory_stays(url, payload):
    expected = score(url, payload)["predictions"]
    load(url, payload, SECONDS / 2)
    before = server_memory(url)
    answers, errors = load(url, payload, SECONDS)
    assert not errors and len(answers) > CLIENTS
    assert all(answer == expected for answer in answers)
    assert before and server_memory(url) - before < MOST_GROWTH_BYTES


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"dataframe_split": {"columns": ["a"], "data": [[1.0]]}}, "missing inputs"),
        (
            {"dataframe_split": {"columns": list("abcd"), "data": [["x", 1.0, 1.0, 1.0]]}},
            "not compatible with model signature",
        ),
        ({"inputs": "no rows"}, ""),
        ({"something": 1}, "must be"),
        (
            {
                "dataframe_split": {"columns": list("abcd"), "data": [[1.0] * 4]},
                "params": {"outputs": ["nothing"]},
            },
            "no output 'nothing'",
        ),
    ],
)
def test_a_bad_request_is_answered_with_4xx_and_a_sentence(url, payload, body, words):
    request = urllib.request.Request(
        f"{url}/invocations", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=60)
    assert 400 <= refused.value.code < 500
    assert words in refused.value.read().decode()
    assert score(url, payload)["predictions"]  # and the server goes on
