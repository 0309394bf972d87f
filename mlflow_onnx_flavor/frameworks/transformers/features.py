"""Embeddings: what a feature-extraction pipeline gives for each token, and their mean.

MLflow's pyfunc answers for the first text alone, with an embedding for each of its tokens, however
many texts it is given; so does the converted model.  Its outputs have the answers for every text:

- "last_hidden_state", shape (rows, tokens, hidden): 0 where a text has no more tokens;
- "tokens", shape (rows,): how many each text has;
- "mean_embedding", shape (rows, hidden): the mean over the tokens of each text.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import torch

from mlflow_onnx_flavor.errors import UnsupportedModelError, one_line
from mlflow_onnx_flavor.frameworks.transformers.tasks import PipelineTask

EMBEDDINGS, LENGTHS, MEAN = "last_hidden_state", "tokens", "mean_embedding"

# The pipeline leaves max_length and padding unread.


class Features(PipelineTask):
    """Feature extraction."""

    known_config = frozenset({"truncation", "max_length", "padding", "batch_size"})
    tensors = ("input_ids", "attention_mask")
    pads_right = True
    prediction = (EMBEDDINGS,)
    lengths = LENGTHS

    def check(self, pipeline: Any, config: Mapping[str, Any]) -> None:
        if (config.get("batch_size") or 1) > 1:
            raise UnsupportedModelError(
                "the model's model_config sets 'batch_size', with which the pipeline answers for"
                " what it pads a text with as well; log it without"
            )
        try:
            self.answers(pipeline, ["a"], config)
        except UnsupportedModelError:
            raise
        except Exception as error:  # whatever a model raises that takes more than tokens
            raise UnsupportedModelError(
                f"the pipeline does not answer a text ({one_line(error)}); log the encoder alone"
            ) from error

    def preprocessing(self, config: Mapping[str, Any]) -> Mapping[str, Any]:
        return {name: config[name] for name in ("truncation",) if name in config}

    def answers(
        self, pipeline: Any, texts: Sequence[str], config: Mapping[str, Any]
    ) -> dict[str, np.ndarray]:
        found = [
            each.float().numpy()
            for each in pipeline(list(texts), return_tensors=True, **self.preprocessing(config))
        ]
        counts = [
            len(each)
            for each in pipeline.tokenizer(list(texts), **self.preprocessing(config))["input_ids"]
        ]
        for embeddings, count in zip(found, counts, strict=True):
            if embeddings.shape[:-1] != (1, count):
                raise UnsupportedModelError(
                    f"the model {type(pipeline.model).__name__} gives an array of shape"
                    f" {embeddings.shape[1:]} for a text of {count} tokens, not an embedding for"
                    " each; log the encoder without its head"
                )
        whole = np.zeros((len(found), max(counts), found[0].shape[-1]), np.float32)
        for row, embeddings in enumerate(found):
            whole[row, : counts[row]] = embeddings[0]
        return {
            EMBEDDINGS: whole,
            LENGTHS: np.array(counts, np.int64),
            MEAN: np.concatenate([each.mean(axis=1) for each in found]),
        }

    def module(self, pipeline: Any, _config: Mapping[str, Any]) -> Any:
        parameters = inspect.signature(pipeline.model.forward).parameters
        fixed = {"use_cache": False} if "use_cache" in parameters else {}

        class Features(torch.nn.Module):
            def __init__(self, model: Any):
                super().__init__()
                self.model = model

            def forward(self, input_ids, attention_mask, token_type_ids=None):
                given = {"attention_mask": attention_mask, "token_type_ids": token_type_ids}
                given = {
                    name: each
                    for name, each in given.items()
                    if each is not None and name in parameters
                }
                found = self.model(input_ids=input_ids, **given, **fixed)[0].float()
                zero = torch.zeros((), dtype=found.dtype)
                found = torch.where(attention_mask.unsqueeze(-1) != 0, found, zero)
                counts = attention_mask.sum(dim=1)
                mean = found.sum(dim=1) / counts.unsqueeze(-1).to(found.dtype)
                return {EMBEDDINGS: found, LENGTHS: counts, MEAN: mean}

        return Features(pipeline.model).eval()

    def complete(
        self, _model: onnx.ModelProto, _pipeline: Any, _config: Mapping[str, Any]
    ) -> tuple[str, ...]:
        return EMBEDDINGS, LENGTHS, MEAN


task = Features()
