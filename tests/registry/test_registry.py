"""The registry's own rules, on a real store: one version a release, one mover of an alias."""

from __future__ import annotations

import json
import multiprocessing
import os
import threading
import time
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer

import mlflow
import pytest
import yaml
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from mlflow_onnx_flavor import load_session, registry, release
from mlflow_onnx_flavor.configuration_file import parse_configuration
from mlflow_onnx_flavor.errors import (
    ConfigurationError,
    DigestMismatchError,
    PromotionRefusedError,
    SignatureError,
)
from mlflow_onnx_flavor.registry import lock as lock_module
from mlflow_onnx_flavor.registry import versions as versions_module
from mlflow_onnx_flavor.registry.policy import Policy
from mlflow_onnx_flavor.schemas.configuration import SigningKey, SizeGate, Trust
from mlflow_onnx_flavor.schemas.registry_tags import EVIDENCE_DIGEST_TAG, EVIDENCE_TAG
from mlflow_onnx_flavor.tracking.server import server_time
from tests.artifact.test_signing import new_key
from tests.builders import QUICK_RELEASE

pytestmark = pytest.mark.release

NAME = "Fraud model, Zürich"  # blanks, a comma, a letter beyond ASCII
CONFIGURATION = parse_configuration({**yaml.safe_load(QUICK_RELEASE), "reuse": {"enabled": False}})


@pytest.fixture(scope="module")
def two_versions(store, classifier_folder, frame):
    """The releases of versions 1 and 2, each of a conversion and gates of its own, and no alias."""
    released = []
    for candidates, most_megabytes in ((("converted", "fused"), 1000), (("converted",), 1001)):
        gates = CONFIGURATION.gates.model_copy(
            update={"size": SizeGate(max_megabytes=most_megabytes)}
        )
        configuration = CONFIGURATION.model_copy(update={"candidates": candidates, "gates": gates})
        released.append(
            release(
                str(classifier_folder),
                NAME,
                data=frame,
                configuration=configuration,
                promote_alias=False,
            )
        )
        assert released[-1].passed
    return released


@pytest.fixture
def client(two_versions):
    """No alias, no lock and no history before each test."""
    client = MlflowClient()
    model = client.get_registered_model(NAME)
    for alias in model.aliases:
        client.delete_registered_model_alias(NAME, alias)
    for tag in model.tags:
        client.delete_registered_model_tag(NAME, tag)
    return client


def aliases() -> dict[str, str]:
    found = MlflowClient().get_registered_model(NAME).aliases
    return {alias: str(version) for alias, version in found.items()}


def lock_tags() -> list[str]:
    tags = MlflowClient().get_registered_model(NAME).tags
    return [tag for tag in tags if tag.startswith(lock_module.LOCK_TAG)]


def registered(version: str, key: str):
    """What `register` is given for the artifact of that version."""
    found = registry.get_version(NAME, version)
    return registry.register(
        NAME,
        found.source,
        found.tags["onnx.digest"],
        found.tags["onnx.evidence_run_id"],
        {},
        "",
        key,
    )


def test_a_release_that_is_registered_again_is_the_same_version(client):
    first = registered("1", "the same key")
    again = registered("1", "the same key")
    other = registered("1", "another key")
    assert first == again != other
    for version in (first, other):
        client.delete_model_version(NAME, version)


def test_a_version_whose_answer_was_lost_is_found(client, monkeypatch):
    create = MlflowClient.create_model_version

    def loses_its_answer(self, *arguments, **options):
        create(self, *arguments, **options)
        raise MlflowException("connection reset")

    monkeypatch.setattr(MlflowClient, "create_model_version", loses_its_answer)
    before = {each.version for each in registry.versions_of(NAME)}
    version = registered("1", "lost")
    assert {each.version for each in registry.versions_of(NAME)} - before == {int(version)}
    client.delete_model_version(NAME, version)


def test_of_two_releases_at_once_the_first_stays(client, monkeypatch):
    """Both look, find nothing, and create."""
    with_key = versions_module.with_key
    looks = iter([None])
    first = registered("1", "race")
    monkeypatch.setattr(
        versions_module, "with_key", lambda name, key: next(looks, with_key(name, key))
    )
    before = {each.version for each in registry.versions_of(NAME)}
    assert registered("1", "race") == first
    assert {each.version for each in registry.versions_of(NAME)} == before
    client.delete_model_version(NAME, first)


def test_a_failed_registration_leaves_nothing(client):
    found = registry.get_version(NAME, "1")
    before = {each.version for each in registry.versions_of(NAME)}
    for name in (NAME, "a new name"):
        with pytest.raises(Exception, match="is not the artifact that was verified"):
            registry.register(name, found.source, "sha256:0", "run", {}, "", "wrong bytes")
    assert {each.version for each in registry.versions_of(NAME)} == before
    with pytest.raises(MlflowException):
        client.get_registered_model("a new name")


def test_more_versions_than_a_page_are_all_seen(client, monkeypatch):
    monkeypatch.setattr("mlflow_onnx_flavor.registry.client.PAGE", 1)
    assert {each.version for each in registry.versions_of(NAME)} >= {1, 2}


def test_the_alias_must_point_where_the_evidence_says(client):
    registry.promote(NAME, "1")
    with pytest.raises(PromotionRefusedError, match="points to version 1 where version 2 was"):
        registry.promote(NAME, "2", expected=None)
    assert aliases() == {"champion": "1"}
    registry.promote(NAME, "2", expected="1")
    assert aliases() == {"champion": "2", "previous": "1"} and not lock_tags()


def test_a_move_that_was_not_recorded_is_recorded_by_the_next(client):
    client.set_registered_model_alias(NAME, "champion", "1")  # and then the process was killed
    registry.promote(NAME, "1")
    (move,) = registry.history(NAME)
    assert (move.moved_from, move.moved_to) == (None, "1") and "ended before" in move.why
    registry.promote(NAME, "1")
    assert len(registry.history(NAME)) == 1


def test_what_was_rolled_back_is_promoted_by_hand_alone(client):
    registry.promote(NAME, "1")
    registry.promote(NAME, "2")
    registry.rollback(NAME)
    with pytest.raises(PromotionRefusedError, match="was rolled back from version 2 by"):
        registry.promote(NAME, "2", after_rollback=False)
    assert aliases() == {"champion": "1", "previous": "2"}
    registry.promote(NAME, "2")
    assert aliases()["champion"] == "2"


@pytest.mark.parametrize(
    ("policy", "sentence"),
    [
        (Policy(max_evidence_age_hours=1e-6), "hours old, where promotion.max_evidence_age_hours"),
        (Policy(required_providers=("CUDAExecutionProvider",)), "asks for CUDAExecutionProvider"),
        (Policy(approver_tag="approved_by"), "has no tag 'approved_by'"),
    ],
)
def test_a_policy_that_is_not_met_is_refused(client, policy, sentence):
    for dry_run in (True, False):
        with pytest.raises(PromotionRefusedError, match=sentence):
            registry.promote(NAME, "1", policy=policy, dry_run=dry_run)
    assert aliases() == {}


def test_a_policy_that_is_met_lets_it_pass(client):
    client.set_model_version_tag(NAME, "1", "approved_by", "someone")
    policy = Policy(24, ("CPUExecutionProvider",), "approved_by")
    registry.promote(NAME, "1", policy=policy)
    assert aliases() == {"champion": "1"}


def test_a_lock_of_a_process_that_was_killed_is_taken(client):
    held = {"token": "x", "by": f"{lock_module.this_process().split()[0]} 999999 1", "since": 0}
    client.set_registered_model_tag(NAME, "onnx.lock.champion", json.dumps(held))
    registry.promote(NAME, "1")
    assert aliases() == {"champion": "1"} and not lock_tags()


def test_a_lock_that_somebody_holds_is_waited_for_and_named(client, monkeypatch):
    monkeypatch.setattr(lock_module, "PATIENCE_S", 0.5)
    held = {"token": "x", "by": "another-machine 1 1", "since": time.time()}
    client.set_registered_model_tag(NAME, "onnx.lock.champion", json.dumps(held))
    with pytest.raises(PromotionRefusedError, match="is being moved by another-machine"):
        registry.promote(NAME, "1")
    assert aliases() == {} and lock_tags()


def promote_in_process(uri: str, version: str, both, outcomes) -> None:
    mlflow.set_tracking_uri(uri)
    both.wait(timeout=60)
    try:
        registry.promote(NAME, version, expected=None)
        outcomes.put((version, "moved"))
    except PromotionRefusedError as error:
        outcomes.put((version, str(error)))


def test_a_lock_that_another_writes_at_the_same_moment_is_waited_for(client, monkeypatch):
    """The database takes one of two first writes of a tag and refuses the other."""
    theirs = json.dumps({"token": "t", "by": "elsewhere 1 1", "since": time.time()})
    write = MlflowClient.set_registered_model_tag
    refused = []

    def refuse_once(self, name, key, value):
        if key.startswith(lock_module.LOCK_TAG) and not refused:
            refused.append(value)
            write(self, name, key, theirs)
            raise MlflowException("(sqlite3.IntegrityError) UNIQUE constraint failed")
        write(self, name, key, value)

    monkeypatch.setattr(MlflowClient, "set_registered_model_tag", refuse_once)
    monkeypatch.setattr(lock_module, "PATIENCE_S", 0.5)
    with pytest.raises(PromotionRefusedError, match="is being moved by elsewhere"):
        registry.promote(NAME, "1")
    client.delete_registered_model_tag(NAME, lock_module.LOCK_TAG + "champion")
    registry.promote(NAME, "1")
    assert aliases() == {"champion": "1"} and refused


def test_of_two_promotions_at_once_one_moves_the_alias_and_the_other_is_told(client, store):
    context = multiprocessing.get_context("spawn")
    both, outcomes = context.Barrier(2), context.Queue()  # both have imported what they need
    processes = [
        context.Process(target=promote_in_process, args=(store, version, both, outcomes))
        for version in ("1", "2")
    ]
    for process in processes:
        process.start()
    found = dict(outcomes.get(timeout=60) for _ in processes)
    for process in processes:
        process.join(timeout=30)
    (winner,) = (version for version, outcome in found.items() if outcome == "moved")
    (loser,) = found.keys() - {winner}
    assert f"points to version {winner}" in found[loser]
    assert aliases() == {"champion": winner} and not lock_tags()
    assert [each.moved_to for each in registry.history(NAME)] == [winner]


def test_what_must_be_signed_is_promoted_once_it_is(client, tmp_path):
    new_key(tmp_path, "ours")
    trust = Trust(public_key=str(tmp_path / "ours.pub"), require_signature=True)
    with pytest.raises(SignatureError, match="carries no signature"):
        registry.promote(NAME, "1", policy=Policy(trust=trust))
    with pytest.raises(SignatureError, match="carries no signature"):
        registry.verify(f"models:/{NAME}/1", trust)
    registry.sign_version(NAME, "1", SigningKey(private_key=str(tmp_path / "ours.pem")))
    assert registry.verify(f"models:/{NAME}/1", trust).signed
    registry.promote(NAME, "1", policy=Policy(trust=trust))
    assert aliases() == {"champion": "1"}


def test_what_is_not_signed_by_whom_is_trusted_is_not_loaded(client, frame, tmp_path):
    for name in ("ours", "theirs"):
        new_key(tmp_path, name)
    registry.sign_version(NAME, "2", SigningKey(private_key=str(tmp_path / "ours.pem")))
    client.set_registered_model_alias(NAME, "champion", "2")
    uri = f"models:/{NAME}@champion"
    session = load_session(uri, trust={"public_key": str(tmp_path / "ours.pub")})
    assert len(session.predict(frame)) == len(frame)
    with pytest.raises(SignatureError, match="not by whom is trusted"):
        load_session(uri, trust={"public_key": str(tmp_path / "theirs.pub")})
    with pytest.raises(ConfigurationError, match="trust.key"):
        load_session(uri, trust={"key": str(tmp_path / "ours.pub")})


def test_the_history_keeps_its_order_where_a_clock_is_ahead(client, monkeypatch):
    registry.promote(NAME, "1")
    ahead = datetime.now(UTC) + timedelta(hours=1)

    class Ahead(datetime):
        @classmethod
        def now(cls, tz=None):
            return ahead

    with monkeypatch.context() as elsewhere:
        elsewhere.setattr("mlflow_onnx_flavor.registry.alias_history.datetime", Ahead)
        registry.promote(NAME, "2")
    registry.rollback(NAME)
    assert [each.moved_to for each in registry.history(NAME)] == ["1", "2", "1"]
    with pytest.raises(PromotionRefusedError, match="was rolled back from version 2"):
        registry.promote(NAME, "2", after_rollback=False)


def test_a_version_from_the_future_is_not_fresh(client, monkeypatch):
    monkeypatch.setattr(
        "mlflow_onnx_flavor.registry.policy.server_time", lambda: time.time() - 2 * 3600
    )
    with pytest.raises(PromotionRefusedError, match="registered 2.0 hours after now"):
        registry.promote(NAME, "1", policy=Policy(max_evidence_age_hours=1))


def test_the_time_is_that_of_the_server(monkeypatch):
    class Answer(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()

        def date_time_string(self, timestamp=None):
            return super().date_time_string(0)

        def log_message(self, *_):
            return

    with HTTPServer(("127.0.0.1", 0), Answer) as server, monkeypatch.context() as elsewhere:
        threading.Thread(target=server.handle_request, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        elsewhere.setattr(mlflow, "get_registry_uri", lambda: url)
        assert server_time() == 0
    assert server_time() == pytest.approx(time.time(), abs=60)


@pytest.mark.slow
def test_thousands_of_versions(client):
    source = registry.get_version(NAME, "1").source
    client.create_registered_model("thousands")
    for number in range(2500):
        tags = {"onnx.release_key": f"key {number}"}
        client.create_model_version("thousands", source=source, tags=tags)
    assert sum(1 for _ in registry.versions_of("thousands")) == 2500
    assert versions_module.with_key("thousands", "key 7") == "8"
    assert versions_module.with_key("thousands", "no key") is None
    client.set_registered_model_alias("thousands", "champion", "3")
    going = [
        each
        for each in registry.superseded("thousands", older_than_days=0)
        if each.kind == "version"
    ]
    assert len(going) > 2400 and "3" not in {each.id for each in going}


def test_evidence_of_another_version_is_refused(client, two_versions):
    """Also of a version that was registered before evidence had a digest."""
    tags = registry.get_version(NAME, "2").tags
    other = registry.get_version(NAME, "1").tags[EVIDENCE_TAG]
    client.set_model_version_tag(NAME, "2", EVIDENCE_TAG, other)
    try:
        with pytest.raises(DigestMismatchError, match="is not what it was registered with"):
            registry.promote(NAME, "2")
        client.delete_model_version_tag(NAME, "2", EVIDENCE_DIGEST_TAG)
        with pytest.raises(DigestMismatchError, match="where its evidence is about"):
            registry.promote(NAME, "2")
    finally:
        for tag in (EVIDENCE_TAG, EVIDENCE_DIGEST_TAG):
            client.set_model_version_tag(NAME, "2", tag, tags[tag])


def test_what_nobody_refers_to_is_found_and_removed(client, tmp_path):
    extra = [registered("1", f"extra {number}") for number in range(3)]
    unsigned, signed, newest = extra
    client.set_model_version_tag(NAME, signed, "onnx.signed", "yes")
    client.set_registered_model_alias(NAME, "champion", "1")
    client.set_registered_model_alias(NAME, "previous", "2")
    found = registry.superseded(NAME, keep=1, older_than_days=0)
    versions = [each for each in found if each.kind == "version"]
    assert [each.id for each in versions] == [unsigned]
    assert not versions[0].evidence_run_id  # version 1 has the same evidence, and stays
    assert registry.superseded(NAME, keep=1, older_than_days=1) == []
    kept = registry.superseded(NAME, keep=9, older_than_days=0)
    assert {each.id for each in kept} == {each.id for each in found if each.kind == "candidate"}
    registry.remove(versions)
    left = {str(each.version) for each in registry.versions_of(NAME)}
    assert left == {"1", "2", signed, newest}
    for version in (signed, newest):
        client.delete_model_version(NAME, version)


def test_candidates_that_became_no_version_may_go(client, two_versions):
    used = {each.source.removeprefix("models:/") for each in registry.versions_of(NAME)}
    found = registry.superseded(NAME, older_than_days=0)
    assert not used & {each.id for each in found}
    (measured, _) = (each.summary.parity.candidates for each in two_versions)
    others = {each.uri.removeprefix("models:/") for each in measured} - used
    assert others and others <= {each.id for each in found}
    registry.remove([each for each in found if each.id in others])
    assert not others & {each.id for each in registry.superseded(NAME, older_than_days=0)}


def test_a_version_is_copied_to_another_store_with_its_evidence(
    client, store, tmp_path, monkeypatch, new_store
):
    monkeypatch.chdir(tmp_path)  # where MLflow puts artifacts of a store that says nothing else
    new_key(tmp_path, "ours")
    registry.sign_version(NAME, "2", SigningKey(private_key=str(tmp_path / "ours.pem")))
    there = new_store(tmp_path)
    copied = registry.copy(NAME, "2", to_name="in production", to_uri=there)
    assert registry.copy(NAME, "2", to_name="in production", to_uri=there) == copied
    assert mlflow.get_tracking_uri() == store and "MLFLOW_REGISTRY_URI" not in os.environ
    assert registry.get_version(NAME, "2").tags["onnx.digest"]
    try:
        mlflow.set_tracking_uri(there)
        assert len(list(registry.versions_of("in production"))) == 1
        trust = Trust(public_key=str(tmp_path / "ours.pub"), require_signature=True)
        registry.promote("in production", copied, policy=Policy(trust=trust))
        model = MlflowClient().get_registered_model("in production")
        assert {alias: str(each) for alias, each in model.aliases.items()} == {"champion": copied}
        found = registry.get_version("in production", copied)
        assert found.tags["onnx.copied_from"].endswith(f"models:/{NAME}/2")
    finally:
        mlflow.set_tracking_uri(store)


def test_what_does_not_pass_is_not_copied(client, store, tmp_path):
    mine = registry.get_version(NAME, "2").tags[EVIDENCE_TAG]
    client.set_model_version_tag(NAME, "2", EVIDENCE_TAG, "0" * 32)
    try:
        with pytest.raises(PromotionRefusedError, match="the evidence for .* cannot be read"):
            registry.copy(NAME, "2", to_name="never")
    finally:
        client.set_model_version_tag(NAME, "2", EVIDENCE_TAG, mine)
    with pytest.raises(MlflowException):
        client.get_registered_model("never")
