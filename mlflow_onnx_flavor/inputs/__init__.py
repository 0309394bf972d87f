"""Inputs: the rows that are fed to a model, and their origin.

from mlflow_onnx_flavor.inputs import Inputs, read_evaluation_data, input_example

evaluation = read_evaluation_data("eval.parquet", source.signature)
example = input_example(source)
"""

from mlflow_onnx_flavor.inputs.batches import Inputs
from mlflow_onnx_flavor.inputs.readers.evaluation import as_inputs, read_evaluation_data
from mlflow_onnx_flavor.inputs.readers.example import input_example
from mlflow_onnx_flavor.schemas.origins import (
    EVALUATION_DATA,
    EXTREME_PROBES,
    INPUT_EXAMPLE,
    PROBES,
    SEARCHED_PROBES,
)

__all__ = [
    "EVALUATION_DATA",
    "EXTREME_PROBES",
    "INPUT_EXAMPLE",
    "PROBES",
    "SEARCHED_PROBES",
    "Inputs",
    "as_inputs",
    "input_example",
    "read_evaluation_data",
]
