"""Nearest-neighbour interpolation takes the pixels that torch takes, at every size."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mlflow.models import ModelSignature
from mlflow.types import Schema, TensorSpec
from torch import nn
from torch.nn.functional import interpolate

from mlflow_onnx_flavor.frameworks.pytorch.export import Exporter
from mlflow_onnx_flavor.inputs import Inputs
from mlflow_onnx_flavor.scoring import load_session


class Resized(nn.Module):
    def __init__(self, *resizings):
        super().__init__()
        self.resizings = resizings

    def forward(self, x):
        return tuple(interpolate(x, **each) for each in self.resizings)


def numbered(dtype, *shape):
    """Pixels that all differ, so that another one shows."""
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


def exported(module, rows, signature, path):
    export = Exporter(module.eval(), Inputs(rows), signature).dynamo(path)
    session, name = load_session(str(path)).session, export.feeds[0].name
    return lambda asked: session.run(list(export.outputs), {name: asked})


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_any_open_size_to_a_fixed_one(dtype, tmp_path):
    signature = ModelSignature(Schema([TensorSpec(np.dtype(dtype), (-1, 2, -1, -1))]))
    module = Resized(
        {"size": 8},
        {"size": (141, 33)},
        {"size": 7, "mode": "nearest-exact"},
        {"scale_factor": 0.6},
        {"scale_factor": (1.3, 2.7), "mode": "nearest-exact"},
        {"scale_factor": 1.01},
        {"scale_factor": 2.0},
    )
    ask = exported(module, numbered(dtype, 2, 2, 16, 16), signature, tmp_path / "model.onnx")
    for size in [*range(5, 68, 9), 28, 56, 99, 131, 224]:
        rows = numbered(dtype, 1, 2, size, size + 1)
        expected = module(torch.from_numpy(rows))
        for each, array, exact in zip(module.resizings, ask(rows), expected, strict=True):
            np.testing.assert_array_equal(array, exact.numpy(), err_msg=f"{size} {each}")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(2, 3, 56), (2, 3, 56, 224), (2, 1, 2, 3, 56)])
def test_fixed_sizes(dtype, shape, tmp_path):
    sizes = [8, 32, 98, 159]
    modes = ["nearest", "nearest-exact"]
    module = Resized(*({"size": size, "mode": mode} for size in sizes for mode in modes))
    rows = numbered(dtype, *shape)
    found = exported(module, rows, None, tmp_path / "model.onnx")(rows)
    expected = module(torch.from_numpy(rows))
    for each, array, exact in zip(module.resizings, found, expected, strict=True):
        np.testing.assert_array_equal(array, exact.numpy(), err_msg=str(each))


def test_a_size_taken_from_another_tensor(tmp_path):
    class Alike(nn.Module):
        def forward(self, x, other):
            return interpolate(x, size=other.shape[-2:])

    signature = ModelSignature(
        Schema(
            [
                TensorSpec(np.dtype(np.float32), (-1, 1, -1, -1), "x"),
                TensorSpec(np.dtype(np.float32), (-1, 1, -1, -1), "other"),
            ]
        )
    )
    rows = {"x": numbered(np.float32, 2, 1, 5, 6), "other": numbered(np.float32, 2, 1, 8, 9)}
    path = tmp_path / "model.onnx"
    Exporter(Alike().eval(), Inputs(rows), signature).dynamo(path)
    session = load_session(str(path)).session
    x, other = numbered(np.float32, 1, 1, 16, 13), np.zeros((1, 1, 28, 41), np.float32)
    inputs = [each.name for each in session.get_inputs()]
    feeds = {inputs[0]: x} | ({inputs[1]: other} if len(inputs) > 1 else {})
    expected = interpolate(torch.from_numpy(x), size=(28, 41)).numpy()
    np.testing.assert_array_equal(session.run(None, feeds)[0], expected)
