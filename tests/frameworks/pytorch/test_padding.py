"""Rows of padding alone are answered as torch answers them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention

from mlflow_onnx_flavor.frameworks.pytorch.calls import named_outputs
from mlflow_onnx_flavor.frameworks.pytorch.export import Exporter
from mlflow_onnx_flavor.inputs import Inputs
from mlflow_onnx_flavor.scoring import load_session


def of_floats(mask, x):
    return torch.zeros_like(mask, dtype=x.dtype).masked_fill(mask == 0, float("-inf"))


class Attention(nn.Module):
    """The operator itself: masks of floats and of truth values, two to four axes."""

    def forward(self, x, mask):
        floats, truth = of_floats(mask, x)[:, None, :], (mask != 0)[:, None, :]
        heads = x.reshape(x.shape[0], x.shape[1], 2, -1).transpose(1, 2)
        return (
            scaled_dot_product_attention(x, x, x, attn_mask=floats),
            scaled_dot_product_attention(heads, heads, heads, attn_mask=truth[:, None]),
            scaled_dot_product_attention(heads, heads, heads, attn_mask=floats[:, None], scale=0.3),
            scaled_dot_product_attention(heads, heads[:, :1], heads[:, :1], enable_gqa=True),
            scaled_dot_product_attention(heads, heads, heads, is_causal=True),
        )


class Encoder(nn.Module):
    def __init__(self, floats, norm=None):
        super().__init__()
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.encoder, self.floats = nn.TransformerEncoder(layer, 2, norm), floats

    def forward(self, x, mask):
        padding = of_floats(mask, x) if self.floats else mask == 0
        encoded = self.encoder(x, src_key_padding_mask=padding)
        return encoded, encoded.mean(1)


class Heads(nn.Module):
    def __init__(self):
        super().__init__()
        self.heads = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x, mask):
        return self.heads(x, x, x, key_padding_mask=of_floats(mask, x), need_weights=False)[0]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "module", [Attention(), Encoder(False), Encoder(True, nn.LayerNorm(8)), Heads()]
)
def test_what_is_padded_is_answered_as_in_torch(module, dtype, tmp_path):
    torch.manual_seed(0)
    module = module.to(torch.float64 if dtype == np.float64 else torch.float32).eval()
    rows = np.random.default_rng(0).normal(size=(4, 5, 8)).astype(dtype)
    at_the_end = np.ones((4, 5), np.int64)
    at_the_end[0, 2:] = at_the_end[2] = 0
    within = at_the_end.copy()
    within[1, 1] = 0
    path = tmp_path / "model.onnx"
    example = {"x": rows[:2], "mask": at_the_end[:2]}
    export = Exporter(module, Inputs(example), None).dynamo(path)
    session = load_session(str(path)).session
    names = [each.name for each in session.get_inputs()]
    for mask in (at_the_end, within):
        expected = named_outputs(module, Inputs({"x": rows, "mask": mask}))
        found = session.run(list(export.outputs), dict(zip(names, (rows, mask), strict=True)))
        for array, (name, exact) in zip(found, expected.items(), strict=True):
            assert mask is within or np.isfinite(exact).all(), name
            sure = np.isfinite(exact)
            np.testing.assert_allclose(array[sure], exact[sure], rtol=2e-5, atol=2e-6, err_msg=name)
