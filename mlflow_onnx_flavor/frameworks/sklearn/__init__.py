"""scikit-learn estimators and pipelines."""

from mlflow_onnx_flavor.frameworks.face import Face, Precedence

face = Face(
    flavors=("sklearn",),
    extra="sklearn",
    modules=("sklearn", "skl2onnx"),
    distributions=("scikit-learn", "skl2onnx", "onnx", "numpy"),
    precedence=Precedence.INTERFACE,
)
