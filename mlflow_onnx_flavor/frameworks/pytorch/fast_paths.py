"""Decompositions of PyTorch's fused attention operators into plain operators.

In eval mode without gradients `torch.nn.TransformerEncoderLayer` and `MultiheadAttention` run as
one native operator each.  A trace holds that operator, which no exporter knows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional

# The kinds of mask of aten's native attention (ATen/native/transformers/attention.cpp).
_ATTENTION_MASK, _PADDING_MASK = 0, 1


def decompositions() -> dict[Any, Callable[..., Any]]:
    """Return a table for `ExportedProgram.run_decompositions` of the fused operators alone."""
    return {
        torch.ops.aten._transformer_encoder_layer_fwd.default: _encoder_layer,
        torch.ops.aten._native_multi_head_attention.default: _attention,
    }


def _encoder_layer(
    src,
    embed_dim,
    num_heads,
    qkv_weight,
    qkv_bias,
    proj_weight,
    proj_bias,
    use_gelu,
    norm_first,
    eps,
    norm_weight_1,
    norm_bias_1,
    norm_weight_2,
    norm_bias_2,
    ffn_weight_1,
    ffn_bias_1,
    ffn_weight_2,
    ffn_bias_2,
    mask=None,
    mask_type=None,
):
    def norm_1(x):
        return functional.layer_norm(x, (embed_dim,), norm_weight_1, norm_bias_1, eps)

    def norm_2(x):
        return functional.layer_norm(x, (embed_dim,), norm_weight_2, norm_bias_2, eps)

    def attend(x):
        weights = (qkv_weight, qkv_bias, proj_weight, proj_bias)
        return _attention(x, x, x, embed_dim, num_heads, *weights, mask, False, True, mask_type)[0]

    def feed_forward(x):
        hidden = functional.linear(x, ffn_weight_1, ffn_bias_1)
        active = functional.gelu(hidden) if use_gelu else functional.relu(hidden)
        return functional.linear(active, ffn_weight_2, ffn_bias_2)

    if norm_first:
        src = src + attend(norm_1(src))
        return src + feed_forward(norm_2(src))
    src = norm_1(src + attend(src))
    return norm_2(src + feed_forward(src))


def _attention(
    query,
    key,
    value,
    embed_dim,
    num_head,
    qkv_weight,
    qkv_bias,
    proj_weight,
    proj_bias,
    mask=None,
    need_weights=True,
    average_attn_weights=True,
    mask_type=None,
):
    """Return the output and the attention weights, which are empty unless ``need_weights``.

    The inputs and the output have the shape (batch, positions, embed_dim).
    """

    def heads(x, part):
        rows = slice(part * embed_dim, (part + 1) * embed_dim)
        projected = functional.linear(x, qkv_weight[rows], qkv_bias[rows])
        split = projected.reshape(x.shape[0], x.shape[1], num_head, embed_dim // num_head)
        return split.transpose(1, 2)

    scale = (embed_dim // num_head) ** -0.5
    scores = (heads(query, 0) * scale) @ heads(key, 1).transpose(-2, -1)
    if mask is not None:
        scores = scores.masked_fill(_broadcast(mask, mask_type), float("-inf"))
    weights = scores.softmax(-1)
    mixed = (weights @ heads(value, 2)).transpose(1, 2)
    mixed = mixed.reshape(query.shape[0], query.shape[1], embed_dim)
    answer = functional.linear(mixed, proj_weight, proj_bias)
    if not need_weights:
        return answer, query.new_empty(0)
    return answer, weights.mean(1) if average_attn_weights else weights


def _broadcast(mask, mask_type):
    """Return the mask, True at excluded keys, broadcastable to (batch, heads, queries, keys)."""
    if mask_type == _PADDING_MASK:
        return mask.bool()[:, None, None, :]
    if mask_type == _ATTENTION_MASK:
        return mask.bool()[None, None, :, :]
    return mask.bool()
