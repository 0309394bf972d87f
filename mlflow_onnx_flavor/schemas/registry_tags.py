"""Tags of registered model versions that this package reads."""

from __future__ import annotations

DIGEST_TAG, EVIDENCE_TAG = "onnx.digest", "onnx.evidence_run_id"
KEY_TAG = "onnx.release_key"
EVIDENCE_DIGEST_TAG = "onnx.evidence_digest"  # digest of the evidence at registration
SIGNED_TAG, COPIED_TAG = "onnx.signed", "onnx.copied_from"
