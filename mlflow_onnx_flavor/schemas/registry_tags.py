"""Tags of registered model versions that the package reads back."""

from __future__ import annotations

DIGEST_TAG, EVIDENCE_TAG = "onnx.digest", "onnx.evidence_run_id"
KEY_TAG = "onnx.release_key"
