"""PyTorch modules and programs."""

from mlflow_onnx_flavor.frameworks.face import Face

face = Face(
    flavors=("pytorch",),
    extra="torch",
    modules=("torch", "onnxscript"),
    distributions=("torch", "onnxscript", "onnx", "numpy"),
)
