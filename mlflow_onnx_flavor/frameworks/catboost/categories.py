"""The categories behind the hashes of a CatBoost model.

A model stores hashes alone.  The texts behind them are looked for among those of the available rows
and a few common texts.  A model with a hash that none of these explains is refused, since the graph
would silently treat that category as one that was never seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from mlflow_onnx_flavor.errors import NotExportableError
from mlflow_onnx_flavor.frameworks.catboost.combinations import explained
from mlflow_onnx_flavor.frameworks.catboost.ctrs import (
    CATEGORY,
    EXCEEDS,
    IS,
    Ctrs,
    Element,
    as_numbers,
    lone_hashes,
)
from mlflow_onnx_flavor.frameworks.catboost.given import GivenRows

_REMEDY = (
    "the model keeps hashes and no texts, so give rows with every category of the training data,"
    " best that data itself (--data FILE, or inputs= in Python), or log the model with such rows as"
    " its input example"
)

# Hash -> position among the possible categories of a feature.
Known = dict[int, int]


@dataclass(frozen=True)
class Categories:
    """The categories of each feature.

    Keys of the mappings are features: their numbers among those with categories.  ``columns``: the
    feature's column among all ``width`` columns of the rows.  ``codes``: hash -> code, for those
    categories that the model tells from an unseen one; the unseen one has the code after the last.
    ``texts``: text -> code.  ``combinations``: for each of the CTRs' tables, the code of each
    element of each entry.
    """

    width: int
    columns: Mapping[int, int]
    codes: Mapping[int, Mapping[int, int]]
    texts: Mapping[int, Mapping[str, int]]
    ctrs: Ctrs
    combinations: Sequence[np.ndarray]


def resolved(found: Mapping[str, Any], ctrs: Ctrs, frames: Sequence[pd.DataFrame]) -> Categories:
    """Return the categories of a model, explained by the texts in the rows.

    ``found``: the model's JSON; ``ctrs``: its CTRs.  ``frames``: rows with the model's columns in
    its order.  Raises NotExportableError if a hash or a combination of hashes is unexplained.
    """
    given = GivenRows(found["features_info"], frames)
    needed = _needed(found, ctrs, given.columns)
    _require_known(needed, given)
    known = {feature: _numbered(needed[feature], given.possible(feature)) for feature in needed}
    combinations = []
    for table in ctrs.tables:
        numbers = [_numbers(each, known) for each in table.elements]
        seen = [given.positions(each, known.get(each.feature, {})) for each in table.elements]
        combinations.append(explained(table, numbers, np.stack(seen, axis=1)))
    _require_explained(ctrs, combinations, given)
    used = _used(needed, known, ctrs, combinations)
    codes = {feature: _numbered(used[feature]) for feature in used}
    return Categories(
        width=frames[0].shape[1],
        columns=given.columns,
        codes=codes,
        texts={
            feature: {text: of[each] for text, each in given.hashes.items() if each in of}
            for feature, of in codes.items()
        },
        ctrs=ctrs,
        combinations=[
            _recoded(table.elements, each, known, codes)
            for table, each in zip(ctrs.tables, combinations, strict=True)
        ],
    )


def _needed(found: Mapping[str, Any], ctrs: Ctrs, features: Iterable[int]) -> dict[int, list[int]]:
    """Return feature -> the distinct hashes that the model surely distinguishes."""
    needed: dict[int, dict[int, None]] = {feature: {} for feature in features}
    for split in _splits(found):
        if split["split_type"] == "OneHotFeature":
            needed[split["cat_feature_index"]][split["value"]] = None
    for table in ctrs.tables:
        for each in table.elements:
            if each.kind == IS:
                needed[each.feature][int(each.value)] = None
        if len(table.elements) == 1 and table.elements[0].kind == CATEGORY:
            needed[table.elements[0].feature] |= dict.fromkeys(lone_hashes(table))
    return {feature: list(hashes) for feature, hashes in needed.items()}


def _splits(found: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for tree in found.get("oblivious_trees", ()):
        yield from tree.get("splits") or ()
    nodes = list(found.get("trees", ()))
    while nodes:
        node = nodes.pop()
        if "split" in node:
            yield node["split"]
            nodes += [node["left"], node["right"]]


def _numbered(*hashes: Iterable[int]) -> Known:
    return {each: at for at, each in enumerate(dict.fromkeys(h for some in hashes for h in some))}


def _numbers(element: Element, known: Mapping[int, Known]) -> np.ndarray:
    if element.kind != CATEGORY:
        return np.array([0, 1], np.uint64)
    return as_numbers(list(known[element.feature]))


def _require_known(needed: Mapping[int, Sequence[int]], given: GivenRows) -> None:
    if any(set(hashes) - set(given.hashes.values()) for hashes in needed.values()):
        given.guess()
    explained = set(given.hashes.values())
    missing = []
    for feature, hashes in needed.items():
        unknown = sum(each not in explained for each in hashes)
        if unknown:
            missing.append(f"{unknown} of the {len(hashes)} categories of {given.names[feature]!r}")
    if missing:
        raise NotExportableError(
            f"no row at hand holds {', '.join(missing)} that CatBoost was trained on; {_REMEDY}"
        )


def _require_explained(ctrs: Ctrs, combinations: Sequence[np.ndarray], given: GivenRows) -> None:
    missing = []
    for table, found in zip(ctrs.tables, combinations, strict=True):
        unknown = int((found[:, 0] < 0).sum())
        if unknown:
            features = dict.fromkeys(e.feature for e in table.elements if e.kind != EXCEEDS)
            names = " and ".join(repr(given.names[feature]) for feature in features)
            missing.append((unknown, f"{unknown} of the {len(found)} combinations of {names}"))
    if missing:
        raise NotExportableError(
            f"no row at hand holds {max(missing)[1]} that CatBoost counted in training; {_REMEDY}"
        )


def _used(
    needed: Mapping[int, Sequence[int]],
    known: Mapping[int, Known],
    ctrs: Ctrs,
    combinations: Sequence[np.ndarray],
) -> dict[int, list[int]]:
    """Return feature -> the hashes that affect a prediction."""
    used = {
        feature: {known[feature][each] for each in hashes} for feature, hashes in needed.items()
    }
    for table, found in zip(ctrs.tables, combinations, strict=True):
        for place, element in enumerate(table.elements):
            if element.kind == CATEGORY:
                used[element.feature] |= set(found[:, place].tolist())
    return {
        feature: [each for each, at in known[feature].items() if at in used[feature]]
        for feature in needed
    }


def _recoded(
    elements: Sequence[Element],
    positions: np.ndarray,
    known: Mapping[int, Known],
    codes: Mapping[int, Mapping[int, int]],
) -> np.ndarray:
    """Return ``positions`` among the known categories as codes."""
    recoded = positions.copy()
    for place, element in enumerate(elements):
        if element.kind == CATEGORY:
            of = codes[element.feature]
            code_at = np.array([of.get(each, -1) for each in known[element.feature]], np.int64)
            recoded[:, place] = code_at[positions[:, place]]
    return recoded
