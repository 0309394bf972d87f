"""Tags of the runs of a release's steps."""

from __future__ import annotations

STEP_TAG, KEY_TAG, DONE_TAG = "onnx.step", "onnx.key", "onnx.done"
ERROR_TAG, VERDICT_TAG = "onnx.error", "onnx.verdict"
PROCESS_TAG = "onnx.process"  # the process that works on the run, as long as it does
