"""The shapes of inputs in a model's signature, in which -1 is a dynamic axis."""

from __future__ import annotations

from typing import Any


def shape_in(signature: Any, name: str) -> tuple[int, ...]:
    """Return the shape of input ``name``, or () if the signature gives none.

    ``signature`` is MLflow's, or None.
    """
    if signature is None or not signature.inputs.is_tensor_spec():
        return ()
    specs = signature.inputs.inputs
    if len(specs) == 1 and specs[0].name is None:
        return tuple(specs[0].shape)
    return next((tuple(spec.shape) for spec in specs if spec.name == name), ())
