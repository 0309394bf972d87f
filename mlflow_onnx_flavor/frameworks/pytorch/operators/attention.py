"""PyTorch's attention, with zeros for a query whose keys are all masked.

`scaled_dot_product_attention` returns zeros for such a query, with a mask of booleans as well as of
floats (`_safe_softmax`); a plain softmax over minus infinity alone is NaN.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from mlflow_onnx_flavor.frameworks.pytorch.operators.parts import BOOL, like, op, size_along


def attention_translations() -> dict[Any, Callable[..., Any]]:
    """Return these operators' part of the table that `table.translations` returns."""
    from torch.ops import aten

    return {aten.scaled_dot_product_attention.default: _attention}


def _attention(
    query,
    key,
    value,
    attn_mask=None,
    dropout_p=0.0,
    is_causal=False,
    scale=None,
    enable_gqa=False,
):
    """``query``: of shape (..., queries, width).  The mask is True where it may be attended to."""
    # Both factors are scaled by the root, as in PyTorch, so that neither product overflows.
    root = like(math.sqrt(scale), query) if scale is not None else _root_of_scale(query)
    rank, keys = len(key.shape), key
    if enable_gqa:
        heads = query.shape[-3] // key.shape[-3]
        key, value = _repeated(key, heads), _repeated(value, heads)
    turned = [*range(rank - 2), rank - 1, rank - 2]
    scores = op.MatMul(op.Mul(query, root), op.Mul(op.Transpose(key, perm=turned), root))
    if is_causal:
        allowed = op.Trilu(_ones(query, keys), upper=0)
        scores = op.Where(op.Cast(allowed, to=BOOL), scores, like(-math.inf, query))
    elif attn_mask is not None and attn_mask.dtype == BOOL:
        scores = op.Where(attn_mask, scores, like(-math.inf, query))
    elif attn_mask is not None:
        scores = op.Add(scores, attn_mask)
    weights = op.Softmax(scores, axis=-1)
    if attn_mask is not None:
        highest = op.ReduceMax(scores, op.Constant(value_ints=[-1]), keepdims=1)
        nothing = op.Equal(highest, like(-math.inf, query))
        weights = op.Where(nothing, like(0.0, query), weights)
    return op.MatMul(weights, value)


def _root_of_scale(query):
    width = query.shape[-1]
    if isinstance(width, int):
        return like(math.sqrt(1 / math.sqrt(width)), query)
    return op.Sqrt(op.Reciprocal(op.Sqrt(op.CastLike(size_along(query, -1), query))))


def _ones(query, key):
    """Of shape (queries, keys)."""
    shape = op.Concat(size_along(query, -2), size_along(key, -2), axis=0)
    return op.Expand(op.Constant(value_int=1), shape)


def _repeated(heads, times):
    """Each head so many times, one after the other."""
    rank = len(heads.shape)
    apart = op.Unsqueeze(heads, op.Constant(value_ints=[rank - 2]))
    repeats = [1] * (rank + 1)
    repeats[rank - 2] = times
    tiled = op.Tile(apart, op.Constant(value_ints=repeats))
    shape = op.Shape(heads)
    joined = op.Concat(
        op.Slice(shape, [0], [rank - 3]),
        op.Constant(value_ints=[-1]),
        op.Slice(shape, [rank - 2], [rank]),
        axis=0,
    )
    return op.Reshape(tiled, joined)
