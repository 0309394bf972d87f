"""The graph as protobuf's text format."""

from mlflow_onnx_flavor.targets.serialized import SerializedTarget

target = SerializedTarget(
    "textproto",
    (".textproto", ".txtpb", ".prototxt", ".pbtxt"),
    "the graph as protobuf's text, a field a line; import brings it back to the byte",
    cannot="nothing that an ONNX file holds",
    lossless=True,
)
