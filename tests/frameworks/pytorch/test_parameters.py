"""A parameter of the signature that `forward` takes is never frozen in silence."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mlflow.models import ModelSignature
from mlflow.types import ParamSchema, ParamSpec, Schema, TensorSpec

from mlflow_onnx_flavor.errors import NotExportableError
from mlflow_onnx_flavor.frameworks.pytorch.export import Exporter
from mlflow_onnx_flavor.inputs import Inputs


class Scaled(torch.nn.Module):
    def forward(self, x, temperature: float = 1.0):
        return torch.softmax(x / temperature, 1)


def exporter(name, dtype):
    signature = ModelSignature(
        Schema([TensorSpec(np.dtype(dtype), (-1, 3))]),
        params=ParamSchema([ParamSpec(name, "double", 2.5)]),
    )
    return Exporter(Scaled().eval(), Inputs(np.ones((2, 3), dtype)), signature)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("strategy", [Exporter.dynamo, Exporter.script])
def test_it_is_refused_by_name(strategy, dtype, tmp_path):
    with pytest.raises(NotExportableError, match="'temperature' .* would fix at 2.5; give it to"):
        strategy(exporter("temperature", dtype), tmp_path / "model.onnx")


def test_a_parameter_that_forward_does_not_take_is_no_reason(tmp_path):
    exporter("device", np.float32).dynamo(tmp_path / "model.onnx")
