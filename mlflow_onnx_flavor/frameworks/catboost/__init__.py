"""CatBoost models."""

from mlflow_onnx_flavor.frameworks.face import Face, Precedence

face = Face(
    flavors=("catboost",),
    extra="catboost",
    modules=("catboost",),
    distributions=("catboost", "onnx", "numpy"),
    precedence=Precedence.WRAPPER,
)
