"""The tasks of Hugging Face pipelines that are converted, and advice about the others."""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from mlflow_onnx_flavor.errors import UnsupportedModelError

if TYPE_CHECKING:
    import numpy as np
    import onnx

# The task of a pipeline -> the module that converts it.
_FILES = {
    "text-classification": "classifier",
    "sentiment-analysis": "classifier",
    "feature-extraction": "features",
    "token-classification": "tags",
    "ner": "tags",
}

_IMAGE_TASKS = (
    *("image-classification", "image-feature-extraction", "image-segmentation"),
    *("object-detection", "depth-estimation", "zero-shot-image-classification"),
)
_AUDIO_TASKS = (
    *("audio-classification", "automatic-speech-recognition"),
    "zero-shot-audio-classification",
)
_GENERATING_TASKS = (
    *("text-generation", "text2text-generation", "summarization", "translation"),
    *("conversational", "image-to-text", "image-text-to-text", "text-to-audio"),
)

_LOG_THE_MODEL = (
    "log its model with mlflow.pytorch.log_model(pipeline.model, serialization_format='pickle',"
    " signature=<{tensors}>, input_example=<{rows}>), release that, and {rest}"
)
_OF_TOKENS = _LOG_THE_MODEL.format(
    tensors="input_ids and attention_mask as int64 tensors of shape (-1, -1)",
    rows="tokens",
    rest="tokenize in front of it",
)
_OF_PIXELS = _LOG_THE_MODEL.format(
    tensors="pixel_values as a float32 tensor of shape (-1, channels, height, width)",
    rows="pixels",
    rest="read and scale images in front of it",
)


class PipelineTask(ABC):
    """One task: the tensors of a pipeline's model, and the pipeline's postprocessing of them.

    A pipeline that is not converted raises UnsupportedModelError or NotExportableError.

    ``known_config``: keys of a model_config that have the same effect here as in the pipeline.
    ``tensors``: the tokenizer's tensors that `module` needs, even if the model does not.
    ``pads_right``: texts are padded on the right, whichever side the tokenizer uses.
    ``prediction``: the outputs that make up the pyfunc's prediction.
    ``lengths``: as in `base.Export`.
    """

    known_config: ClassVar[frozenset[str]]
    tensors: ClassVar[tuple[str, ...]]
    prediction: ClassVar[tuple[str, ...]]
    pads_right: ClassVar[bool] = False
    lengths: ClassVar[str] = ""

    @abstractmethod
    def check(self, pipeline: Any, config: Mapping[str, Any]) -> None:
        """Raise UnsupportedModelError if the pipeline, or its model_config, is not converted."""

    @abstractmethod
    def preprocessing(self, config: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the options with which the pipeline calls its tokenizer."""

    @abstractmethod
    def answers(
        self, pipeline: Any, texts: Sequence[str], config: Mapping[str, Any]
    ) -> dict[str, np.ndarray]:
        """Return the pipeline's results for each text alone, in the form of the graph's outputs."""

    @abstractmethod
    def module(self, pipeline: Any, config: Mapping[str, Any]) -> Any:
        """Return a PyTorch module from tokens to tensors by name."""

    @abstractmethod
    def complete(
        self, model: onnx.ModelProto, pipeline: Any, config: Mapping[str, Any]
    ) -> tuple[str, ...]:
        """Add what PyTorch cannot export to the graph; return the names of its outputs in order."""

    def predict(self, pyfunc: Any, texts: Sequence[str], params: Any) -> Any:
        """Return the predictions of MLflow's pyfunc."""
        return pyfunc.predict(texts, params)

    def labels(self, pipeline: Any) -> list[str]:
        """Return the labels in the order of the columns of "probabilities", if there are any."""
        return []


def task_of(entry: Mapping[str, Any]) -> PipelineTask:
    """Return the task of a pipeline; ``entry`` is the configuration of its transformers flavor."""
    return importlib.import_module(f"{__package__}.{_FILES[entry['task']]}").task


def check_task(entry: Mapping[str, Any]) -> None:
    """Raise UnsupportedModelError, with the remedy, for a pipeline that is not converted."""
    task = entry.get("task")
    if entry.get("inference_task"):
        raise UnsupportedModelError(
            f"the model answers requests of the form {entry['inference_task']}, with a count of"
            " tokens in a nested dictionary, which no graph gives; log the pipeline without this"
            " task"
        )
    if task not in _FILES:
        raise UnsupportedModelError(
            f"the model is a pipeline for {task or 'no known task'}; {', '.join(_FILES)} can be"
            f" converted whole: {_remedy(str(task))}"
        )


def _remedy(task: str) -> str:
    if task in _IMAGE_TASKS:
        return _OF_PIXELS
    if task in _AUDIO_TASKS:
        return "it reads sound, for which there is no ONNX operator, so serve it as it is"
    if task in _GENERATING_TASKS or task.startswith("translation_"):
        return "it runs its model once for every token that it writes, so serve it as it is"
    return _OF_TOKENS
