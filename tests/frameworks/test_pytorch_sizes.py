"""Axes that the signature leaves open, beside that of the batch: right at every size."""

from __future__ import annotations

import numpy as np
import pytest
from mlflow.models import ModelSignature
from mlflow.types import Schema, TensorSpec
from torch import nn

from mlflow_onnx_flavor.frameworks.not_exportable import NotExportableError
from mlflow_onnx_flavor.frameworks.pytorch_export import Exporter
from mlflow_onnx_flavor.inputs import Inputs

SIGNATURE = ModelSignature(Schema([TensorSpec(np.dtype(np.float32), (-1, -1))]))


class BranchingOnColumns(nn.Module):
    def forward(self, x):
        return x[:, :3] if x.shape[1] > 6 else x.mean(1, keepdim=True).expand(-1, 3)


def rows(count, columns):
    return np.random.default_rng(columns).normal(size=(count, columns)).astype(np.float32)


def test_a_branch_on_an_open_axis_is_not_settled_by_the_example(tmp_path):
    exporter = Exporter(BranchingOnColumns().eval(), Inputs(rows(4, 5)), SIGNATURE)
    with pytest.raises(NotExportableError, match="a size of 7 along axis 1 .* is not what the mod"):
        exporter.dynamo(tmp_path / "model.onnx")
