"""The tokenizer of a pipeline, in the form that the ONNX file stores."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from tokenizers import Tokenizer

from mlflow_onnx_flavor.errors import NotExportableError
from mlflow_onnx_flavor.frameworks.transformers.compat import truncation_of


def tensors_taken(pipeline: Any) -> tuple[str, ...]:
    """Return the tokenizer's tensors that the model takes, in the order of its ``forward``."""
    parameters = inspect.signature(pipeline.model.forward).parameters
    given = set(pipeline.tokenizer.model_input_names)
    return tuple(name for name in parameters if name in given)


def serialized_tokenizer(pipeline: Any, preprocessing: Mapping[str, Any], padding_side: str) -> str:
    """Return the pipeline's fast tokenizer, serialized, with the same padding and truncation.

    ``preprocessing`` are the options with which the pipeline calls it.  ``padding_side`` is "left"
    or "right".  Raises NotExportableError for a tokenizer that is written in Python.
    """
    tokenizer = pipeline.tokenizer
    if not tokenizer.is_fast:
        raise NotExportableError(
            f"the tokenizer {type(tokenizer).__name__} is written in Python; log the pipeline with"
            " AutoTokenizer's fast form of it"
        )
    # Each call of a fast tokenizer sets the options of the tokenizer behind it; set them once here.
    whole = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    whole.enable_padding(
        direction=padding_side,
        pad_id=tokenizer.pad_token_id or 0,
        pad_type_id=tokenizer.pad_token_type_id,
        pad_token=tokenizer.pad_token or "[PAD]",
    )
    whole.no_truncation()
    # By the tokenizer's rules, max_length alone truncates, and truncation alone uses its own limit.
    strategy, most = truncation_of(tokenizer, preprocessing)
    if strategy != "do_not_truncate":
        whole.enable_truncation(most, strategy=strategy, direction=tokenizer.truncation_side)
    return whole.to_str()
