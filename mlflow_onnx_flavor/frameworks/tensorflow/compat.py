"""Private APIs of Keras and MLflow, and patches to NumPy and Keras: all of them are in this module.

Each entry says why it is needed; `tests/frameworks/tensorflow/test_compat.py` fails when an entry
is no longer needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import mlflow.tensorflow
import numpy as np
import tensorflow as tf
from keras.layers import TimeDistributed


@contextmanager
def numpy_product() -> Iterator[None]:
    """Restore the function `numpy.product`, which NumPy 2 removed, within the context.

    Why: tf2onnx (1.17, ``graph.py``) computes the sizes of a large model's tensors with it.
    """
    numpy: Any = np  # whose types know no `product`
    if hasattr(numpy, "product"):
        yield
        return
    numpy.product = np.prod
    try:
        yield
    finally:
        del numpy.product


def layers_of(layer: Any) -> list[Any]:
    """Return the layers directly within ``layer``, a model or a layer that contains others.

    Why: in Keras only models have the attribute ``layers``.
    """
    return layer._flatten_layers(include_self=False, recursive=False)


@contextmanager
def called_through(layer: Any, call: Callable[..., Any]) -> Iterator[None]:
    """Replace the method ``call`` of ``layer`` by ``call``, within the context.

    Why: Keras has no hooks that see the output of a layer.  The layer's own ``__setattr__`` is
    bypassed, since it tracks the parts of a layer.
    """
    object.__setattr__(layer, "call", call)
    try:
        yield
    finally:
        object.__delattr__(layer, "call")


def served_as_keras(model: Any, signature: Any) -> Any:
    """Return MLflow's wrapper of a Keras model around ``model``.

    Why: MLflow makes this wrapper only from a file that Keras 3 reads.
    """
    return mlflow.tensorflow._KerasModelWrapper(model, signature)


@contextmanager
def steps_as_rows() -> Iterator[None]:
    """Make TimeDistributed layers pass the steps of all rows as rows, within the context.

    Why: if the number of steps is unknown, Keras (3.15) maps over as many steps as there are rows,
    so that every graph with a dynamic axis of steps is wrong; called with arrays, Keras runs every
    step.  No report upstream is known.
    """
    own = TimeDistributed.call

    def call(self: Any, inputs: Any, training: Any = None, mask: Any = None) -> Any:
        if inputs.shape[1] is not None:
            return own(self, inputs, training=training, mask=mask)
        options = {}
        if self.layer._call_has_mask_arg and mask is not None:
            options["mask"] = _as_rows(mask)
        if self.layer._call_has_training_arg:
            options["training"] = training
        return _as_steps(self.layer.call(_as_rows(inputs), **options), inputs)

    TimeDistributed.call = call
    try:
        yield
    finally:
        TimeDistributed.call = own


def _as_rows(tensor: Any) -> Any:
    flat = tf.reshape(tensor, tf.concat([[-1], tf.shape(tensor)[2:]], 0))
    return tf.ensure_shape(flat, [None, *tensor.shape[2:]])


def _as_steps(flat: Any, given: Any) -> Any:
    steps = tf.reshape(flat, tf.concat([tf.shape(given)[:2], tf.shape(flat)[1:]], 0))
    return tf.ensure_shape(steps, [*given.shape[:2], *flat.shape[1:]])
