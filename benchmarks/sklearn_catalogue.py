"""The plain skl2onnx call and this package on every estimator in scikit-learn's catalogue.

    python -m benchmarks.sklearn_catalogue [--kind classifier] [--only RidgeClassifier ...]

Each of `all_estimators()` is fitted on 150 rows of iris with a little noise and scores unseen rows,
as float32 and as float64.  A conversion is right if its labels are equal to the source's and its
numbers within 1e-4 of them (a relative difference for numbers beyond 1).  The plain call is
`to_onnx(model, X[:1])`.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

from tests.frameworks.sklearn.catalogue import (
    DTYPES,
    KINDS,
    difference,
    estimators,
    expected_answers,
    first_line,
    ours,
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kind", choices=KINDS, action="append")
    parser.add_argument("--only", nargs="+", metavar="NAME")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    kinds = arguments.kind or KINDS
    fitted = {kind: list(_all_fitted(kind, arguments.only)) for kind in kinds}
    # All plain calls come first: ours register converters with skl2onnx in this process.
    counts = {
        (who, kind, dtype): _right(who, kind, fitted[kind], dtype)
        for who in (plain, ours)
        for kind in kinds
        for dtype in DTYPES
    }
    print("\nkind          fitted   plain float32   plain float64    ours float32    ours float64")
    for kind in kinds:
        cells = [counts[who, kind, dtype] for who in (plain, ours) for dtype in DTYPES]
        names = {name for name, _, _, _ in fitted[kind]}
        print(f"{kind:<12}{len(names):>8}" + "".join(f"{each:>16}" for each in cells))


def _all_fitted(kind: str, only: list[str] | None) -> Iterator[tuple[str, Any, Any, np.ndarray]]:
    """Yield the name, dtype, model and unseen rows of each fitted estimator."""
    for name, fit in estimators(kind, only):
        for dtype in DTYPES:
            try:
                model, rows = fit(dtype)
            except (TypeError, ValueError) as error:
                print(f"{name} was not fitted: {first_line(error)}")
                break
            yield name, dtype, model, rows


def _right(who: Any, kind: str, fitted: list, dtype: Any) -> int:
    right = 0
    for name, fitted_on, model, rows in fitted:
        if fitted_on is dtype:
            cause = who(model, rows, kind == "transformer")
            right += not cause
            if cause and who is ours:
                print(f"not right: {name} on {np.dtype(dtype)}: {cause}")
    return right


def plain(model: Any, rows: np.ndarray, transforms: bool) -> str:
    """Return the fault of skl2onnx's default call, or "" if it is right."""
    import onnxruntime
    import skl2onnx

    try:
        exported = skl2onnx.to_onnx(model, rows[:1], options=_without_maps(model))
        session = onnxruntime.InferenceSession(exported.SerializeToString())
        found = session.run(None, {session.get_inputs()[0].name: rows})
    except Exception as error:  # whatever the exporter or the runtime raises is the fault
        return f"{type(error).__name__}: {first_line(error)}"
    return difference(expected_answers(model, rows, transforms), found)


def _without_maps(model: Any) -> dict[Any, Any] | None:
    from sklearn.base import is_classifier

    return {id(model): {"zipmap": False}} if is_classifier(model) else None


if __name__ == "__main__":
    main()
