"""The graph as JSON, in protobuf's own mapping."""

from mlflow_onnx_flavor.targets.serialized import SerializedTarget

target = SerializedTarget(
    "json",
    (".json", ".onnxjson"),
    "the graph as JSON, to read, to compare and to query; import brings it back to the byte",
    cannot="texts that are no UTF-8",
    lossless=True,
)
