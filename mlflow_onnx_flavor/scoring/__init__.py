"""Load and score a logged ONNX model.

This package ships inside every logged model, under a name that carries a digest of its own source,
so it imports nothing but itself, numpy, pandas, onnxruntime, yaml and what comes with Python.

    session = load_session("path/to/model")          # a folder with an MLmodel file, or .onnx file
    session.run(frame)                               # {"probabilities": array, ...}
    session.predict(frame)                           # what the source's pyfunc would return
"""

from .model import CONFIG_KEYS, ScoringSession, _load_pyfunc, load_session, open_graph
from .providers import ExecutionProviderUnavailable, available_providers

__all__ = [
    "CONFIG_KEYS",
    "ExecutionProviderUnavailable",
    "ScoringSession",
    "_load_pyfunc",
    "available_providers",
    "load_session",
    "open_graph",
]
