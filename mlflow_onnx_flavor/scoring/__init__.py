"""Load and score a logged ONNX model.

This package ships inside every logged model, under a name that carries a digest of its own source,
so it imports nothing but itself, numpy, pandas, onnxruntime, yaml and what comes with Python.

    session = load_session("path/to/model")          # a folder with an MLmodel file, or .onnx file
    session.run(frame)                               # {"probabilities": array, ...}
    session.predict(frame)                           # what the source's pyfunc would return

What it needs is imported when it is asked for: its digests are of use without onnxruntime.  With
the first model all of it is: the folder that it comes from may be gone when the next is opened.
"""

import importlib
import os

# From 1.29 onnxruntime on Linux sends usage data from a thread that it starts when it is imported;
# a process that was forked after that never ends.  Whoever wants it sets the variable to 0.
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


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)
    globals()[name] = value
    return value
