"""LightGBM models."""

from mlflow_onnx_flavor.frameworks.face import Face, Precedence

face = Face(
    flavors=("lightgbm",),
    extra="lightgbm",
    modules=("lightgbm", "sklearn"),
    distributions=("lightgbm", "onnx", "numpy"),
    precedence=Precedence.WRAPPER,
)
