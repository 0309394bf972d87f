"""Parameters at prediction time: ``model.predict(data, params={...})``.

``outputs``: names of graph outputs, which are given as a dictionary in place of the prediction.
``batch_size``: rows a run; more are split, and the answers put together.  ``timeout_seconds``:
after which a run is stopped.  ``execution_provider``: to run on, in place of the model's own.
``as_frame``: a DataFrame with a named column for each value, see `frames`.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime as ort

# With the values that stand for nothing: MLflow gives every parameter a default.
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
    outputs: tuple[str, ...] = ()
    batch_size: int = 0
    timeout_seconds: float = 0.0
    execution_provider: str = ""
    as_frame: bool = False


def asked_of(params: Mapping[str, Any]) -> Asked | None:
    """What ``params`` ask for; None where it is nothing.  Raises ValueError naming the parameter
    that makes no sense."""
    outputs = params.get("outputs")
    batch_size = params.get("batch_size") or 0
    timeout_seconds = params.get("timeout_seconds") or 0.0
    provider = params.get("execution_provider") or ""
    names = () if outputs is None or not len(outputs) else _listed(outputs)
    as_frame = bool(params.get("as_frame"))
    if not (names or batch_size or timeout_seconds or provider or as_frame):
        return None
    if batch_size < 0 or batch_size != int(batch_size):
        raise ValueError(f"params['batch_size'] must be a number of rows, not {batch_size!r}")
    if timeout_seconds < 0:
        raise ValueError(f"params['timeout_seconds'] must not be negative, not {timeout_seconds!r}")
    return Asked(names, int(batch_size), float(timeout_seconds), str(provider), as_frame)


def run_asked(
    session: ort.InferenceSession,
    names: Sequence[str],
    feeds: Mapping[str, np.ndarray],
    asked: Asked,
) -> list[Any]:
    """The outputs of the session, in pieces and within the time that were asked for."""
    with _limited(asked.timeout_seconds) as options:
        pieces = [session.run(names, each, options) for each in _split(feeds, asked.batch_size)]
    return pieces[0] if len(pieces) == 1 else [_joined(each) for each in zip(*pieces, strict=True)]


@contextmanager
def _limited(seconds: float) -> Iterator[ort.RunOptions | None]:
    """Options of a run that is stopped after so many seconds; none for 0."""
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


def _split(feeds: Mapping[str, np.ndarray], size: int) -> Iterator[Mapping[str, np.ndarray]]:
    rows = max((len(array) for array in feeds.values() if np.ndim(array)), default=0)
    if not size or rows <= size:
        yield feeds
        return
    for start in range(0, rows, size):
        yield {
            name: array[start : start + size] if np.ndim(array) and len(array) == rows else array
            for name, array in feeds.items()
        }


def _joined(parts: Sequence[Any]) -> Any:
    if isinstance(parts[0], np.ndarray):
        return np.concatenate(parts)
    return [row for part in parts for row in part]  # maps and sequences


def _listed(outputs: Any) -> tuple[str, ...]:
    return (outputs,) if isinstance(outputs, str) else tuple(str(each) for each in outputs)
