"""Keras models computed in float64, the reference for a model's own rounding error."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from mlflow_onnx_flavor.frameworks.base import LoadedSource
from mlflow_onnx_flavor.frameworks.tensorflow.calls import call_of, is_keras
from mlflow_onnx_flavor.inputs import Inputs

log = logging.getLogger(__name__)

# The most weights for which a float64 copy is worth its memory.
_MOST_WEIGHTS = 125_000_000
_NARROWER = {"float32", "float16", "bfloat16", "mixed_float16", "mixed_bfloat16"}


def float64_answers(source: LoadedSource) -> Callable[[Inputs], dict[str, np.ndarray]] | None:
    """Return a function that computes the model's outputs in float64.

    None if it is no Keras model, is too large, or cannot be rebuilt from its configuration.
    """
    model = source.native
    if not is_keras(model) or model.count_params() > _MOST_WEIGHTS:
        return None
    try:
        wide = type(model).from_config(_widened(model.get_config()))
        wide.set_weights([_wide(each) for each in model.get_weights()])
    except Exception:  # whatever a layer raises that has no configuration, or another shape
        log.info("the model has no copy in float64", exc_info=True)
        return None
    copy = replace(source, native=wide)

    def answers(inputs: Inputs) -> dict[str, np.ndarray]:
        call = call_of(copy, inputs)
        arrays = {name: _wide(array) for name, array in call.arrays.items()}
        return replace(call, arrays=arrays).answers()

    return answers


def _widened(config: Any) -> Any:
    if isinstance(config, dict):
        return {key: _widened(value) for key, value in config.items()}
    if isinstance(config, list | tuple):
        return type(config)(_widened(value) for value in config)
    return "float64" if isinstance(config, str) and config in _NARROWER else config


def _wide(array: np.ndarray) -> np.ndarray:
    array = np.asarray(array)
    return array.astype(np.float64) if array.dtype.kind == "f" else array
