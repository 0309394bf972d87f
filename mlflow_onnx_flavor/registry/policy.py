"""Demands of a promotion beyond the gates: age of the evidence, providers, approval, signature."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlflow_onnx_flavor.errors import ConfigurationError, PromotionRefusedError
from mlflow_onnx_flavor.registry.signatures import check_signature
from mlflow_onnx_flavor.schemas.configuration import Trust
from mlflow_onnx_flavor.schemas.verdict import Verdict
from mlflow_onnx_flavor.tracking.server import server_time

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

CLOCKS_DIFFER_HOURS = 0.1


@dataclass(frozen=True)
class Policy:
    """Demands on a version beyond its gates; None and empty values demand nothing.

    ``max_evidence_age_hours``: the age of the evidence, since the version was registered.
    ``required_providers``: names of execution providers on which the version must have passed.
    ``approver_tag``: a tag of the version that must not be empty, such as the approver's name.
    ``trust``: the signers of whom one must have signed the version.
    """

    max_evidence_age_hours: float | None = None
    required_providers: tuple[str, ...] = ()
    approver_tag: str | None = None
    trust: Trust | None = None

    def __post_init__(self) -> None:
        hours = self.max_evidence_age_hours
        if hours is not None and not 0 < hours < math.inf:  # rejects NaN too, which no age exceeds
            raise ConfigurationError(f"max_evidence_age_hours must be hours above 0, not {hours!r}")


def check_policy(version: ModelVersion, verdict: Verdict, policy: Policy) -> None:
    """Raise PromotionRefusedError for the first demand that the version does not meet."""
    what = f"{version.name!r} version {version.version}"
    if policy.max_evidence_age_hours is not None:
        age_hours = (server_time() - version.creation_timestamp / 1000) / 3600
        if age_hours < -CLOCKS_DIFFER_HOURS:
            raise PromotionRefusedError(
                f"{what} was registered {-age_hours:,.1f} hours after now, so how old its evidence"
                " is cannot be told: set the clock of this machine, or of the one that registered"
                " it, and release the model again"
            )
        if age_hours > policy.max_evidence_age_hours:
            raise PromotionRefusedError(
                f"the evidence of {what} is {age_hours:,.1f} hours old, where"
                f" promotion.max_evidence_age_hours is {policy.max_evidence_age_hours:g}; release"
                " the model again"
            )
    passed_on = {
        finding.execution_provider.partition(" [")[0]  # name without the session options
        for finding in verdict.findings
        if finding.candidate == verdict.chosen
    }
    for name in policy.required_providers:
        if name not in passed_on:
            raise PromotionRefusedError(
                f"{what} was judged on {', '.join(sorted(passed_on))}, and"
                f" promotion.required_providers asks for {name}; release the model again with"
                f" --execution-provider {name}"
            )
    tag = policy.approver_tag
    if tag is not None and not version.tags.get(tag, "").strip():
        raise PromotionRefusedError(
            f"{what} has no tag {tag!r}, which promotion.approver_tag asks for; whoever approves it"
            f" sets it: mlflow.MlflowClient().set_model_version_tag({version.name!r},"
            f" {version.version!r}, {tag!r}, NAME)"
        )
    if policy.trust is not None:
        check_signature(version, policy.trust)
