"""CatBoost's hashes of categories, as CatBoost itself reports them."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import catboost
import numpy as np
import pandas as pd


def hashes_of(texts: Iterable[str]) -> dict[str, int]:
    """Return the hash of each text, signed 32 bits, as splits and keys hold it.

    CatBoost reports the hashes of categories when a model is saved together with rows, whatever the
    model is, so a minimal one is trained for that.  It reports only one of several texts with the
    same hash, so the others are saved again.
    """
    left, model = list(dict.fromkeys(texts)), _smallest()
    found: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.json"
        while left:
            told = _told(model, left, path)
            found |= {text: told[text] for text in left if text in told}
            still = [text for text in left if text not in told]
            if len(still) == len(left):  # texts that CatBoost can neither store nor take
                break
            left = still
    return found


def _told(model: Any, texts: list[str], path: Path) -> dict[str, int]:
    rows = pd.DataFrame({"text": pd.Series(texts, dtype=object)})
    pool = catboost.Pool(rows, cat_features=["text"])
    model.save_model(str(path), format="json", pool=pool)
    stored = json.loads(path.read_text(encoding="utf-8"))["features_info"]["cat_features_hash"]
    return {each["value"]: int(np.uint32(each["hash"]).astype(np.int32)) for each in stored}


def _smallest() -> Any:
    model = catboost.CatBoost(
        {
            "iterations": 1,
            "depth": 1,
            "thread_count": 1,
            "allow_writing_files": False,
            "logging_level": "Silent",
        }
    )
    return model.fit(pd.DataFrame({"text": ["a", "b"]}), [0, 1], cat_features=["text"])
