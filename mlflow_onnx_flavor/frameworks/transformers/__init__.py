"""The face of Hugging Face pipelines, known without importing transformers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlflow_onnx_flavor.frameworks.face import Face
from mlflow_onnx_flavor.frameworks.transformers.tasks import check_task


class TransformersFace(Face):
    """The face of Hugging Face's pipelines, which are converted task by task."""

    def check(self, entry: Mapping[str, Any]) -> None:
        """Raise UnsupportedModelError, with the remedy, for a task that is not converted."""
        check_task(entry)


face = TransformersFace(
    flavors=("transformers",),
    extra="transformers",
    modules=("transformers", "torch", "onnxscript"),
    distributions=("transformers", "tokenizers", "torch", "onnxscript", "onnx", "numpy"),
    refused={
        "sentence_transformers": (
            "of what it does after its encoder nothing is said in a form that is converted: log the"
            " encoder with mlflow.transformers.log_model({'model': model[0].auto_model,"
            " 'tokenizer': model.tokenizer}, task='feature-extraction') and release that; its"
            " output mean_embedding is what mean pooling gives, not yet normalized"
        ),
    },
)
