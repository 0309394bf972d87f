"""Hugging Face encoders, of a small random configuration: as PyTorch models, and as pipelines."""

from __future__ import annotations

import types

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, Schema, TensorSpec

from mlflow_onnx_flavor import scoring
from mlflow_onnx_flavor.candidates import fused, int8_dynamic
from mlflow_onnx_flavor.errors import ConversionError, UnsupportedModelError
from mlflow_onnx_flavor.frameworks.transformers.tokenizer import serialized_tokenizer
from mlflow_onnx_flavor.inputs import Inputs
from mlflow_onnx_flavor.scoring.tokens import TextTokenizer
from mlflow_onnx_flavor.source.model import resolve_source
from tests.frameworks.in_process import converted, session_of
from tests.frameworks.small_pipelines import (
    SIZES,
    TEXTS,
    as_frame,
    pyfuncs,
    save_pipeline,
    small_config,
    word_tokenizer,
)

transformers = pytest.importorskip("transformers")
torch = pytest.importorskip("torch")

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


@pytest.mark.parametrize(
    "kind",
    ["bert", *(pytest.param(each, marks=pytest.mark.slow) for each in ("distilbert", "roberta"))],
)
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


def save_classifier(folder, tokenizer=None, **options):
    """A text classifier of three labels, saved as a pipeline."""
    torch.manual_seed(1)
    config = small_config(
        id2label={0: "poor", 1: "mixed", 2: "good"}, label2id={"poor": 0, "mixed": 1, "good": 2}
    )
    model = transformers.BertForSequenceClassification(config)
    signature = ModelSignature(
        Schema([ColSpec("string")]),
        Schema([ColSpec("string", "label"), ColSpec("double", "score")]),
    )
    options = {"signature": signature} | options
    return save_pipeline("text-classification", model, folder, tokenizer, **options)


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    return save_classifier(tmp_path_factory.mktemp("pipeline") / "source")


@pytest.fixture(scope="module")
def conversion(classifier, tmp_path_factory):
    out = tmp_path_factory.mktemp("converted")
    return converted(classifier, "transformers", as_frame(TEXTS[:2]), None, out)[0]


def test_a_pipeline_answers_as_before_from_text(classifier, conversion, tmp_path):
    before, after = pyfuncs(classifier, conversion, tmp_path / "model")
    assert "tokenizers==" in (tmp_path / "model" / "requirements.txt").read_text()
    for given in (TEXTS, TEXTS[0], np.array(TEXTS[:3], dtype=object)):
        expected, found = before.predict(given), after.predict(given)
        pd.testing.assert_frame_equal(found, expected, rtol=1e-5)
    assert len(set(before.predict(TEXTS)["label"])) > 1
    named = pd.DataFrame({"review": TEXTS})
    session = scoring.load_session(str(tmp_path / "model"))
    assert session.predict(named)["label"].tolist() == before.predict(TEXTS)["label"].tolist()


@pytest.mark.parametrize("build", [fused.build, int8_dynamic.build])
def test_a_candidate_keeps_the_tokenizer(conversion, tmp_path, build):
    build(conversion.path, tmp_path / "candidate.onnx")
    graph = conversion.graph.model_dump(mode="json")
    session = scoring.open_graph(str(tmp_path / "candidate.onnx"), graph)
    assert session.run(TEXTS)["probabilities"].shape == (len(TEXTS), 3)


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"truncation": True},
        {"max_length": 8},
        {"truncation": "only_first", "max_length": 8},
        {"truncation": "do_not_truncate", "max_length": 8},
        {"truncation": False, "max_length": 8},
        {"padding": True, "max_length": 8},
    ],
)
@pytest.mark.parametrize("options", [{}, {"model_max_length": 16, "truncation_side": "left"}])
def test_a_tokenizer_truncates_as_its_call_would(given, options):
    tokenizer = word_tokenizer(**options)
    pipeline = types.SimpleNamespace(tokenizer=tokenizer)
    serialized = TextTokenizer(serialized_tokenizer(pipeline, given, "right"))
    text = "the good film was great " * 9
    found = serialized.tensors([text], ["input_ids"])["input_ids"][0].tolist()
    assert found == tokenizer(text, **given)["input_ids"]


def test_text_is_truncated_where_the_source_truncates(tmp_path):
    save_classifier(tmp_path / "source", model_config={"max_length": 8})
    conversion, _ = converted(
        tmp_path / "source", "transformers", as_frame(TEXTS[:2]), None, tmp_path / "out"
    )
    session = session_of(conversion)
    long = ["good film . " * 40]
    expected = mlflow.pyfunc.load_model(str(tmp_path / "source")).predict(long)
    pd.testing.assert_frame_equal(session.predict(long), expected, rtol=1e-5)


def test_positions_that_padding_moves_are_refused(tmp_path):
    save_classifier(tmp_path / "source", word_tokenizer(padding_side="left"))
    with pytest.raises(ConversionError, match="is padded .*another tokenizer.padding_side"):
        converted(tmp_path / "source", "transformers", as_frame(TEXTS[:1]), None, tmp_path / "out")


def test_a_setting_that_changes_the_answer_is_refused(tmp_path):
    save_classifier(tmp_path / "source", model_config={"top_k": 2})
    with pytest.raises(UnsupportedModelError, match="'top_k'"):
        converted(tmp_path / "source", "transformers", as_frame(TEXTS), None, tmp_path / "out")


def test_what_is_no_text_is_said_by_its_row(conversion):
    session = session_of(conversion)
    with pytest.raises(ValueError, match="row 1 must be text, but is None"):
        session.predict(["good", None])
    with pytest.raises(ValueError, match="takes one column of text, got"):
        session.predict(pd.DataFrame({"a": ["x"], "b": ["y"]}))


@pytest.mark.parametrize(
    ("task", "remedy"),
    [
        ("fill-mask", "pipeline.model, .*input_ids and attention_mask"),
        ("question-answering", "pipeline.model, .*tokenize in front of it"),
        ("image-classification", "pipeline.model, .*pixel_values as a float32 tensor"),
        ("audio-classification", "serve it as it is"),
        ("translation_en_to_de", "once for every token that it writes, so serve it as it is"),
    ],
)
def test_a_pipeline_of_another_task_is_refused_with_the_remedy(task, remedy, tmp_path):
    write_flavor(tmp_path, f"task: {task}")
    with pytest.raises(UnsupportedModelError, match=f"a pipeline for {task}; .*{remedy}"):
        resolve_source(str(tmp_path))


def test_a_pipeline_that_answers_requests_of_a_protocol_is_refused(tmp_path):
    write_flavor(tmp_path, "task: feature-extraction\n    inference_task: llm/v1/embeddings")
    with pytest.raises(UnsupportedModelError, match="llm/v1/embeddings.*log the pipeline without"):
        resolve_source(str(tmp_path))


def write_flavor(folder, entries):
    (folder / "MLmodel").write_text(
        f"flavors:\n  transformers:\n    {entries}\n  python_function:\n"
        "    loader_module: mlflow.transformers\n"
    )


def test_a_sentence_transformer_is_refused_with_a_remedy_that_works(tmp_path):
    (tmp_path / "MLmodel").write_text(
        "flavors:\n  sentence_transformers: {}\n  python_function:\n"
        "    loader_module: mlflow.sentence_transformers\n"
    )
    with pytest.raises(UnsupportedModelError, match="task='feature-extraction'.*mean_embedding"):
        resolve_source(str(tmp_path))
    mlflow.transformers.save_model(
        {"model": transformers.BertModel(small_config()), "tokenizer": word_tokenizer()},
        str(tmp_path / "encoder"),
        task="feature-extraction",
        pip_requirements=[],
    )
    assert resolve_source(str(tmp_path / "encoder")).framework == "transformers"
