"""Load and score a logged ONNX model.

This package ships inside every logged model, under a name that carries a digest of its own source,
so it imports nothing but itself, numpy, pandas, onnxruntime, yaml and what comes with Python.

    session = load_session("path/to/model")          # a folder with an MLmodel file, or .onnx file
    session.run(frame)                               # {"probabilities": array, ...}
    session.predict(frame)                           # what the source's pyfunc would return

What it needs is imported when it is asked for: its digests are of use without onnxruntime.
"""

import importlib

_HOME = {
    "CONFIG_KEYS": "model",
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
