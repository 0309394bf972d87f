"""Feature extraction: the pyfunc's answer for the first text, and embeddings of every text."""

from __future__ import annotations

import mlflow
import numpy as np
import pytest
from mlflow.models import Model

import mlflow_onnx_flavor as onnx_flavor
from mlflow_onnx_flavor import flavor
from mlflow_onnx_flavor.errors import ConversionError, UnsupportedModelError
from tests.frameworks.in_process import converted, session_of
from tests.frameworks.small_pipelines import (
    SIZES,
    TEXTS,
    VOCABULARY,
    as_frame,
    pyfuncs,
    save_pipeline,
    small_config,
    word_tokenizer,
)

transformers = pytest.importorskip("transformers")
torch = pytest.importorskip("torch")

TASK = "feature-extraction"


def bert():
    torch.manual_seed(0)
    return transformers.BertModel(small_config(initializer_range=0.2))


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return save_pipeline(TASK, bert(), tmp_path_factory.mktemp("features") / "source")


@pytest.fixture(scope="module")
def conversion(source, tmp_path_factory):
    out = tmp_path_factory.mktemp("converted")
    return converted(source, "transformers", as_frame(TEXTS[:2]), None, out)[0]


def test_the_pyfunc_answers_as_before_for_one_text_and_for_several(source, conversion, tmp_path):
    before, after = pyfuncs(source, conversion, tmp_path / "model")
    for given in (TEXTS[3], TEXTS, [TEXTS[2], TEXTS[3]], np.array(TEXTS[:3], dtype=object)):
        expected, found = before.predict(given), after.predict(given)
        assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
        np.testing.assert_allclose(found, expected, atol=5e-6)


def test_every_text_has_its_embeddings_whatever_is_beside_it(source, conversion):
    session = session_of(conversion)
    pipeline = mlflow.transformers.load_model(str(source))
    outputs = session.predict(TEXTS, {"outputs": ["last_hidden_state", "tokens", "mean_embedding"]})
    for row, text in enumerate(TEXTS):
        expected = np.array(pipeline(text)[0])
        count = outputs["tokens"][row]
        assert count == len(expected)
        tokens = outputs["last_hidden_state"][row]
        np.testing.assert_allclose(tokens[:count], expected, atol=5e-6)
        assert not tokens[count:].any()
        np.testing.assert_allclose(outputs["mean_embedding"][row], expected.mean(0), atol=5e-6)
    halved = session.predict(TEXTS, {"outputs": ["mean_embedding"], "batch_size": 2})
    np.testing.assert_allclose(halved["mean_embedding"], outputs["mean_embedding"], atol=5e-6)
    split = session.predict(TEXTS, {"batch_size": 2})
    np.testing.assert_allclose(split, session.predict(TEXTS), atol=5e-6)


@pytest.mark.slow
def test_parity_holds_over_texts_of_many_lengths(source, conversion, tmp_path):
    flavor.save_model(
        conversion.path,
        tmp_path / "model",
        signature=Model.load(str(source)).signature,
        graph=conversion.graph,
    )
    texts = [" ".join(["good film"] * number) for number in range(1, 20)] + TEXTS
    report = onnx_flavor.check_parity(
        str(source),
        str(tmp_path / "model"),
        as_frame(texts).data,
        execution_providers=["CPUExecutionProvider"],
    )
    assert {row.batch_size for row in report.rows} == {1, 32}
    for row in report.rows:
        assert row.status == "measured" and not row.form_differences and not row.cause
        assert {"last_hidden_state", "tokens", "mean_embedding"} <= {o.name for o in row.outputs}
        assert all(each.disagreements(each.auto_tolerance) == 0 for each in row.outputs)


@pytest.mark.slow  # as of a classifier, in `test_huggingface`
def test_a_text_is_truncated_where_the_source_truncates(tmp_path):
    tokenizer = word_tokenizer(model_max_length=8)
    config = {"truncation": True, "max_length": 4}  # which this pipeline does not read
    folder = save_pipeline(TASK, bert(), tmp_path / "source", tokenizer, model_config=config)
    conversion, _ = converted(
        folder, "transformers", as_frame(TEXTS[:2]), as_frame(["good film . " * 40]), tmp_path
    )
    found = session_of(conversion).predict(["good film . " * 40])
    expected = mlflow.pyfunc.load_model(str(folder)).predict(["good film . " * 40])
    assert found.shape == expected.shape == (8, 32)
    np.testing.assert_allclose(found, expected, atol=5e-6)


@pytest.mark.parametrize(
    ("options", "cause"),
    [
        ({"model_config": {"batch_size": 4}}, "'batch_size'.*; log it without"),
        ({"model_config": {"tokenize_kwargs": {}}}, "'tokenize_kwargs'.*; log it without"),
        ({"prompt_template": "query: {prompt}"}, "prompt_template, .*around the texts"),
    ],
)
def test_a_setting_that_changes_the_answer_is_refused(options, cause, tmp_path):
    folder = save_pipeline(TASK, bert(), tmp_path / "source", **options)
    with pytest.raises(UnsupportedModelError, match=cause):
        converted(folder, "transformers", as_frame(TEXTS), None, tmp_path / "out")


def test_a_model_that_answers_for_its_padding_is_refused(tmp_path):
    """FNet mixes all positions and has no mask."""
    torch.manual_seed(0)
    sizes = SIZES | {"vocab_size": len(VOCABULARY)}
    del sizes["num_attention_heads"]
    model = transformers.FNetModel(transformers.FNetConfig(**sizes))
    tokenizer = word_tokenizer(model_input_names=["input_ids", "token_type_ids"])
    folder = save_pipeline(TASK, model, tmp_path / "source", tokenizer)
    with pytest.raises(ConversionError, match="is padded .* computes; serve the model as"):
        converted(folder, "transformers", as_frame(TEXTS[:1]), None, tmp_path / "out")


def test_a_model_without_an_embedding_for_each_token_is_refused(tmp_path):
    torch.manual_seed(0)
    model = transformers.BertForSequenceClassification(small_config(num_labels=3))
    folder = save_pipeline(TASK, model, tmp_path / "source")
    with pytest.raises(UnsupportedModelError, match="log the encoder without its head"):
        converted(folder, "transformers", as_frame(TEXTS[:1]), None, tmp_path / "out")


def test_a_model_that_takes_more_than_tokens_is_refused(tmp_path):
    """T5 wants the tokens of its decoder as well; its encoder alone does not."""
    config = transformers.T5Config(
        vocab_size=99, d_model=32, d_kv=8, d_ff=37, num_layers=1, num_heads=4
    )
    tokenizer = word_tokenizer(model_input_names=["input_ids", "attention_mask"])
    model = transformers.T5Model(config)
    folder = save_pipeline(TASK, model, tmp_path / "source", tokenizer, input_example=None)
    with pytest.raises(UnsupportedModelError, match="does not answer a text .*encoder alone"):
        converted(folder, "transformers", as_frame(TEXTS[:1]), None, tmp_path / "out")
