"""XGBoost models."""

from mlflow_onnx_flavor.frameworks.face import Face, Precedence

face = Face(
    flavors=("xgboost",),
    extra="xgboost",
    modules=("xgboost", "sklearn"),
    distributions=("xgboost", "onnx", "numpy"),
    precedence=Precedence.WRAPPER,
)
