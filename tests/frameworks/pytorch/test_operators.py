"""Operators that PyTorch's exporter stumbles over: right at every batch size."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from mlflow_onnx_flavor.frameworks.pytorch.calls import named_outputs
from mlflow_onnx_flavor.frameworks.pytorch.export import Exporter
from mlflow_onnx_flavor.inputs import Inputs
from mlflow_onnx_flavor.scoring import load_session


class Of(nn.Module):
    """Several functions of the same rows."""

    def __init__(self, *functions):
        super().__init__()
        self.functions = functions

    def forward(self, x):
        return tuple(function(x) for function in self.functions)


def test_what_is_subtracted_from_a_number_is_promoted_as_torch_does(tmp_path):
    rows = np.random.default_rng(0).integers(0, 5, (33, 3))
    module = Of(
        lambda x: 1.0 - x,
        lambda x: torch.rsub(x, 1.5, alpha=2),
        lambda x: 3 - x,
        lambda x: 2.0 - x.float(),
    )
    check(module, rows, tmp_path / "model.onnx")


def check(module, rows, path):
    """Compare the graph that dynamo makes of ``module`` with it, at several batch sizes."""
    export = Exporter(module.eval(), Inputs(rows[:4]), None).dynamo(path)
    session = load_session(str(path)).session
    for count in (1, 3, 33):
        asked = rows[:count]
        expected = named_outputs(module, Inputs(asked))
        found = session.run(list(export.outputs), {export.feeds[0].name: asked})
        for array, (name, exact) in zip(found, expected.items(), strict=True):
            assert array.dtype == exact.dtype, name
            np.testing.assert_allclose(array, exact, rtol=2e-5, atol=2e-6, err_msg=name)
