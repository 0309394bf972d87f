"""Transformers without a correct ONNX form: refused by name, with reason and remedy."""

from __future__ import annotations

from typing import Any

from mlflow_onnx_flavor.errors import NotExportableError
from mlflow_onnx_flavor.frameworks.sklearn.converters.transformers_graph import Rows, Rule
from mlflow_onnx_flavor.frameworks.sklearn.converters.transformers_graph import register as _take

_BATCH = (
    "solves for all rows of a batch at once and stops when the batch as a whole is good enough, so"
    " its answer for a row depends on the other rows; use TruncatedSVD or PCA"
)
_HASHED = (
    "takes lists or dictionaries of features, which are no ONNX input; use a data frame with"
    " OneHotEncoder, or HashingVectorizer for text"
)


def register() -> None:
    """Register this file's converters with skl2onnx."""
    from sklearn import decomposition, feature_extraction, preprocessing
    from sklearn.feature_extraction.image import PatchExtractor

    labels = "encodes targets, not inputs; use OneHotEncoder or OrdinalEncoder"
    _take(
        {
            decomposition.NMF: _refused(_BATCH),
            decomposition.MiniBatchNMF: _refused(_BATCH),
            decomposition.LatentDirichletAllocation: _refused(
                "iterates over the digamma function until each row converges, and ONNX has no such"
                " function; use TruncatedSVD or PCA"
            ),
            feature_extraction.FeatureHasher: _refused(_HASHED),
            feature_extraction.DictVectorizer: _refused(
                "takes dictionaries, which are no ONNX input; use a data frame with OneHotEncoder"
            ),
            PatchExtractor: _refused(
                "takes images of several sizes; cut the patches before the model"
            ),
            preprocessing.LabelBinarizer: _refused(labels),
            preprocessing.LabelEncoder: _refused(labels),
            preprocessing.MultiLabelBinarizer: _refused(labels),
        }
    )


def _refused(reason: str) -> Rule:
    def convert(rows: Rows, model: Any, columns: Any) -> str:
        raise NotExportableError(f"{type(model).__name__} {reason}")

    def width(model: Any) -> int:
        raise NotExportableError(f"{type(model).__name__} {reason}")

    return Rule(convert, by_column=True, width=width)
