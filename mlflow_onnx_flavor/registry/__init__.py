"""The registry: register, promote, rollback, history.  Aliases move last, and only to evidence.

version = register("fraud-onnx", model_uri, digest, evidence_run_id, tags, description, key)
promote("fraud-onnx", version)
rollback("fraud-onnx")
"""

from mlflow_onnx_flavor.registry.alias_history import Movement, history
from mlflow_onnx_flavor.registry.aliases import ANY, promote, rollback
from mlflow_onnx_flavor.registry.client import aliased_version, get_version, versions_of
from mlflow_onnx_flavor.registry.evidence import check_evidence
from mlflow_onnx_flavor.registry.policy import Policy
from mlflow_onnx_flavor.registry.retention import Superseded, remove, superseded
from mlflow_onnx_flavor.registry.signatures import sign_version
from mlflow_onnx_flavor.registry.transfer import copy
from mlflow_onnx_flavor.registry.verification import Verification, verify
from mlflow_onnx_flavor.registry.versions import register

__all__ = [
    "ANY",
    "Movement",
    "Policy",
    "Superseded",
    "Verification",
    "aliased_version",
    "check_evidence",
    "copy",
    "get_version",
    "history",
    "promote",
    "register",
    "remove",
    "rollback",
    "sign_version",
    "superseded",
    "verify",
    "versions_of",
]
