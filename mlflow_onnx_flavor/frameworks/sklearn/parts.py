"""The name of the unsupported part of a scikit-learn model, by its place in the pipeline."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mlflow_onnx_flavor.errors import NotExportableError

_CLASS = re.compile(r"<class '([\w.]+)'>")


@contextmanager
def naming_parts(model: Any) -> Iterator[None]:
    """Turn skl2onnx's errors about an unknown class into one sentence with that part's place.

    The place is that of the part in ``model``; it is added to our own refusals, too.
    """
    from skl2onnx.common.exceptions import MissingConverter, MissingShapeCalculator

    try:
        yield
    except (MissingConverter, MissingShapeCalculator) as error:
        found = _CLASS.search(str(error))
        if found is None:
            raise
        name = found[1].rpartition(".")[2]
        raise NotExportableError(
            f"{name}{place_of(model, name)} has no ONNX form here; replace it by an estimator of"
            " scikit-learn, XGBoost, LightGBM or CatBoost, or register a converter with"
            " skl2onnx.update_registered_converter"
        ) from error
    except NotExportableError as error:
        name = re.match(r"\w+", str(error))
        place = place_of(model, name[0]) if name else ""
        if name is None or not place:
            raise
        raise NotExportableError(f"{name[0]}{place}{str(error)[len(name[0]) :]}") from error


def place_of(model: Any, class_name: str) -> str:
    """Return the place of a part of that class, such as " (prepare__text__tfidf)".

    The place of the model itself is "".
    """
    if not hasattr(model, "get_params"):
        return ""
    for name, part in sorted(model.get_params(deep=True).items()):
        if type(part).__name__ == class_name:
            return f" ({name})"
    return ""
