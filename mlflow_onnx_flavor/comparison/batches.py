"""The answers to several batches, joined into one array."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mlflow_onnx_flavor.errors import UnsupportedModelError


def joined(name: str, parts: Sequence[np.ndarray]) -> np.ndarray:
    """Concatenate ``parts``, each of shape (rows, ...), along the rows.

    Scores may have an axis whose length depends on the batch, such as the embeddings of its tokens:
    shorter parts are padded with NaN, which equals nothing but another NaN, so that two models
    agree only where both are equally short.  Raises UnsupportedModelError for other arrays whose
    shape changes.
    """
    if len({part.shape[1:] for part in parts}) == 1:
        return np.concatenate(parts)
    if len({part.ndim for part in parts}) > 1 or any(part.dtype.kind != "f" for part in parts):
        shapes = sorted({part.shape for part in parts})
        raise UnsupportedModelError(
            f"output {name!r} changes its shape from batch to batch, such as {shapes[0]} and"
            f" {shapes[-1]}; parity needs one shape for all rows"
        )
    shape = np.max([part.shape[1:] for part in parts], axis=0)
    whole = np.full((sum(map(len, parts)), *shape), np.nan, np.result_type(*parts))
    row = 0
    for part in parts:
        whole[(slice(row, row + len(part)), *map(slice, part.shape[1:]))] = part
        row += len(part)
    return whole
