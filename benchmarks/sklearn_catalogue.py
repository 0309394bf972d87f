"""scikit-learn's own catalogue: what the plain skl2onnx call gets right, and what we do.

    python -m benchmarks.sklearn_catalogue [--kind classifier] [--only RidgeClassifier ...]

Each of `all_estimators()` is fitted on 150 rows of iris with a little noise and asked for rows that
it has not seen, as float32 and as float64.  Right means equal labels, and numbers within 1e-4 of
the source's (relative where they are beyond 1).  The plain call is `to_onnx(model, X[:1])`.
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
    # All of the plain calls first: ours changes what skl2onnx knows in this process.
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
    """Name, dtype, model and unseen rows."""
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
    """What is wrong with skl2onnx's default call; "" where nothing is."""
    import onnxruntime
    import skl2onnx

    try:
        exported = skl2onnx.to_onnx(model, rows[:1], options=_without_maps(model))
        session = onnxruntime.InferenceSession(exported.SerializeToString())
        found = session.run(None, {session.get_inputs()[0].name: rows})
    except Exception as error:  # whatever the exporter or the runtime raises: it is not right
        return f"{type(error).__name__}: {first_line(error)}"
    return difference(expected_answers(model, rows, transforms), found)


def _without_maps(model: Any) -> dict[Any, Any] | None:
    from sklearn.base import is_classifier

    return {id(model): {"zipmap": False}} if is_classifier(model) else None


if __name__ == "__main__":
    main()
