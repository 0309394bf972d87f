"""Hugging Face pipelines of encoders that take text, as `mlflow.transformers` stores them.

The encoder becomes the graph.  The tokenizer, which has no ONNX operators, is stored in the file's
metadata and runs in front of the graph (`scoring/tokens.py`).  The outputs depend on the task: see
`tasks` and the modules that it names.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlflow.transformers
import numpy as np
import onnx
import pandas as pd
import transformers
from mlflow.models import ModelSignature
from mlflow.types import Schema, TensorSpec

from mlflow_onnx_flavor.errors import NotExportableError, UnsupportedModelError
from mlflow_onnx_flavor.frameworks.base import (
    Export,
    Framework,
    LoadedSource,
    MoreRows,
    Strategy,
    no_more_rows,
    pyfunc_of,
)
from mlflow_onnx_flavor.frameworks.other_sizes import alike
from mlflow_onnx_flavor.frameworks.pytorch.export import Exporter
from mlflow_onnx_flavor.frameworks.pytorch.float64 import (
    float64_by_default,
    float64_copy,
    widens_on_the_way,
)
from mlflow_onnx_flavor.frameworks.pytorch.floats import LACKING, floats_within, why_in_float32
from mlflow_onnx_flavor.frameworks.transformers.tasks import PipelineTask, task_of
from mlflow_onnx_flavor.frameworks.transformers.tokenizer import serialized_tokenizer, tensors_taken
from mlflow_onnx_flavor.inputs import Inputs
from mlflow_onnx_flavor.schemas.graph import FeedSpec
from mlflow_onnx_flavor.scoring import open_graph
from mlflow_onnx_flavor.scoring.tokens import TOKENIZER_KEY, TextTokenizer, texts_of


class Transformers(Framework):
    """The framework of Hugging Face pipelines that take text."""

    def load(self, path: Path, flavor: Mapping[str, Any]) -> LoadedSource:
        """Load the pipeline that `mlflow.transformers` stored, on the CPU.

        Raises UnsupportedModelError for a model_config or prompt_template that is not converted.
        """
        transformers.utils.logging.set_verbosity_error()
        transformers.utils.logging.disable_progress_bar()
        pyfunc = pyfunc_of(path)
        task, config = task_of(flavor), dict(pyfunc.model_config or {})
        unknown = sorted(set(config) - task.known_config)
        if unknown:
            raise UnsupportedModelError(
                f"the model's model_config sets {unknown[0]!r}, which changes the pipeline's answer"
                " in a way that is not converted; log it without"
            )
        if (pyfunc.metadata.metadata or {}).get("prompt_template"):
            raise UnsupportedModelError(
                "the model puts each text into a prompt_template, which is not converted; log it"
                " without, and put the template around the texts that it is given"
            )
        pipeline = mlflow.transformers.load_model(str(path), device="cpu")
        pipeline.model.eval()
        task.check(pipeline, config)
        return LoadedSource(pipeline, _OneColumn(pyfunc, task), path, flavor)

    def reference_outputs(self, source: LoadedSource, inputs: Inputs) -> dict[str, np.ndarray]:
        """Return the pipeline's outputs, computed one text at a time as the pipeline does."""
        return _answers(source, texts_of(inputs.data))

    def strategies(
        self, source: LoadedSource, example: Inputs, evaluation: MoreRows = no_more_rows
    ) -> list[Strategy]:
        """Return PyTorch's exporter for the encoder, and the same in float32 if it may be needed.

        The task adds its postprocessing to the graph.  Float32 may be needed if the encoder
        computes in a dtype that onnxruntime may lack.
        """
        found = [
            Strategy(
                "dynamo_with_tokenizer",
                "PyTorch's exporter for the encoder; the tokenizer runs in front of the graph",
                lambda path: _export(source, example, path),
                "torch",
            )
        ]
        if dtypes := floats_within(source.native.model) & LACKING:
            found.append(
                Strategy(
                    "dynamo_with_tokenizer_float32",
                    why_in_float32(dtypes),
                    lambda path: _export(source, example, path, dtypes),
                    "torch",
                )
            )
        return found

    def in_float64(self, source: LoadedSource) -> Callable[[Inputs], dict[str, np.ndarray]] | None:
        """Return `reference_outputs` of the same pipeline with its model in float64.

        None if the model cannot be computed in float64.
        """
        model = float64_copy(source.native.model)
        if model is None and not widens_on_the_way(source.native.model):
            return None
        pipeline = copy.copy(source.native)
        pipeline.model = model or pipeline.model
        exact = replace(source, native=pipeline)

        def answers(inputs: Inputs) -> dict[str, np.ndarray]:
            with float64_by_default(every_tensor=model is None):
                return self.reference_outputs(exact, inputs)

        return answers

    def classes(self, source: LoadedSource) -> tuple[str, ...]:
        """Return the labels of a classifier, in the order of the columns of "probabilities"."""
        return tuple(task_of(source.flavor).labels(source.native))


class _OneColumn:
    """MLflow's pyfunc of a pipeline, made to accept a DataFrame with one column of texts.

    The pyfunc itself takes a list of texts.
    """

    def __init__(self, pyfunc: Any, task: PipelineTask):
        self._pyfunc, self._task, self.metadata = pyfunc, task, pyfunc.metadata
        self.model_config = pyfunc.model_config or {}

    def predict(self, data: Any, params: dict[str, Any] | None = None) -> Any:
        """Return the pyfunc's predictions for the texts in ``data``."""
        return self._task.predict(self._pyfunc, texts_of(data), params)


def _answers(source: LoadedSource, texts: Sequence[str]) -> dict[str, np.ndarray]:
    return task_of(source.flavor).answers(source.native, texts, source.pyfunc.model_config)


def _export(
    source: LoadedSource, example: Inputs, path: Path, in_float32: frozenset[str] = frozenset()
) -> Export:
    """Export the pipeline; ``in_float32`` are the dtypes that the graph replaces by float32."""
    task, pipeline = task_of(source.flavor), source.native
    config = source.pyfunc.model_config
    texts = _of_several_lengths(source, max(texts_of(example.data), key=len))
    taken = _tensors(task, pipeline)
    side = "right" if task.pads_right else pipeline.tokenizer.padding_side
    tokenizer = serialized_tokenizer(pipeline, task.preprocessing(config), side)
    tensors = TextTokenizer(tokenizer).tensors(texts, taken)
    signature = ModelSignature(
        Schema([TensorSpec(np.dtype(np.int64), (-1, -1), name) for name in taken])
    )
    exporter = Exporter(task.module(pipeline, config), Inputs(tensors), signature)
    exported = exporter.in_float32(in_float32).dynamo(path)
    model = onnx.load(str(path), load_external_data=False)
    outputs = task.complete(model, pipeline, config)
    model.metadata_props.add(key=TOKENIZER_KEY, value=tokenizer)
    onnx.save_model(model, str(path))
    export = Export(
        feeds=tuple(
            FeedSpec(name=feed.name, layout="tokens", dtype="int64", key=feed.key)
            for feed in exported.feeds
        ),
        outputs=outputs,
        prediction=task.prediction,
        lengths=task.lengths,
    )
    _check_padding(source, path, export, texts)
    return export


def _tensors(task: PipelineTask, pipeline: Any) -> tuple[str, ...]:
    taken = tensors_taken(pipeline)
    return (*taken, *(name for name in task.tensors if name not in taken))


def _check_padding(source: LoadedSource, path: Path, export: Export, texts: Sequence[str]) -> None:
    """Raise NotExportableError if padding a text changes the graph's outputs.

    The pipeline never pads.  The outputs change if the model ignores the attention mask, or counts
    positions from the left.
    """
    expected = _answers(source, texts)
    feeds = [each.model_dump(mode="json") for each in export.feeds]
    found = open_graph(str(path), {"feeds": feeds}).run(texts)
    wrong = _unlike(expected, found)
    if wrong and widens_on_the_way(source.native.model):  # the pipeline's own rounding is coarse
        exact = framework.in_float64(source)
        assert exact is not None  # it is for a model that widens
        wrong = _unlike(exact(Inputs(pd.DataFrame({"text": texts}))), found)
    if wrong:
        right = task_of(source.flavor).pads_right
        other = "" if right else "log the pipeline with another tokenizer.padding_side, or "
        raise NotExportableError(
            f"{wrong[0]!r} of a text changes when the text is padded to the length of another,"
            f" which the pipeline never does: {type(source.native.model).__name__} does not"
            f" leave padding out of what it computes; {other}serve the model as it is"
        )


def _unlike(expected: Mapping[str, np.ndarray], found: Mapping[str, np.ndarray]) -> list[str]:
    floats = (name for name, array in expected.items() if array.dtype.kind == "f")
    return [name for name in floats if not alike(expected[name], found[name])]


def _of_several_lengths(source: LoadedSource, text: str) -> list[str]:
    """Return ``text``, half of it and twice it, without those too long for the model."""
    found = (text, text[: (len(text) + 1) // 2], f"{text} {text}")
    return [each for each in found if _takes(source, each)] or [text]


def _takes(source: LoadedSource, text: str) -> bool:
    try:
        _answers(source, [text])
    except Exception:  # whatever a model raises on more tokens than it has positions for
        return False
    return True


framework = Transformers()
