"""Hugging Face: text classifiers as `mlflow.transformers` stores them, text in and label out.

The encoder becomes the graph, with its labels; the tokenizer travels in the file's metadata and
runs in front of it (`scoring/tokens.py`), since it has no ONNX operators.

Outputs: "label" and "score", the pipeline's answer, and "probabilities" of every label.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mlflow_onnx_flavor.errors import UnsupportedModelError
from mlflow_onnx_flavor.frameworks.base import Export, LoadedSource, Strategy
from mlflow_onnx_flavor.frameworks.pytorch_export import Exporter
from mlflow_onnx_flavor.frameworks.transformers_classifier import (
    answer_by_label,
    scores_of,
    serialized_tokenizer,
    tensors_taken,
)
from mlflow_onnx_flavor.graph_spec import FeedSpec
from mlflow_onnx_flavor.inputs import Inputs
from mlflow_onnx_flavor.scoring.tokens import TOKENIZER_KEY, TextTokenizer, texts_of

flavor = "transformers"
extra = "transformers"
modules = ("transformers", "torch", "onnxscript")
distributions = ("transformers", "tokenizers", "torch", "onnxscript", "onnx", "numpy")

LABEL, SCORE, PROBABILITIES = "label", "score", "probabilities"

# Of what a model_config may set, what the tokenizer does here as well.
_KNOWN_CONFIG = {"truncation", "max_length", "padding", "batch_size"}


def load(path: Path, flavor: Mapping[str, Any]) -> LoadedSource:
    """Load the pipeline that `mlflow.transformers` stored, on the CPU."""
    import mlflow.pyfunc
    import mlflow.transformers
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    pyfunc = mlflow.pyfunc.load_model(str(path))
    unknown = sorted(set(pyfunc.model_config or {}) - _KNOWN_CONFIG)
    if unknown:
        raise UnsupportedModelError(
            f"the model's model_config sets {unknown[0]!r}, which changes the pipeline's answer in"
            " a way that is not converted; log it without"
        )
    pipeline = mlflow.transformers.load_model(str(path), device="cpu")
    pipeline.model.eval()
    return LoadedSource(pipeline, _OneColumn(pyfunc), path, flavor)


def reference_outputs(source: LoadedSource, inputs: Inputs) -> dict[str, np.ndarray]:
    """What the pipeline answers, a text at a time as it does, with the scores of every label."""
    pipeline, labels = source.native, classes(source)
    answers = pipeline(texts_of(inputs.data), top_k=None, **_preprocessing(source))
    scores = np.empty((len(answers), len(labels)), np.float32)
    for row, found in enumerate(answers):
        by_label = {each["label"]: each["score"] for each in found}
        scores[row] = [by_label[label] for label in labels]
    return {
        LABEL: np.array(labels, dtype=object)[scores.argmax(axis=1)],
        SCORE: scores.max(axis=1),
        PROBABILITIES: scores,
    }


def strategies(source: LoadedSource, example: Inputs) -> list[Strategy]:
    """One: the encoder by PyTorch's exporter, the answer's label and score added to the graph."""
    return [
        Strategy(
            "dynamo_with_tokenizer",
            "PyTorch's exporter for the encoder; the tokenizer runs in front of the graph",
            lambda path: _export(source, example, path),
            "torch",
        )
    ]


class _OneColumn:
    """MLflow's pyfunc of a pipeline, which takes a list of texts but not a frame with one column
    of them.
    """

    def __init__(self, pyfunc: Any):
        self._pyfunc, self.metadata = pyfunc, pyfunc.metadata
        self.model_config = pyfunc.model_config or {}

    def predict(self, data: Any, params: dict[str, Any] | None = None) -> Any:
        return self._pyfunc.predict(texts_of(data), params)


def _export(source: LoadedSource, example: Inputs, path: Path) -> Export:
    import onnx
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    pipeline = source.native
    taken = tensors_taken(pipeline)
    tokenizer = serialized_tokenizer(pipeline, _preprocessing(source))
    tensors = TextTokenizer(tokenizer).tensors(texts_of(example.data), taken)
    signature = ModelSignature(
        Schema([TensorSpec(np.dtype(np.int64), (-1, -1), name) for name in taken])
    )
    exported = Exporter(scores_of(pipeline), Inputs(tensors), signature).dynamo(path)
    model = onnx.load(str(path), load_external_data=False)
    answer_by_label(model, classes(source), PROBABILITIES, LABEL, SCORE)
    model.metadata_props.add(key=TOKENIZER_KEY, value=tokenizer)
    onnx.save_model(model, str(path))
    return Export(
        feeds=tuple(
            FeedSpec(name=feed.name, layout="tokens", dtype="int64", key=feed.key)
            for feed in exported.feeds
        ),
        outputs=(*exported.outputs, LABEL, SCORE),
        prediction=(LABEL, SCORE),
    )


def classes(source: LoadedSource) -> list[str]:
    """The labels, in the order of the columns of "probabilities"."""
    config = source.native.model.config
    labels = [str(config.id2label[position]) for position in range(config.num_labels)]
    if len(set(labels)) < len(labels):
        raise UnsupportedModelError(
            f"two classes share a label among {labels}; give each its own in config.id2label"
        )
    return labels


def _preprocessing(source: LoadedSource) -> dict[str, Any]:
    """How the tokenizer is called, by the model's own configuration."""
    config = source.pyfunc.model_config
    return {name: config[name] for name in ("truncation", "max_length") if name in config}
