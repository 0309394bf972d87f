"""The face of models that are ONNX already."""

from mlflow_onnx_flavor.frameworks.face import Face, Precedence

face = Face(
    flavors=("mlflow_onnx_flavor", "onnx"),
    extra="all",
    modules=("onnx", "onnxruntime"),
    distributions=("onnx", "onnxruntime", "numpy"),
    precedence=Precedence.EXPORTED,
)
