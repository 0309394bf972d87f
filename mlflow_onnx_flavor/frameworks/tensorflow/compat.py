"""What is private in Keras, tf2onnx and MLflow, and what is changed in them: here and nowhere else.

Each entry says why it is needed; `tests/frameworks/tensorflow/test_compat.py` fails where one is
needed no longer.
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
    """Lend NumPy the `product` that version 2 dropped.

    Why: tf2onnx (1.17, ``graph.py``) weighs the tensors of a large model with it.
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
    """Return the layers directly within ``layer``, a model or a layer with others inside.

    Why: Keras gives ``layers`` to models alone.
    """
    return layer._flatten_layers(include_self=False, recursive=False)


@contextmanager
def called_through(layer: Any, call: Callable[..., Any]) -> Iterator[None]:
    """While it lasts, ``layer`` computes with ``call`` in place of its own method.

    Why: Keras has no hooks that see what a layer answers.  Past its own ``__setattr__``, which
    tracks what a layer is made of.
    """
    object.__setattr__(layer, "call", call)
    try:
        yield
    finally:
        object.__delattr__(layer, "call")


def served_as_keras(model: Any, signature: Any) -> Any:
    """Return MLflow's wrapper of a Keras model around ``model``.

    Why: MLflow makes one only of a file that Keras 3 reads.
    """
    return mlflow.tensorflow._KerasModelWrapper(model, signature)


@contextmanager
def steps_as_rows() -> Iterator[None]:
    """While it lasts, TimeDistributed layers give their layer the steps of all rows as rows.

    Why: where the number of steps is not known, Keras (3.15) maps over as many steps as there are
    rows, so every graph with an open axis of steps is wrong; called with arrays Keras runs every
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
