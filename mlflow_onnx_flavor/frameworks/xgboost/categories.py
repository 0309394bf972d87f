"""The categories that a booster has seen in a data frame, as XGBoost 3 stores them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any


def known(booster: Any, columns: Sequence[str]) -> dict[str, list[Any]]:
    """Return column -> its categories, numbered from 0, for those ``columns`` that are stored.

    Older versions store none: they rely on the data frame's own numbering.  Columns with text
    beyond ASCII are left out: XGBoost 3.2 stores bytes but counts characters, so it splits such
    text at the wrong places.
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
    """Return the texts that the offsets cut out of one byte sequence."""
    whole, offsets = bytes(fields["values"]), fields["offsets"]
    return [
        whole[start:end].decode("ascii")
        for start, end in zip(offsets[:-1], offsets[1:], strict=True)
    ]
