"""What `torch.nn.TransformerEncoder` answers for padding, where a trace would not show it.

In eval mode the encoder drops padding (nested tensors) where that lies at the end of every row of
the batch, and fills it with zeros after its layers.  `torch.export` switches that path off: a graph
would answer numbers for padding where the module answers zeros.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def padding_as_zeros() -> Iterator[None]:
    """While a module is traced."""
    from torch import nn

    encoder: Any = nn.TransformerEncoder  # whose method is replaced
    whole = encoder.forward

    def forward(self, src, mask=None, src_key_padding_mask=None, is_causal=None):
        arguments = {"mask": mask, "src_key_padding_mask": src_key_padding_mask}
        if not _drops_padding(self, src, mask, src_key_padding_mask):
            return whole(self, src, is_causal=is_causal, **arguments)
        norm, self.norm = self.norm, None  # it comes after the zeros
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
    """The conditions of `TransformerEncoder.forward` that do not depend on values."""
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
    """Of shape (rows, positions): the padding, where that of all rows lies at their ends."""
    left_out = padding.logical_not().logical_not()  # a mask of floats has minus infinity there
    kept_later = (left_out[:, :-1] & ~left_out[:, 1:]).any()
    return left_out & ~kept_later
