"""Text classifiers, with the outputs "label", "score" and "probabilities" of every label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper

from mlflow_onnx_flavor.errors import UnsupportedModelError
from mlflow_onnx_flavor.frameworks.transformers.tasks import PipelineTask

LABEL, SCORE, PROBABILITIES = "label", "score", "probabilities"


class Classifier(PipelineTask):
    """The task of text classification."""

    known_config = frozenset({"truncation", "max_length", "padding", "batch_size"})
    tensors = ("input_ids",)
    prediction = (LABEL, SCORE)

    def check(self, pipeline: Any, _config: Mapping[str, Any]) -> None:
        """Raise UnsupportedModelError if two classes share a label."""
        self.labels(pipeline)

    def preprocessing(self, config: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the options for truncation and padding that ``config`` sets."""
        return {
            name: config[name] for name in ("truncation", "max_length", "padding") if name in config
        }

    def answers(
        self, pipeline: Any, texts: Sequence[str], config: Mapping[str, Any]
    ) -> dict[str, np.ndarray]:
        """Return the label, score and probabilities of each text; shapes (rows,) and (rows, k)."""
        names = self.labels(pipeline)
        found = pipeline(list(texts), top_k=None, **self.preprocessing(config))
        scores = np.empty((len(found), len(names)), np.float32)
        for row, each in enumerate(found):
            by_label = {one["label"]: one["score"] for one in each}
            scores[row] = [by_label[label] for label in names]
        return {
            LABEL: np.array(names, dtype=object)[scores.argmax(axis=1)],
            SCORE: scores.max(axis=1),
            PROBABILITIES: scores,
        }

    def module(self, pipeline: Any, _config: Mapping[str, Any]) -> Any:
        """Return a module from tokens to the pipeline's score for each label."""
        apply = _function_of(pipeline.model.config)

        class Scores(torch.nn.Module):
            def __init__(self, model: Any):
                super().__init__()
                self.model = model

            def forward(self, input_ids, attention_mask=None, token_type_ids=None):
                given = {"attention_mask": attention_mask, "token_type_ids": token_type_ids}
                given = {name: each for name, each in given.items() if each is not None}
                logits = self.model(input_ids=input_ids, **given).logits.float()
                return {PROBABILITIES: apply(logits)}

        return Scores(pipeline.model).eval()

    def complete(
        self, model: onnx.ModelProto, pipeline: Any, _config: Mapping[str, Any]
    ) -> tuple[str, ...]:
        """Add the outputs "label" and "score": the best of "probabilities", (rows, k)."""
        names: Any = [each.encode() for each in self.labels(pipeline)]  # onnx types no texts
        graph = model.graph
        graph.initializer.extend(
            [
                helper.make_tensor("_labels", TensorProto.STRING, [len(names)], names),
                helper.make_tensor("_label_axis", TensorProto.INT64, [1], [1]),
            ]
        )
        graph.node.extend(
            [
                helper.make_node(
                    "ArgMax", [PROBABILITIES], ["_best"], "best_label", axis=1, keepdims=0
                ),
                helper.make_node("Gather", ["_labels", "_best"], [LABEL], "label_of_best", axis=0),
                helper.make_node(
                    "ReduceMax",
                    [PROBABILITIES, "_label_axis"],
                    [SCORE],
                    "score_of_best",
                    keepdims=0,
                ),
            ]
        )
        rows = graph.output[0].type.tensor_type.shape.dim[0].dim_param or None
        graph.output.extend(
            [
                helper.make_tensor_value_info(LABEL, TensorProto.STRING, [rows]),
                helper.make_tensor_value_info(SCORE, TensorProto.FLOAT, [rows]),
            ]
        )
        return PROBABILITIES, LABEL, SCORE

    def labels(self, pipeline: Any) -> list[str]:
        """Return the labels in the order of the columns of "probabilities".

        Raises UnsupportedModelError if two classes share a label.
        """
        config = pipeline.model.config
        found = [str(config.id2label[position]) for position in range(config.num_labels)]
        if len(set(found)) < len(found):
            raise UnsupportedModelError(
                f"two classes share a label among {found}; give each its own in config.id2label"
            )
        return found


def _function_of(config: Any) -> Any:
    """Return the function from logits to scores, by the rules of the pipeline's ``postprocess``."""
    if config.problem_type == "regression":
        return lambda logits: logits + 0.0
    if config.problem_type == "multi_label_classification" or config.num_labels == 1:
        return torch.sigmoid
    return lambda logits: torch.softmax(logits, dim=-1)


task = Classifier()
