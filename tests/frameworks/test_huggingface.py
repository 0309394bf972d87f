"""Hugging Face encoders, of a small random configuration: as PyTorch models, and as pipelines."""

from __future__ import annotations

import mlflow
import numpy as np
import pytest
from mlflow.models import ModelSignature
from mlflow.types import Schema, TensorSpec

from mlflow_onnx_flavor import scoring
from mlflow_onnx_flavor.errors import UnsupportedModelError
from mlflow_onnx_flavor.inputs import Inputs
from mlflow_onnx_flavor.sources import resolve_source
from tests.frameworks.in_process import converted

transformers = pytest.importorskip("transformers")
torch = pytest.importorskip("torch")

SIZES = {
    "vocab_size": 99,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 37,
    "max_position_embeddings": 64,
}
INT64 = np.dtype("int64")
SIGNATURE = ModelSignature(
    Schema([TensorSpec(INT64, (-1, -1), name) for name in ("input_ids", "attention_mask")])
)


def encoder(kind):
    torch.manual_seed(0)
    if kind == "bert":
        config = transformers.BertConfig(**SIZES, num_labels=3)
        return transformers.BertForSequenceClassification(config).eval()
    if kind == "distilbert":
        config = transformers.DistilBertConfig(
            vocab_size=99, dim=32, n_layers=2, n_heads=4, hidden_dim=37, max_position_embeddings=64
        )
        return transformers.DistilBertModel(config).eval()
    config = transformers.RobertaConfig(**SIZES, num_labels=5)
    return transformers.RobertaForTokenClassification(config).eval()


def tokens(rows, length, kept):
    """Token ids, of which ``kept`` in each row are attended to."""
    ids = np.random.default_rng(rows * length).integers(5, 99, (rows, length))
    mask = np.zeros((rows, length), np.int64)
    mask[:, :kept] = 1
    return {"input_ids": ids.astype(np.int64), "attention_mask": mask}


@pytest.mark.parametrize("kind", ["bert", "distilbert", "roberta"])
def test_an_encoder_is_right_at_every_length_and_batch_size(kind, tmp_path):
    model, example = encoder(kind), tokens(4, 12, 9)
    mlflow.pytorch.save_model(
        model,
        str(tmp_path / "source"),
        signature=SIGNATURE,
        input_example=example,
        serialization_format="pickle",
        pip_requirements=[],
    )
    conversion, _ = converted(
        tmp_path / "source", "pytorch", Inputs(example), None, tmp_path / "out"
    )
    session = scoring.open_graph(str(conversion.path), conversion.graph.model_dump(mode="json"))
    for asked in (tokens(1, 1, 1), tokens(2, 7, 5), tokens(3, 40, 40)):
        with torch.no_grad():
            answer = model(**{name: torch.from_numpy(each) for name, each in asked.items()})[0]
        (found,) = session.run(asked).values()
        np.testing.assert_allclose(found, answer.numpy(), atol=2e-6)


def test_a_pipeline_that_takes_text_is_refused_with_the_remedy(tmp_path):
    (tmp_path / "MLmodel").write_text(
        "flavors:\n  transformers:\n    task: text-classification\n  python_function:\n"
        "    loader_module: mlflow.transformers\n"
    )
    with pytest.raises(UnsupportedModelError, match="log its encoder with mlflow.pytorch"):
        resolve_source(str(tmp_path))
