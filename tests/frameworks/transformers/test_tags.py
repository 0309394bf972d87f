"""Token classification: the labels found in each text, joined as MLflow's pyfunc joins them."""

from __future__ import annotations

import mlflow
import numpy as np
import pytest

from mlflow_onnx_flavor import scoring
from mlflow_onnx_flavor.candidates import fused, int8_dynamic
from mlflow_onnx_flavor.errors import UnsupportedModelError
from tests.frameworks.in_process import converted, session_of
from tests.frameworks.small_pipelines import TEXTS, as_frame, pyfuncs, save_pipeline, small_config

transformers = pytest.importorskip("transformers")
torch = pytest.importorskip("torch")

TASK = "token-classification"
LABELS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC", "MISC"]
MANY = [
    *TEXTS,
    "the the film film was was good good ! !",
    "great of poor awful of music the a a fine good film was of the !",
    "",
    "[SEP] the [MASK] of",
]


def tagger(labels=LABELS, outside=0.0):
    """``outside``: how much likelier every token is to be outside of all entities."""
    torch.manual_seed(3)
    names = dict(enumerate(labels))
    config = small_config(id2label=names, label2id={name: at for at, name in names.items()})
    model = transformers.BertForTokenClassification(config)
    with torch.no_grad():
        model.classifier.bias[0] += outside
    return model


def found_in(text, source):
    """As MLflow's pyfunc answers, which fails where nothing is found."""
    try:
        return source.predict([text])[0]
    except IndexError:
        return ""


@pytest.fixture(scope="module", params=["none", "simple"])
def source(request, tmp_path_factory):
    config = {"aggregation_strategy": request.param}
    folder = tmp_path_factory.mktemp("tags") / "source"
    return save_pipeline(TASK, tagger(outside=1.0), folder, model_config=config)


@pytest.fixture(scope="module")
def conversion(source, tmp_path_factory):
    out = tmp_path_factory.mktemp("converted")
    return converted(source, "transformers", as_frame(MANY), None, out)[0]


def test_a_pipeline_answers_as_before_from_text(source, conversion, tmp_path):
    before, after = pyfuncs(source, conversion, tmp_path / "model")
    expected = [found_in(text, before) for text in MANY]
    assert after.predict(MANY) == expected
    assert "" in expected and any("," in each for each in expected)
    some = [text for text, each in zip(MANY, expected, strict=True) if each]
    for given in (some, some[:1], some[0], np.array(some, dtype=object)):
        assert after.predict(given) == before.predict(given)


def test_the_probabilities_are_those_of_the_texts_own_tokens(source, conversion):
    found = session_of(conversion).run(MANY)["token_probabilities"]
    pipeline = mlflow.transformers.load_model(str(source))
    for row, text in enumerate(MANY):
        tokens = pipeline(text, aggregation_strategy="none", ignore_labels=[])
        assert np.flatnonzero(found[row].any(axis=1)).tolist() == [t["index"] for t in tokens]
        for token in tokens:
            scores = found[row, token["index"]]
            assert LABELS[scores.argmax()] == token["entity"]
            np.testing.assert_allclose(scores.max(), token["score"], atol=1e-5)


@pytest.mark.parametrize("build", [fused.build, int8_dynamic.build])
def test_a_candidate_joins_labels_too(conversion, tmp_path, build):
    build(conversion.path, tmp_path / "candidate.onnx")
    graph = conversion.graph.model_dump(mode="json")
    found = scoring.open_graph(str(tmp_path / "candidate.onnx"), graph).predict(MANY)
    assert len(found) == len(MANY) and all(isinstance(each, str) for each in found)


@pytest.mark.parametrize(
    ("labels", "config", "cause"),
    [
        (LABELS, {"aggregation_strategy": "first"}, "'first'.*; log it with 'simple'"),
        (LABELS, {"ignore_labels": ["MISC"]}, "'ignore_labels'.*; log it without"),
        (["O", " PER"], {}, "space around it; name it in config.id2label"),
        (["O", "B-"], {}, "is empty .*; name it in config.id2label"),
    ],
)
def test_what_is_not_a_function_of_labels_is_refused(labels, config, cause, tmp_path):
    folder = save_pipeline(TASK, tagger(labels), tmp_path / "source", model_config=config)
    with pytest.raises(UnsupportedModelError, match=cause):
        converted(folder, "transformers", as_frame(TEXTS), None, tmp_path / "out")
