"""Tags of registered model versions that the package reads back."""

from __future__ import annotations

DIGEST_TAG, EVIDENCE_TAG = "onnx.digest", "onnx.evidence_run_id"
KEY_TAG = "onnx.release_key"
EVIDENCE_DIGEST_TAG = "onnx.evidence_digest"  # of the evidence as it was when it was registered
SIGNED_TAG, COPIED_TAG = "onnx.signed", "onnx.copied_from"
