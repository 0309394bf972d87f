"""Vectorizers count what scikit-learn's own count, in every script and on odd texts."""

from __future__ import annotations

import random

import numpy as np
import onnx
import onnxruntime
import pytest
import skl2onnx
from skl2onnx.common.data_types import StringTensorType
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer, TfidfVectorizer
from sklearn.pipeline import Pipeline

from mlflow_onnx_flavor.errors import NotExportableError
from mlflow_onnx_flavor.frameworks.sklearn import converters
from mlflow_onnx_flavor.frameworks.sklearn.converters import text_patterns
from mlflow_onnx_flavor.frameworks.sklearn.framework import target_opset
from mlflow_onnx_flavor.frameworks.tabular import (
    is_array_of_texts,
    skl2onnx_types,
    text_feed,
    width,
)
from mlflow_onnx_flavor.inputs import Inputs
from mlflow_onnx_flavor.onnx_graph.edit import save

WRITTEN = [
    "Hello, World! It's a naïve café.",
    "",
    "   ",
    "a b c I x",
    "the cat sat on the mat the cat",
    "don't rock'n'roll — dogs' 'tis",
    "Ünïcode STRASSE straße GROẞ ΑΒΓ αβγ Σίγμα",
    "snake_case and-dash e-mail@x.org 3.14 1,000 42",
    "日本語 テキスト 日本",
    "tabs\tand\nnew\r\nlines  double   triple",
    "!!!",
    "😀 emoji 😀😀 x😀y",
    "ǅ Ǆ a\u0301bc combining e\u0301",
    "\u00a0nbsp\u2003em\u3000ideo",
    "１２３ ⅷ ² x² ½",
    " ab ",
    "x\x01\x01 y \ue000\ue000",
    "aa aa aa bb aa",
]
LETTERS = "aAbBzZ '_-.,!\t\n  éÉßñÑ日本1２½\u0301\u00a0ǅΩωДд😀σςα"


@pytest.fixture(scope="module")
def texts() -> list[str]:
    generator = random.Random(0)
    scrambled = [
        "".join(generator.choice(LETTERS) for _ in range(generator.randint(0, 25)))
        for _ in range(250)
    ]
    return [*WRITTEN, *scrambled]


def session_of(vectorizer, folder):
    converters.register_all()
    exported = skl2onnx.to_onnx(
        Pipeline([("text", vectorizer), ("as it is", "passthrough")]),
        initial_types=[("text", StringTensorType([None, 1]))],
        target_opset=target_opset(),
    )
    path = folder / "model.onnx"
    save(exported, path, {exported.graph.output[0].name: "counts"})
    onnx.checker.check_model(str(path))
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def column(texts):
    return np.array(texts, dtype=object).reshape(-1, 1)


def same(vectorizer, fitted_on, asked, folder):
    """For all texts at once, and for each of some alone."""
    vectorizer.fit(fitted_on)
    session = session_of(vectorizer, folder)
    expected = vectorizer.transform(asked).toarray()
    (found,) = session.run(None, {"text": column(asked)})
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
    for at, text in enumerate(asked[:20]):
        (found,) = session.run(None, {"text": column([text])})
        np.testing.assert_allclose(found, expected[at : at + 1], rtol=0, atol=1e-6)


PATTERNS = [
    r"(?u)\b\w\w+\b",
    r"\w+",
    r"(\w+)",
    r"(?a)\w+",
    r"\b\w{2,4}\b",
    r"[a-zA-Z]+",
    r"\b[a-zA-Z]+\b",
    r"[a-z]{2,3}",
    r"[a-zA-Z][a-zA-Z0-9_]+",
    r"[^\W\d]+",
    r"\S+",
    r"\b[\w']+\b",
    r"\b[\w'-]{2,}\b",
]


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("ngrams", [(1, 1), (1, 3)], ids=str)
def test_words_of_every_pattern(pattern, ngrams, texts, tmp_path):
    vectorizer = CountVectorizer(token_pattern=pattern, ngram_range=ngrams)
    same(vectorizer, texts[:150], texts, tmp_path)


@pytest.mark.parametrize(
    "vectorizer",
    [
        CountVectorizer(stop_words="english", ngram_range=(1, 2)),
        CountVectorizer(vocabulary=["cat", "the cat", "Cat", "zzz"], ngram_range=(1, 2)),
        CountVectorizer(vocabulary={"cat": 1, "mat": 0, "Cat": 2}),
        TfidfVectorizer(stop_words=["the", "aa"], ngram_range=(2, 3), sublinear_tf=True),
        TfidfVectorizer(lowercase=False),
        TfidfVectorizer(binary=True, norm="l1"),
        TfidfVectorizer(use_idf=False, norm=None),
        TfidfVectorizer(smooth_idf=False, min_df=2, max_features=20),
        HashingVectorizer(n_features=64),
        HashingVectorizer(n_features=1000, ngram_range=(1, 3), stop_words="english", norm="l1"),
        HashingVectorizer(n_features=50, ngram_range=(2, 3), alternate_sign=False, norm=None),
        HashingVectorizer(n_features=10, binary=True, lowercase=False),
        HashingVectorizer(n_features=100, analyzer="char", ngram_range=(1, 4)),
    ],
    ids=str,
)
def test_options_of_vectorizers(vectorizer, texts, tmp_path):
    same(vectorizer, texts[:150], texts, tmp_path)


@pytest.mark.parametrize("analyzer", ["char", "char_wb"])
@pytest.mark.parametrize("ngrams", [(1, 1), (1, 3), (3, 5), (5, 6)], ids=str)
def test_characters(analyzer, ngrams, texts, tmp_path):
    same(CountVectorizer(analyzer=analyzer, ngram_range=ngrams), texts[:150], texts, tmp_path)


def test_every_character_is_lowered_as_python_does_or_raises(tmp_path):
    letters = [chr(code) for code in range(1, 0x110000) if chr(code).isalpha()]
    changed = [each for each in letters if each.lower() != each]
    vectorizer = CountVectorizer(analyzer="char", vocabulary=sorted({*"".join(changed).lower()}))
    session = session_of(vectorizer.fit(["a"]), tmp_path)
    safe = [each for each in changed if each not in "\u0130\u03a3"]
    (found,) = session.run(None, {"text": column(safe)})
    assert (found == vectorizer.transform(safe).toarray()).all()
    for unsafe in ("\u0130", "\u03a3", "ΟΔΟΣ", "ΟΔΟΣ.", "Σ日"):
        with pytest.raises(Exception, match="out of data bounds|indices"):
            session.run(None, {"text": column([unsafe])})
    inside = ["Σα", "ΟΣΟΙ", "ΣΣα"]
    (found,) = session.run(None, {"text": column(inside)})
    assert (found == vectorizer.transform(inside).toarray()).all()


@pytest.mark.parametrize(
    "pattern", [r"a|ab", r"\w+?", r"(?i)[a-z]+", r"a(\w)", r"\w+-\w+", r"\b\w+", r"\w*"]
)
def test_patterns_whose_matches_would_differ_are_refused(pattern):
    with pytest.raises(NotExportableError, match="token_pattern"):
        text_patterns.words(pattern)


def test_texts_alone_are_an_array_of_one_axis(texts, tmp_path):
    vectorizer = TfidfVectorizer().fit(texts)
    rows = Inputs(np.array(texts, dtype=object))
    assert is_array_of_texts(rows)
    converters.register_all()
    exported = skl2onnx.to_onnx(
        Pipeline([("text", vectorizer), ("as it is", "passthrough")]),
        initial_types=skl2onnx_types(text_feed(), width(rows)),
        target_opset=target_opset(),
    )
    path = tmp_path / "model.onnx"
    save(exported, path, {exported.graph.output[0].name: "counts"})
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {session.get_inputs()[0].name: rows.data})
    np.testing.assert_allclose(found, vectorizer.transform(texts).toarray(), rtol=0, atol=1e-6)
