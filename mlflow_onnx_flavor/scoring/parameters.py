"""Parameters at prediction time: ``model.predict(data, params={...})``.

``outputs``: names of graph outputs; a dictionary of them is returned in place of the prediction.
``batch_size``: rows a run; more rows are split, and the answers joined (`pieces`).
``timeout_seconds``: a run is stopped after that time.  ``execution_provider``: the one to run on,
in place of the model's own.  ``as_frame``: return a DataFrame with a named column for each value,
see `frames`.
"""

from __future__ import annotations

import math
import numbers
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime as ort

from .pieces import joined, split

# The parameters with values that mean "not set": MLflow gives every parameter a default.
DEFAULTS: dict[str, Any] = {
    "outputs": [],
    "batch_size": 0,
    "timeout_seconds": 0.0,
    "execution_provider": "",
    "as_frame": False,
}
_STOPPED = "terminate flag"  # in onnxruntime's message


@dataclass(frozen=True)
class Asked:
    """The parameters of one prediction."""

    outputs: tuple[str, ...] = ()
    batch_size: int = 0
    timeout_seconds: float = 0.0
    execution_provider: str = ""
    as_frame: bool = False


def asked_of(params: Mapping[str, Any]) -> Asked | None:
    """Return the parameters that ``params`` set; None where it sets none.

    Raises ValueError naming the parameter that is not valid.
    """
    if not isinstance(params, Mapping):
        raise ValueError(f"params must be a dictionary, not {params!r}")
    outputs = params.get("outputs")
    batch_size = params.get("batch_size") or 0
    timeout_seconds = params.get("timeout_seconds") or 0.0
    provider = params.get("execution_provider") or ""
    names = () if outputs is None else _listed(outputs)
    as_frame = params.get("as_frame") or False
    if not (names or batch_size or timeout_seconds or provider or as_frame):
        return None
    if not _is_number(batch_size) or batch_size < 0 or batch_size != int(batch_size):
        raise ValueError(f"params['batch_size'] must be a number of rows, not {batch_size!r}")
    if not _is_number(timeout_seconds) or timeout_seconds > threading.TIMEOUT_MAX:
        raise ValueError(f"params['timeout_seconds'] must be seconds, not {timeout_seconds!r}")
    if timeout_seconds < 0:
        raise ValueError(f"params['timeout_seconds'] must not be negative, not {timeout_seconds!r}")
    if not isinstance(provider, str):
        raise ValueError(f"params['execution_provider'] must be a name, not {provider!r}")
    if not isinstance(as_frame, bool | np.bool_):
        raise ValueError(f"params['as_frame'] must be true or false, not {as_frame!r}")
    return Asked(names, int(batch_size), float(timeout_seconds), provider, bool(as_frame))


def run_asked(
    session: ort.InferenceSession,
    names: Sequence[str],
    feeds: Mapping[str, np.ndarray],
    asked: Asked,
) -> list[Any]:
    """Return the outputs of the session, run in the pieces and the time that ``asked`` sets."""
    with _limited(asked.timeout_seconds) as options:
        pieces = split(session, names, feeds, asked.batch_size)
        if len(pieces) == 1:
            return session.run(names, pieces[0].feeds, options)
        runs = [(each.rows, session.run(names, each.feeds, options)) for each in pieces]
    return [
        joined(name, [(rows, answers[at]) for rows, answers in runs])
        for at, name in enumerate(names)
    ]


@contextmanager
def _limited(seconds: float) -> Iterator[ort.RunOptions | None]:
    """Yield options of a run that is stopped after ``seconds``; None for 0."""
    if not seconds:
        yield None
        return
    options = ort.RunOptions()
    timer = threading.Timer(seconds, lambda: setattr(options, "terminate", True))
    timer.daemon = True
    timer.start()
    try:
        yield options
    except Exception as error:  # onnxruntime's errors have no base of their own
        if _STOPPED in str(error):
            raise TimeoutError(f"the model did not answer within {seconds:g} s") from error
        raise
    finally:
        timer.cancel()


def _is_number(value: Any) -> bool:
    is_real = isinstance(value, numbers.Real) and not isinstance(value, bool)
    return is_real and math.isfinite(value)


def _listed(outputs: Any) -> tuple[str, ...]:
    if isinstance(outputs, str):
        return (outputs,)
    if not isinstance(outputs, list | tuple | np.ndarray) or np.ndim(outputs) != 1:
        raise ValueError(f"params['outputs'] must be names of outputs, not {outputs!r}")
    return tuple(map(str, outputs))
