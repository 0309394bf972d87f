"""Move an alias: forward to a version with passing evidence, or back to the version before.

``previous`` is set before the alias itself, so that a process that dies between the two leaves the
alias where it was.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlflow_onnx_flavor.errors import NothingToRollBackError, PromotionRefusedError
from mlflow_onnx_flavor.registry.alias_history import Movement, complete, history, movement, record
from mlflow_onnx_flavor.registry.client import aliased_version, get_version, registry_errors
from mlflow_onnx_flavor.registry.evidence import check_evidence
from mlflow_onnx_flavor.registry.lock import lock
from mlflow_onnx_flavor.registry.policy import Policy, check_policy
from mlflow_onnx_flavor.tracking.retrying import retried
from mlflow_onnx_flavor.tracking.server import check_server

if TYPE_CHECKING:
    from mlflow import MlflowClient

ANY = object()  # accepts whatever version the alias points to


def promote(
    name: str,
    version: str,
    alias: str = "champion",
    *,
    previous_alias: str = "previous",
    why: str = "",
    dry_run: bool = False,
    policy: Policy | None = None,
    expected: object = ANY,
    after_rollback: bool = True,
) -> Movement:
    """Move ``alias`` to ``version`` if its evidence passes and its bytes are the verified ones.

    The version that the alias leaves is kept under ``previous_alias``.  ``policy``: demands beyond
    the gates.  ``expected``: the version (None: no version) that the alias must still point to,
    since the evidence compares with it.  ``after_rollback``: False refuses the move where the last
    move of the alias was a rollback from this version.

    Raises ModelNotFoundError, PromotionRefusedError or DigestMismatchError; the registry is then as
    it was.
    """
    from mlflow import MlflowClient

    check_server()
    version = str(version)
    found = get_version(name, version)
    check_policy(found, check_evidence(found), policy or Policy())
    if not after_rollback:
        _check_not_rolled_back(name, alias, version)
    if dry_run:
        current = aliased_version(name, alias)
        _check_expected(name, alias, current, version, expected)
        return movement("promote", name, alias, current, version, why)
    client = MlflowClient()
    with registry_errors(f"promoting {name!r} version {version}"), lock(name, alias):
        current = aliased_version(name, alias)
        _check_expected(name, alias, current, version, expected)
        moved = movement("promote", name, alias, current, version, why)
        if current == version:
            complete(name, alias, version)
            return moved
        if current is not None:
            _point(client, name, previous_alias, current)
        _point(client, name, alias, version)
        record(moved)
        _check_still_there(name, alias, version)
    return moved


def rollback(
    name: str, alias: str = "champion", *, previous_alias: str = "previous", why: str = ""
) -> Movement:
    """Move ``alias`` back to the version under ``previous_alias``, and swap the two aliases.

    Raises NothingToRollBackError where no version is under ``previous_alias``.
    """
    from mlflow import MlflowClient

    check_server()
    client = MlflowClient()
    _before(name, alias, previous_alias)  # fail before waiting for the lock
    with registry_errors(f"rolling back {name!r}"), lock(name, alias):
        current, previous = _before(name, alias, previous_alias)
        moved = movement("rollback", name, alias, current, previous, why)
        _point(client, name, alias, previous)
        if current is not None:
            _point(client, name, previous_alias, current)
        record(moved)
        _check_still_there(name, alias, previous)
    return moved


def _point(client: MlflowClient, name: str, alias: str, version: str) -> None:
    retried(lambda: client.set_registered_model_alias(name, alias, version))


def _before(name: str, alias: str, previous_alias: str) -> tuple[str | None, str]:
    """Return the versions under both aliases.

    Raises NothingToRollBackError where ``previous_alias`` has no other version.
    """
    current, previous = aliased_version(name, alias), aliased_version(name, previous_alias)
    if previous is None or previous == current:
        raise NothingToRollBackError(
            f"{name!r} has no version under alias {previous_alias!r} to go back to; promote the"
            " version that you want instead: mlflow-onnx promote NAME VERSION"
        )
    return current, previous


def _check_not_rolled_back(name: str, alias: str, version: str) -> None:
    moves = [each for each in history(name) if each.alias == alias]
    if moves and moves[-1].action == "rollback" and moves[-1].moved_from == version:
        last = moves[-1]
        raise PromotionRefusedError(
            f"alias {alias!r} of {name!r} was rolled back from version {version} by {last.who} at"
            f" {last.when}; to promote it all the same: mlflow-onnx promote {name} {version}"
        )


def _check_expected(
    name: str, alias: str, current: str | None, version: str, expected: object
) -> None:
    if expected is ANY or current in (expected, version):
        return
    now = f"version {current}" if current else "no version"
    then = f"version {expected}" if expected else "no version"
    raise PromotionRefusedError(
        f"alias {alias!r} of {name!r} points to {now} where version {version} was compared with"
        f" {then}: another was promoted meanwhile; release again to compare with it"
    )


def _check_still_there(name: str, alias: str, version: str) -> None:
    """Raise PromotionRefusedError unless ``alias`` points to ``version``.

    A process that did not wait for the lock may have moved the alias at the same time.
    """
    current = aliased_version(name, alias)
    if current != version:
        raise PromotionRefusedError(
            f"alias {alias!r} of {name!r} was moved to version {current} by another at the same"
            f" time as to version {version}; see who with: mlflow-onnx history {name}"
        )
