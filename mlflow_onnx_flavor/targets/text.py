"""The graph in ONNX's own textual syntax, an assignment for each node."""

from mlflow_onnx_flavor.targets.serialized import SerializedTarget

target = SerializedTarget(
    "onnxtxt",
    (".onnxtxt", ".onnxtext"),
    "the graph in ONNX's textual syntax; import brings back what runs the same",
    cannot="metadata, documentation and names of nodes, which the syntax drops",
    lossless=False,
)
