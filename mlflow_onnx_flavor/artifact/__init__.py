"""A logged ONNX model: its files, digests and signature, and the code that it may bring."""
