"""No pass over an exported graph compares constants with a tolerance."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from mlflow_onnx_flavor.frameworks.pytorch.export import Exporter
from mlflow_onnx_flavor.inputs import Inputs
from mlflow_onnx_flavor.scoring import load_session


class Guarded(nn.Module):
    """Divisions and logarithms that small constants keep from zero."""

    def forward(self, x):
        y = x.clamp_min(0)
        return (
            x / (x.abs().sum(1, keepdim=True) + 1e-12),
            torch.log(y + 1e-9),
            y * torch.log(y + 1e-10),
            (y - 1e-9).abs().log(),
            y.std(1) / (y.mean(1) + 1e-30),
        )


class OfNumbers(nn.Module):
    """Operators that are given numbers of Python, which float32 does not hold."""

    def forward(self, x):
        return (
            x + 1e-9,
            x * 0.1,
            x.clamp(0.1, 0.3),
            x.clamp_max(0.3),
            nn.functional.leaky_relu(x, 0.1),
            nn.functional.elu(x, 0.1),
            nn.functional.selu(x),
            torch.where(x > 0, x, 0.1),
            x.masked_fill(x > 0, 0.1),
            torch.full_like(x, 0.1) * x,
            x.new_full((1, 3), 0.1) * x,
            torch.full((3,), 0.1, dtype=x.dtype) * x,
            nn.functional.hardtanh(x, -0.1, 0.1),
            nn.functional.threshold(x, 0.1, 0.7),
        )


def answers(module, rows, path, asked):
    export = Exporter(module.eval(), Inputs(rows), None).dynamo(path)
    return load_session(str(path)).session.run(list(export.outputs), {export.feeds[0].name: asked})


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rows_of_zeros_are_guarded_as_in_torch(dtype, tmp_path):
    rows = np.random.default_rng(0).normal(size=(4, 3)).astype(dtype)
    asked = np.concatenate([np.zeros((1, 3), dtype), np.ones((1, 3), dtype), rows])
    found = answers(Guarded(), rows, tmp_path / "model.onnx", asked)
    close = 1e-5 if dtype == np.float32 else 1e-12
    for array, exact in zip(found, Guarded()(torch.from_numpy(asked)), strict=True):
        np.testing.assert_allclose(array, exact.numpy(), rtol=close, atol=close)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_numbers_keep_the_digits_of_the_tensors_beside_them(dtype, tmp_path):
    rows = np.random.default_rng(0).normal(size=(4, 3)).astype(dtype)
    found = answers(OfNumbers(), rows, tmp_path / "model.onnx", rows)
    close = 1e-6 if dtype == np.float32 else 1e-14
    expected = OfNumbers()(torch.from_numpy(rows))
    for at, (array, exact) in enumerate(zip(found, expected, strict=True)):
        np.testing.assert_allclose(array, exact.numpy(), rtol=close, atol=0, err_msg=str(at))


def test_what_is_constant_is_computed_once(tmp_path):
    class Shapes(nn.Module):
        def forward(self, x):
            positions = torch.arange(x.shape[1]).reshape(1, -1).expand(x.shape[0], -1)
            return x.reshape(x.shape[0], -1) + positions.to(x.dtype) * 2

    rows = np.zeros((4, 3), np.float32)
    answers(Shapes(), rows, tmp_path / "model.onnx", rows)
    kinds = [node.op_type for node in onnx.load(str(tmp_path / "model.onnx")).graph.node]
    assert "Range" not in kinds and "Identity" not in kinds
