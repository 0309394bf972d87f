"""Converters that skl2onnx lacks or gets wrong: one file for each family of estimators.

Each file has ``register()``, which registers its converters with skl2onnx; to add a family, add a
file and its name here.
"""

from __future__ import annotations

import importlib

_FAMILIES: tuple[str, ...] = (
    "trees_forest",
    "trees_boosting",
    "trees_histogram",
    "trees_isolation",
    "transformers_linear",
    "transformers_scaling",
    "transformers_bins",
    "transformers_encoders",
    "transformers_imputers",
    "transformers_kernels",
    "transformers_neighbours",
    "transformers_solving",
    "transformers_columns",
    "transformers_ensembles",
    "text_vectorizers",
    "text_hashing",
    "estimators_scores",
    "estimators_linear",
    "estimators_nearest",
    "estimators_neighbours",
    "estimators_mixtures",
    "estimators_networks",
    "estimators_several_labels",
    "estimators_kernels",
    "estimators_meta",
    "estimators_chained",
    "estimators_on_columns",
    "transformers_unavailable",
    "transformers_composition",
)


def register_all() -> None:
    """Register every family's converters.

    The function is safe to call again.
    """
    for family in _FAMILIES:
        importlib.import_module(f"{__name__}.{family}").register()
