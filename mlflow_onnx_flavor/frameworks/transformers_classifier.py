"""The parts of a text-classification pipeline: its tokenizer, its scores, its label."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mlflow_onnx_flavor.frameworks.not_exportable import NotExportableError

if TYPE_CHECKING:
    import onnx


def tensors_taken(pipeline: Any) -> tuple[str, ...]:
    """What of the tokenizer's answer the model takes, in the order of its ``forward``."""
    parameters = inspect.signature(pipeline.model.forward).parameters
    given = set(pipeline.tokenizer.model_input_names)
    return tuple(name for name in parameters if name in given)


def serialized_tokenizer(pipeline: Any, preprocessing: Mapping[str, Any]) -> str:
    """The fast tokenizer behind the pipeline's, padding a batch and truncating where asked to.

    Raises NotExportableError for a tokenizer that is written in Python.
    """
    from tokenizers import Tokenizer

    tokenizer = pipeline.tokenizer
    if not tokenizer.is_fast:
        raise NotExportableError(
            f"the tokenizer {type(tokenizer).__name__} is written in Python; log the pipeline with"
            " AutoTokenizer's fast form of it"
        )
    # What a fast tokenizer does with each call is set on the one behind it: take a call's setting.
    whole = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    whole.enable_padding(
        direction=tokenizer.padding_side,
        pad_id=tokenizer.pad_token_id or 0,
        pad_type_id=tokenizer.pad_token_type_id,
        pad_token=tokenizer.pad_token or "[PAD]",
    )
    whole.no_truncation()
    if preprocessing.get("truncation"):
        most = preprocessing.get("max_length") or tokenizer.model_max_length
        whole.enable_truncation(int(most), direction=tokenizer.truncation_side)
    return whole.to_str()


def scores_of(pipeline: Any) -> Any:
    """A module from tokens to the scores that the pipeline gives each label."""
    import torch

    apply = _function_of(pipeline.model.config)

    class Scores(torch.nn.Module):
        def __init__(self, model: Any):
            super().__init__()
            self.model = model

        def forward(self, input_ids, attention_mask=None, token_type_ids=None):
            given = {"attention_mask": attention_mask, "token_type_ids": token_type_ids}
            given = {name: each for name, each in given.items() if each is not None}
            logits = self.model(input_ids=input_ids, **given).logits.float()
            return {"probabilities": apply(logits)}

    return Scores(pipeline.model).eval()


def answer_by_label(
    model: onnx.ModelProto, labels: Sequence[str], scores: str, label: str, score: str
) -> None:
    """Add to the graph the outputs ``label`` and ``score``: the best of ``scores``, (rows, k)."""
    from onnx import TensorProto, helper

    graph = model.graph
    graph.initializer.extend(
        [
            helper.make_tensor("_labels", TensorProto.STRING, [len(labels)], _utf8(labels)),
            helper.make_tensor("_label_axis", TensorProto.INT64, [1], [1]),
        ]
    )
    graph.node.extend(
        [
            helper.make_node("ArgMax", [scores], ["_best"], "best_label", axis=1, keepdims=0),
            helper.make_node("Gather", ["_labels", "_best"], [label], "label_of_best", axis=0),
            helper.make_node(
                "ReduceMax", [scores, "_label_axis"], [score], "score_of_best", keepdims=0
            ),
        ]
    )
    rows = graph.output[0].type.tensor_type.shape.dim[0].dim_param or None
    graph.output.extend(
        [
            helper.make_tensor_value_info(label, TensorProto.STRING, [rows]),
            helper.make_tensor_value_info(score, TensorProto.FLOAT, [rows]),
        ]
    )


def _function_of(config: Any) -> Any:
    """What the pipeline makes of the logits, by the rules of its own ``postprocess``."""
    import torch

    if config.problem_type == "regression":
        return lambda logits: logits + 0.0
    if config.problem_type == "multi_label_classification" or config.num_labels == 1:
        return torch.sigmoid
    return lambda logits: torch.softmax(logits, dim=-1)


def _utf8(texts: Sequence[str]) -> list[bytes]:
    return [each.encode() for each in texts]
