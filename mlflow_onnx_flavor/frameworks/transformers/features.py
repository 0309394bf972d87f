"""Feature extraction: an embedding for each token of a text, and their mean.

MLflow's pyfunc returns the embeddings of the first text's tokens alone, however many texts it gets;
so does the pyfunc of the converted model.  The outputs of the graph cover every text:

- "last_hidden_state", shape (rows, tokens, hidden): the embeddings, 0 beyond a text's last token;
- "tokens", shape (rows,): the number of tokens of each text;
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

# The pipeline ignores max_length and padding.


class Features(PipelineTask):
    """The task of feature extraction."""

    known_config = frozenset({"truncation", "max_length", "padding", "batch_size"})
    tensors = ("input_ids", "attention_mask")
    pads_right = True
    prediction = (EMBEDDINGS,)
    lengths = LENGTHS

    def check(self, pipeline: Any, config: Mapping[str, Any]) -> None:
        """Raise UnsupportedModelError for a batch_size above 1 or a model that fails on a text."""
        if (config.get("batch_size") or 1) > 1:
            raise UnsupportedModelError(
                "the model's model_config sets 'batch_size', with which the pipeline answers for"
                " what it pads a text with as well; log it without"
            )
        try:
            self.answers(pipeline, ["a"], config)
        except UnsupportedModelError:
            raise
        except Exception as error:  # whatever a model raises that needs more inputs than tokens
            raise UnsupportedModelError(
                f"the pipeline does not answer a text ({one_line(error)}); log the encoder alone"
            ) from error

    def preprocessing(self, config: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the option for truncation, the only one that the pipeline reads."""
        return {name: config[name] for name in ("truncation",) if name in config}

    def answers(
        self, pipeline: Any, texts: Sequence[str], config: Mapping[str, Any]
    ) -> dict[str, np.ndarray]:
        """Return the three outputs of each text, computed one text at a time.

        Raises UnsupportedModelError if the model does not return an embedding for each token.
        """
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
        """Return a module from tokens to embeddings, numbers of tokens and mean embeddings."""
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
        """Return the names of the outputs; the graph needs no additions."""
        return EMBEDDINGS, LENGTHS, MEAN


task = Features()
