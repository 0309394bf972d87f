"""Hugging Face encoders, of a small random configuration: as PyTorch models, and as pipelines."""

from __future__ import annotations

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.models import Model, ModelSignature
from mlflow.types import ColSpec, Schema, TensorSpec

from mlflow_onnx_flavor import flavor, scoring
from mlflow_onnx_flavor.candidates import fused, int8_dynamic
from mlflow_onnx_flavor.errors import UnsupportedModelError
from mlflow_onnx_flavor.inputs import Inputs
from mlflow_onnx_flavor.sources import resolve_source
from tests.frameworks.in_process import converted, session_of

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
    session = session_of(conversion)
    for asked in (tokens(1, 1, 1), tokens(2, 7, 5), tokens(3, 40, 40)):
        with torch.no_grad():
            answer = model(**{name: torch.from_numpy(each) for name, each in asked.items()})[0]
        (found,) = session.run(asked).values()
        np.testing.assert_allclose(found, answer.numpy(), atol=2e-6)


TEXTS = ["the film was good", "awful , awful !", "a", "fine music of the great film", "très bien"]


def save_classifier(folder, **options):
    """A text classifier of three labels with a tokenizer of its own, saved as a pipeline."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    words = ["the", "a", "good", "film", "was", "great", "poor", "awful", "fine", "of", "!", "."]
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    vocabulary = {word: number for number, word in enumerate(special + words)}
    whole = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    whole.pre_tokenizer = pre_tokenizers.Whitespace()
    whole.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token"), special, strict=True))
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=whole, **names)
    torch.manual_seed(1)
    config = transformers.BertConfig(
        **SIZES | {"vocab_size": len(vocabulary), "initializer_range": 0.6},
        id2label={0: "poor", 1: "mixed", 2: "good"},
        label2id={"poor": 0, "mixed": 1, "good": 2},
    )
    model = transformers.BertForSequenceClassification(config).eval()
    pipeline = transformers.pipeline("text-classification", model=model, tokenizer=tokenizer)
    signature = ModelSignature(
        Schema([ColSpec("string")]),
        Schema([ColSpec("string", "label"), ColSpec("double", "score")]),
    )
    mlflow.transformers.save_model(
        pipeline,
        str(folder),
        input_example=TEXTS[:2],
        signature=signature,
        pip_requirements=[],
        **options,
    )
    return folder


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    return save_classifier(tmp_path_factory.mktemp("pipeline") / "source")


def test_a_pipeline_answers_as_before_from_text(classifier, tmp_path):
    conversion, _ = converted(classifier, "transformers", as_frame(TEXTS[:2]), None, tmp_path)
    flavor.save_model(
        conversion.path,
        tmp_path / "model",
        signature=Model.load(str(classifier)).signature,
        graph=conversion.graph,
    )
    assert "tokenizers==" in (tmp_path / "model" / "requirements.txt").read_text()
    before = mlflow.pyfunc.load_model(str(classifier))
    after = mlflow.pyfunc.load_model(str(tmp_path / "model"))
    for given in (TEXTS, TEXTS[0], np.array(TEXTS[:3], dtype=object)):
        expected, found = before.predict(given), after.predict(given)
        pd.testing.assert_frame_equal(found, expected, rtol=1e-5)
    assert len(set(before.predict(TEXTS)["label"])) > 1
    named = pd.DataFrame({"review": TEXTS})
    session = scoring.load_session(str(tmp_path / "model"))
    assert session.predict(named)["label"].tolist() == before.predict(TEXTS)["label"].tolist()


@pytest.mark.parametrize("build", [fused.build, int8_dynamic.build])
def test_a_candidate_keeps_the_tokenizer(classifier, tmp_path, build):
    conversion, _ = converted(classifier, "transformers", as_frame(TEXTS[:2]), None, tmp_path)
    build(conversion.path, tmp_path / "candidate.onnx")
    graph = conversion.graph.model_dump(mode="json")
    session = scoring.open_graph(str(tmp_path / "candidate.onnx"), graph)
    assert session.run(TEXTS)["probabilities"].shape == (len(TEXTS), 3)


def test_text_is_truncated_where_the_source_truncates(tmp_path):
    config = {"truncation": True, "max_length": 8}
    save_classifier(tmp_path / "source", model_config=config)
    conversion, _ = converted(
        tmp_path / "source", "transformers", as_frame(TEXTS[:2]), None, tmp_path / "out"
    )
    session = session_of(conversion)
    long = ["good film . " * 40]
    expected = mlflow.pyfunc.load_model(str(tmp_path / "source")).predict(long)
    pd.testing.assert_frame_equal(session.predict(long), expected, rtol=1e-5)


def test_a_setting_that_changes_the_answer_is_refused(tmp_path):
    save_classifier(tmp_path / "source", model_config={"top_k": 2})
    with pytest.raises(UnsupportedModelError, match="'top_k'"):
        converted(tmp_path / "source", "transformers", as_frame(TEXTS), None, tmp_path / "out")


def test_what_is_no_text_is_said_by_its_row(classifier, tmp_path):
    conversion, _ = converted(classifier, "transformers", as_frame(TEXTS[:2]), None, tmp_path)
    session = session_of(conversion)
    with pytest.raises(ValueError, match="row 1 must be text, but is None"):
        session.predict(["good", None])
    with pytest.raises(ValueError, match="takes one column of text, got"):
        session.predict(pd.DataFrame({"a": ["x"], "b": ["y"]}))


def test_a_pipeline_whose_answer_is_no_function_of_a_text_is_refused_with_the_remedy(tmp_path):
    (tmp_path / "MLmodel").write_text(
        "flavors:\n  transformers:\n    task: feature-extraction\n  python_function:\n"
        "    loader_module: mlflow.transformers\n"
    )
    with pytest.raises(UnsupportedModelError, match="feature-extraction; .*log its encoder with"):
        resolve_source(str(tmp_path))


def as_frame(texts):
    """As MLflow hands texts to a model whose signature is one unnamed string."""
    return Inputs(pd.DataFrame({0: pd.array(texts, dtype="str")}))
