"""Comparison of an exported file with its module, at the sizes that the module accepts."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mlflow_onnx_flavor.errors import NotExportableError, one_line
from mlflow_onnx_flavor.frameworks.other_sizes import alike, of_other_sizes
from mlflow_onnx_flavor.frameworks.pytorch.calls import (
    Call,
    call_of,
    named_outputs,
    parameters_of,
    tensors_of,
)
from mlflow_onnx_flavor.frameworks.pytorch.float64 import exact_answers
from mlflow_onnx_flavor.frameworks.pytorch.floats import HALF
from mlflow_onnx_flavor.frameworks.pytorch.sizes import edges
from mlflow_onnx_flavor.frameworks.tensor_names import graph_inputs
from mlflow_onnx_flavor.inputs import Inputs
from mlflow_onnx_flavor.scoring import load_session

log = logging.getLogger(__name__)

_NO_KERNEL = re.compile(r"Could not find an implementation for (\w+)\(\d+\)")


def check_sizes(
    model: Any,
    example: Inputs,
    path: Path,
    call: Call,
    outputs: tuple[str, ...],
    floats: Collection[str],
    program: Any = None,
) -> set[str]:
    """Raise NotExportableError if graph and ``model`` differ at a size that the model accepts.

    ``call`` is the call on the example, ``floats`` the float dtypes that the model computes in, and
    ``program`` the result of torch.onnx.export, if the export made one.  Returns the names of the
    inputs that the graph has.
    """
    inputs = graph_inputs(call.names, outputs)
    session = _opened(path, floats)
    taken = {each.name for each in session.get_inputs()}
    keys = dict(zip(inputs, call.names, strict=True))
    coarse = bool(HALF.intersection(floats))
    for what, rows in of_other_sizes(example, session, keys, *edges(program)):
        try:
            expected = named_outputs(model, rows)
        except (RuntimeError, AssertionError, IndexError, ValueError):
            continue  # the module itself does not accept this size
        refuse_without_rows(expected, what)
        tensors = tensors_of(call_of(model, rows))
        feeds = {name: each.numpy() for name, each in zip(inputs, tensors, strict=True)}
        feeds = {name: array for name, array in feeds.items() if name in taken}
        found = _found(session, outputs, feeds)
        wrong = _unlike(expected, found)
        if wrong and coarse:  # half precision rounds coarsely: compare with float64 outputs instead
            wrong = _unlike(exact_answers(model, rows), found, wrong)
        if wrong:
            raise NotExportableError(_in_words(wrong[0], what))
    return taken


def refuse_parameters(model: Any, signature: Any) -> None:
    """Raise NotExportableError if ``forward`` has a parameter that is among the signature's params.

    The graph would fix the parameter at its default, whichever ``params`` are passed for scoring.
    """
    declared = signature.params.params if getattr(signature, "params", None) else ()
    taken = set(parameters_of(model))
    for each in declared:
        if each.name in taken:
            raise NotExportableError(
                f"the signature's parameter {each.name!r} is one of the module's forward(), which"
                f" the graph would fix at {each.default!r}; give it to forward() as an input tensor"
                " of the signature, or log the model without it among the params"
            )


def refuse_without_rows(answers: Mapping[str, np.ndarray], what: str) -> None:
    """Raise NotExportableError if an output is a single number without an axis of rows.

    ``what`` names the inputs in the message, such as "a batch of 3".
    """
    for name, array in answers.items():
        if array.ndim == 0:
            raise NotExportableError(
                f"for {what}, {name!r} is one number without an axis of rows; keep the rows, as"
                " squeeze(-1) does where squeeze() does not and a mean over axis 1 does, or leave"
                " it out of what the module returns"
            )


def _unlike(
    expected: Mapping[str, np.ndarray],
    found: Mapping[str, np.ndarray],
    names: Sequence[str] | None = None,
) -> list[str]:
    """Return those of ``names`` (default: all expected) that are missing or differ."""
    return [
        name
        for name in (expected if names is None else names)
        if name not in expected or name not in found or not alike(expected[name], found[name])
    ]


def _in_words(name: str, what: str) -> str:
    if not what:
        return (
            f"{name!r} of the exported graph is not what the module answers for the example itself:"
            " the exporter mistakes one of its operators; compute it in another way"
        )
    size = "the size of the batch" if what.startswith("a batch") else "that size"
    return (
        f"for {what}, {name!r} is not what the module answers: what the module does depends on"
        f" {size}, which the exporter settled by its example; take {size} out of its branches"
    )


def _opened(path: Path, floats: Collection[str]) -> Any:
    """Return a session of the exported file; raise NotExportableError if onnxruntime rejects it."""
    try:
        return load_session(str(path)).session
    except Exception as error:  # onnxruntime's errors have no common base class
        if "bfloat16" in floats:
            raise NotExportableError(
                "the model computes in bfloat16, for which onnxruntime's CPU provider lacks"
                " operators"
            ) from error
        if missing := _NO_KERNEL.search(str(error)):
            dtype = "float64" if "float64" in floats else "the dtype that the model gives it"
            raise NotExportableError(
                f"onnxruntime's CPU provider has no {missing.group(1)} in {dtype}"
            ) from error
        reason = one_line(error).rpartition(" failed:")[2]
        raise NotExportableError(
            f"onnxruntime does not take what the exporter made ({reason}); write the part that it"
            " names in another way"
        ) from error


def _found(
    session: Any, outputs: tuple[str, ...], feeds: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Return the outputs of the file; an empty dict if it fails, as with a fixed inner shape."""
    try:
        return dict(zip(outputs, session.run(list(outputs), dict(feeds)), strict=True))
    except Exception:  # onnxruntime's errors have no common base class
        log.info("the exported file fails", exc_info=True)
        return {}
