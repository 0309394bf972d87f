"""Workloads: the batch size and sequence length of a call, and the inputs for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from mlflow_onnx_flavor.errors import ConfigurationError
from mlflow_onnx_flavor.inputs import Inputs
from mlflow_onnx_flavor.inputs.probes.axis_sizes import axes_of, resized
from mlflow_onnx_flavor.onnx_graph.axes import Axis

# The paths of a call: the model's pyfunc, as it is served, or onnxruntime's session alone, with
# feeds that are ready.
PYFUNC, SESSION = "pyfunc", "session"


@dataclass(frozen=True)
class Workload:
    """A call of ``batch_size`` rows, ``sequence_length`` long on the open axis (None: as it is)."""

    batch_size: int
    sequence_length: int | None = None

    def __str__(self) -> str:
        length = "" if self.sequence_length is None else f" of length {self.sequence_length}"
        return f"{self.batch_size}{length}"

    def as_arguments(self) -> dict[str, Any]:
        """Return the fields as they cross the boundary of a process."""
        return {"batch_size": self.batch_size, "sequence_length": self.sequence_length}


def workloads(
    batch_sizes: Sequence[int], sequence_lengths: Sequence[int] = ()
) -> tuple[Workload, ...]:
    """Return every batch size at every sequence length once, the smallest first."""
    lengths: list[int] | list[None] = sorted(set(sequence_lengths)) or [None]
    return tuple(Workload(size, length) for length in lengths for size in sorted(set(batch_sizes)))


def inputs_by_length(
    inputs: Inputs, axes: Sequence[Sequence[Axis]], sequence_lengths: Sequence[int]
) -> dict[int | None, Inputs]:
    """Return the rows at every length, cut or repeated from the start; unchanged rows under None.

    ``axes``: the axes that the graph leaves open beside the batch, grouped by equal size; the first
    group that the inputs have is the sequence.  Raises ConfigurationError if there is none.
    """
    if not sequence_lengths:
        return {None: inputs}
    arrays = inputs.data if isinstance(inputs.data, dict) else {"": inputs.data}
    group = next(axes_of(arrays, axes), None)
    if group is None or isinstance(inputs.data, pd.DataFrame):
        raise ConfigurationError(
            "latency.sequence_lengths needs inputs with an open axis beside the batch, and these"
            " have none; leave it out"
        )
    made = {length: resized(arrays, group, length) for length in sorted(set(sequence_lengths))}
    return {
        length: Inputs(each if isinstance(inputs.data, dict) else each[""], inputs.origin)
        for length, each in made.items()
    }
