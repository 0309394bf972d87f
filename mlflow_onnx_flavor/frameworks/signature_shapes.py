"""The shapes that a model's signature gives its inputs, in which -1 is an axis that varies."""

from __future__ import annotations

from typing import Any


def shape_in(signature: Any, name: str) -> tuple[int, ...]:
    """The shape of input ``name``; () where the signature gives none.

    ``signature``: MLflow's, or None.
    """
    if signature is None or not signature.inputs.is_tensor_spec():
        return ()
    specs = signature.inputs.inputs
    if len(specs) == 1 and specs[0].name is None:
        return tuple(specs[0].shape)
    return next((tuple(spec.shape) for spec in specs if spec.name == name), ())
