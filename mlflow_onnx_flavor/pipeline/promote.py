"""Step 7 and its reverse: move the alias to a version with passing evidence, or move it back."""

from __future__ import annotations

from collections.abc import Callable

from mlflow_onnx_flavor import registry
from mlflow_onnx_flavor.pipeline.runs import log_record, step_run
from mlflow_onnx_flavor.registry import ANY, Movement, Policy
from mlflow_onnx_flavor.schemas.configuration import Configuration, Promotion

MOVEMENT = "movement.json"


def promote(
    registered_model: str,
    version: str,
    configuration: Configuration,
    *,
    why: str = "",
    expected: object = ANY,
    after_rollback: bool = True,
    parent_run_id: str | None = None,
) -> Movement:
    """Move the alias to ``version``, as `registry.promote` does, and record the move as a run."""
    return _recorded(
        "promote",
        parent_run_id,
        lambda: registry.promote(
            registered_model,
            version,
            configuration.promotion.alias,
            previous_alias=configuration.promotion.previous_alias,
            why=why,
            policy=policy_of(configuration),
            expected=expected,
            after_rollback=after_rollback,
        ),
    )


def policy_of(configuration: Configuration) -> Policy:
    """Return the demands that the configuration makes on a version beyond its gates."""
    promotion, trust = configuration.promotion, configuration.trust
    return Policy(
        trust=trust if trust.require_signature else None,
        max_evidence_age_hours=promotion.max_evidence_age_hours,
        required_providers=promotion.required_providers,
        approver_tag=promotion.approver_tag,
    )


def rollback(
    registered_model: str,
    promotion: Promotion,
    *,
    why: str = "",
    parent_run_id: str | None = None,
) -> Movement:
    """Move the alias back, as `registry.rollback` does, and record the move as a run."""
    return _recorded(
        "rollback",
        parent_run_id,
        lambda: registry.rollback(
            registered_model,
            promotion.alias,
            previous_alias=promotion.previous_alias,
            why=why,
        ),
    )


def _recorded(step: str, parent_run_id: str | None, move: Callable[[], Movement]) -> Movement:
    import mlflow

    with step_run(step, parent_run_id):
        movement = move()
        mlflow.log_params(
            {
                "model_name": movement.name,
                "moved_alias": movement.alias,
                "moved_from": movement.moved_from or "",
                "moved_to": movement.moved_to,
            }
        )
        log_record(movement, MOVEMENT)
        return movement
