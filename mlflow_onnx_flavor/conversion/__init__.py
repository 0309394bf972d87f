"""Conversion of a source model to an ONNX model, with a record of every strategy tried."""
