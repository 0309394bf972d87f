"""Keras's TimeDistributed over an axis of steps that is open: all steps at once, as rows.

Where the number of steps is not known, Keras (3.15) maps over as many steps as there are rows;
called with arrays it takes every step, and so do graphs made here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def steps_as_rows() -> Iterator[None]:
    """While it lasts, TimeDistributed layers give their layer the steps of all rows as rows."""
    from keras.layers import TimeDistributed

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
    import tensorflow as tf

    flat = tf.reshape(tensor, tf.concat([[-1], tf.shape(tensor)[2:]], 0))
    return tf.ensure_shape(flat, [None, *tensor.shape[2:]])


def _as_steps(flat: Any, given: Any) -> Any:
    import tensorflow as tf

    steps = tf.reshape(flat, tf.concat([tf.shape(given)[:2], tf.shape(flat)[1:]], 0))
    return tf.ensure_shape(steps, [*given.shape[:2], *flat.shape[1:]])
