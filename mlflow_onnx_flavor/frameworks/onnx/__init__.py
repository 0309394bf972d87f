"""Models that are ONNX already."""
