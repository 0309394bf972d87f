"""Each entry of `frameworks.boosting.compat` is needed still; delete the one whose test fails."""

from __future__ import annotations

import skl2onnx
from catboost import CatBoostClassifier
from skl2onnx import _parse
from sklearn.base import ClassifierMixin


def test_catboost_s_classifier_is_none_to_skl2onnx():
    assert not issubclass(CatBoostClassifier, ClassifierMixin)
    assert CatBoostClassifier not in _parse.sklearn_parsers_map


def test_skl2onnx_has_no_public_parser_of_classifiers():
    assert not [name for name in dir(skl2onnx) if "parse_sklearn_classifier" in name]
