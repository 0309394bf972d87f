"""Load and score a logged ONNX model.

This package ships inside every logged model, under a name that carries a digest of its own source,
so it imports nothing but itself, numpy, pandas, onnxruntime, yaml and the standard library.

    session = load_session("path/to/model")          # a folder with an MLmodel file, or .onnx file
    session.run(frame)                               # {"probabilities": array, ...}
    session.predict(frame)                           # the answer of the source's pyfunc

Its modules are imported when they are first used, since the digests are of use without onnxruntime.
Opening the first model imports all of them, since the folder that holds this package may be gone
when the next model is opened.
"""

import importlib
import os
import sys
from contextlib import contextmanager, suppress

# From version 1.29, onnxruntime on Linux sends usage data from a thread that it starts when it is
# imported; a process that is forked after that never ends.  To send usage data, set it to 0.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

_HOME = {
    "CONFIG_KEYS": "settings",
    "ExecutionProviderUnavailable": "providers",
    "ScoringSession": "model",
    "_load_pyfunc": "model",
    "available_providers": "providers",
    "load_session": "model",
    "open_graph": "model",
}

__all__ = list(_HOME)


@contextmanager
def _no_caches():
    """Import from an artifact without writing Python's caches to it.

    A model in a local store is imported in place, and the caches would be files in it that no
    digest covers.
    """
    before = sys.dont_write_bytecode
    sys.dont_write_bytecode = before or _IN_ARTIFACT
    try:
        yield
    finally:
        sys.dont_write_bytecode = before


def _remove_own_cache():
    """Remove the cache of this file, which Python wrote before it ran the file."""
    cache = __spec__.cached if __spec__ else None
    if cache and os.path.basename(os.path.dirname(cache)) == "__pycache__":
        with suppress(OSError):
            os.remove(cache)
            os.rmdir(os.path.dirname(cache))


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with _no_caches():
        value = getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)
    globals()[name] = value
    return value


_FOLDER = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
_IN_ARTIFACT = os.path.isfile(os.path.join(_FOLDER, "MLmodel"))
if _IN_ARTIFACT:
    _remove_own_cache()
