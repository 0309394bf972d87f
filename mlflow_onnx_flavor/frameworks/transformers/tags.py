"""Token classification: the labels of the entities in a text, such as names of people.

MLflow's pyfunc returns the labels of a text as one string, "PER,LOC".  It raises an IndexError if
one of the texts has no entity; here such a text has the empty string.  Outputs:

- "entities", shape (rows,): that string;
- "token_probabilities", shape (rows, tokens, labels), with labels in the order of config.id2label:
  0 for special tokens and beyond a text's last token.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper

from mlflow_onnx_flavor.errors import UnsupportedModelError
from mlflow_onnx_flavor.frameworks.transformers.compat import preprocessed
from mlflow_onnx_flavor.frameworks.transformers.tasks import PipelineTask
from mlflow_onnx_flavor.frameworks.transformers.text_joining import join_texts

ENTITIES, PROBABILITIES = "entities", "token_probabilities"

# An inner value, not an output: the index in `_Labels.names` of the label that each token adds.
_FOUND = "_found"
_OUTSIDE = "O"


@dataclass(frozen=True)
class _Labels:
    """The labels as the pipeline prints and groups them, by the rules of its ``postprocess``.

    ``names`` are the labels in the output, "" for one that is left out.  Two neighbouring tokens
    with equal ``groups`` are one entity, unless the label of the second ``begins`` an entity.
    """

    names: tuple[str, ...]
    groups: tuple[int, ...]
    begins: tuple[bool, ...]


class Tags(PipelineTask):
    """The task of token classification."""

    known_config = frozenset({"aggregation_strategy"})
    tensors = ("input_ids", "attention_mask", "special_tokens_mask")
    pads_right = True
    prediction = (ENTITIES,)

    def check(self, pipeline: Any, config: Mapping[str, Any]) -> None:
        """Raise UnsupportedModelError for strategies beyond "none" and "simple" and for bad labels.

        A label is bad if it is empty or has space around it.
        """
        if _strategy(config) not in ("none", "simple"):
            raise UnsupportedModelError(
                f"the model's model_config sets aggregation_strategy {_strategy(config)!r}, which"
                " puts words together from the text between tokens; log it with 'simple'"
            )
        labels = list(pipeline.model.config.id2label.values())
        if any(not label.split("-", 1)[-1] or label != label.strip() for label in labels):
            raise UnsupportedModelError(
                f"a label among {labels} is empty or has space around it; name it in"
                " config.id2label"
            )

    def preprocessing(self, _config: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the option for truncation, which the pipeline always sets."""
        return {"truncation": True}

    def predict(self, pyfunc: Any, texts: Sequence[str], params: Any) -> Any:
        """Return MLflow's predictions, with the empty string for a text without entities."""
        try:
            return pyfunc.predict(texts, params)
        except IndexError:
            if len(texts) == 1:
                return [""]
            return [each for text in texts for each in self.predict(pyfunc, [text], params)]

    def answers(
        self, pipeline: Any, texts: Sequence[str], config: Mapping[str, Any]
    ) -> dict[str, np.ndarray]:
        """Return the entities and the token probabilities, computed one text at a time."""
        scores = [_scores(pipeline, text) for text in texts]
        most, labels = max(map(len, scores)), scores[0].shape[1]
        whole = np.zeros((len(texts), most, labels), np.float32)
        for row, each in enumerate(scores):
            whole[row, : len(each)] = each
        found = [pipeline(text, aggregation_strategy=_strategy(config)) for text in texts]
        names = [[each.get("entity_group") or each["entity"] for each in some] for some in found]
        return {
            PROBABILITIES: whole,
            ENTITIES: np.array([",".join(some) for some in names], dtype=object),
        }

    def module(self, pipeline: Any, config: Mapping[str, Any]) -> Any:
        """Return a module from tokens to probabilities and to the label that each token adds."""
        labels = _labels(pipeline, config)
        parameters = inspect.signature(pipeline.model.forward).parameters

        class Tags(torch.nn.Module):
            groups: torch.Tensor
            begins: torch.Tensor

            def __init__(self, model: Any):
                super().__init__()
                self.model = model
                self.register_buffer("groups", torch.tensor(labels.groups))
                self.register_buffer("begins", torch.tensor(labels.begins))

            def forward(self, input_ids, attention_mask, special_tokens_mask, token_type_ids=None):
                given = {"attention_mask": attention_mask, "token_type_ids": token_type_ids}
                given = {
                    name: each
                    for name, each in given.items()
                    if each is not None and name in parameters
                }
                logits = self.model(input_ids=input_ids, **given).logits.float()
                counts = special_tokens_mask == 0
                scores = torch.where(counts.unsqueeze(-1), torch.softmax(logits, dim=-1), 0.0)
                best = logits.argmax(dim=-1)
                group = torch.where(counts, self.groups[best], -1)
                before = torch.cat([torch.full_like(group[:, :1], -1), group[:, :-1]], dim=1)
                new = counts & ((group != before) | self.begins[best])
                return {PROBABILITIES: scores, _FOUND: torch.where(new, best, len(labels.groups))}

        return Tags(pipeline.model).eval()

    def complete(
        self, model: onnx.ModelProto, pipeline: Any, config: Mapping[str, Any]
    ) -> tuple[str, ...]:
        """Add the output "entities", the joined labels of shape (rows,)."""
        names = _labels(pipeline, config).names
        graph = model.graph
        rows = graph.output[0].type.tensor_type.shape.dim[0].dim_param or None
        graph.output.remove(next(each for each in graph.output if each.name == _FOUND))
        join_texts(graph, _FOUND, names, ENTITIES)
        graph.output.append(helper.make_tensor_value_info(ENTITIES, TensorProto.STRING, [rows]))
        return PROBABILITIES, ENTITIES


def _strategy(config: Mapping[str, Any]) -> str:
    return str(config.get("aggregation_strategy") or "none").lower()


def _scores(pipeline: Any, text: str) -> np.ndarray:
    """Return the probabilities of a text's tokens, (tokens, labels), as in ``postprocess``."""
    (given,) = preprocessed(pipeline, text)
    special = given["special_tokens_mask"][0].numpy()
    logits = pipeline.forward(given)["logits"][0].float()
    return torch.softmax(logits, dim=-1).numpy() * (special == 0)[:, None]


def _labels(pipeline: Any, config: Mapping[str, Any]) -> _Labels:
    known = pipeline.model.config.id2label
    labels = [str(known[position]) for position in range(len(known))]
    if _strategy(config) == "none":
        names = ["" if label == _OUTSIDE else label for label in labels]
        return _Labels(tuple(names), tuple(range(len(labels))), (True,) * len(labels))
    short = [label.split("-", 1)[-1] for label in labels]
    tags = [label[2:] if label.startswith(("B-", "I-")) else label for label in labels]
    return _Labels(
        names=tuple("" if name == _OUTSIDE else name for name in short),
        groups=tuple(tags.index(tag) for tag in tags),
        begins=tuple(label.startswith("B-") for label in labels),
    )


task = Tags()
