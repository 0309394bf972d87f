"""Zeros for padding in `torch.nn.TransformerEncoder`, which a trace would not hold.

In eval mode, if the padding lies at the end of every row of the batch, the encoder drops it (nested
tensors) and fills it with zeros after its layers.  `torch.export` switches that path off, so that
the graph would return other numbers for padding than the zeros of the module.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def padding_as_zeros() -> Iterator[None]:
    """Patch the encoder within the context, so that a trace holds the zeros for padding."""
    from torch import nn

    encoder: Any = nn.TransformerEncoder  # whose method is replaced
    whole = encoder.forward

    def forward(self, src, mask=None, src_key_padding_mask=None, is_causal=None):
        arguments = {"mask": mask, "src_key_padding_mask": src_key_padding_mask}
        if not _drops_padding(self, src, mask, src_key_padding_mask):
            return whole(self, src, is_causal=is_causal, **arguments)
        norm, self.norm = self.norm, None  # the norm is applied after the zeros
        try:
            answer = whole(self, src, is_causal=is_causal, **arguments)
        finally:
            self.norm = norm
        answer = answer.masked_fill(_dropped(src_key_padding_mask)[..., None], 0.0)
        return answer if norm is None else norm(answer)

    encoder.forward = forward
    try:
        yield
    finally:
        encoder.forward = whole


def _drops_padding(encoder: Any, src: Any, mask: Any, padding: Any) -> bool:
    """Return whether the conditions of `TransformerEncoder.forward` on shapes and settings hold."""
    import torch

    return (
        torch.backends.mha.get_fastpath_enabled()
        and getattr(encoder, "use_nested_tensor", False)
        and not encoder.layers[0].training
        and src.dim() == 3
        and padding is not None
        and mask is None
        and not torch.is_autocast_enabled()
    )


def _dropped(padding: Any) -> Any:
    """Return where padding is dropped, of shape (rows, positions).

    That is nowhere unless the padding of all rows lies at their ends.
    """
    left_out = padding.logical_not().logical_not()  # a mask of floats has minus infinity there
    kept_later = (left_out[:, :-1] & ~left_out[:, 1:]).any()
    return left_out & ~kept_later
