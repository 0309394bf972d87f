"""Read, walk, build and edit ONNX graphs."""
