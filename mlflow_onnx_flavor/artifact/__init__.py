"""A logged ONNX model: its files, digests, signature, and the code that it may bring."""
