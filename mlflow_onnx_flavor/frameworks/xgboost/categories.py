"""The categories that a booster has seen in a data frame, as XGBoost 3 stores them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any


def known(booster: Any, columns: Sequence[str]) -> dict[str, list[Any]]:
    """Column -> its categories, numbered from 0; only those of ``columns`` that are stored.

    Older versions store none: they take a frame's own numbers for granted.  Left out are columns
    with texts beyond ASCII, which XGBoost 3.2 cuts at wrong places when it stores them: it counts
    characters where it stores bytes.
    """
    if not columns or not booster.feature_names:
        return {}
    boosted = json.loads(booster.save_raw("json"))["learner"]["gradient_booster"]
    stored = boosted.get("gbtree", boosted).get("model", {}).get("cats", {}).get("enc", [])
    found = {}
    for name, fields in zip(booster.feature_names, stored, strict=False):
        if name not in columns or not fields["values"]:
            continue
        if "offsets" not in fields:
            found[name] = list(fields["values"])
        elif all(0 <= each < 128 for each in fields["values"]):
            found[name] = _texts(fields)
    return found


def _texts(fields: dict[str, list[int]]) -> list[str]:
    """All texts in one sequence of bytes, which the offsets cut."""
    whole, offsets = bytes(fields["values"]), fields["offsets"]
    return [
        whole[start:end].decode("ascii")
        for start, end in zip(offsets[:-1], offsets[1:], strict=True)
    ]
