"""Probes: of every kind, in the form of the rows that were given, the same for the same seed."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from mlflow_onnx_flavor.inputs import Inputs
from mlflow_onnx_flavor.inputs.probes.axis_sizes import size_probes
from mlflow_onnx_flavor.inputs.probes.generate import jump_probes, make_probes
from mlflow_onnx_flavor.inputs.probes.tree_splits import ColumnSplit
from mlflow_onnx_flavor.schemas.origins import EXTREME_PROBES, PROBES, is_probe

RNG = np.random.default_rng(0)
FRAME = pd.DataFrame(
    {
        "amount": RNG.normal(100, 10, 40),
        "small": RNG.normal(size=40).astype(np.float32),
        "count": RNG.integers(1, 9, 40),
        "maybe": pd.array([*RNG.integers(1, 9, 39), None], "Int64"),
        "city": RNG.choice(["Oslo", "Rome"], 40),
        "grade": pd.Categorical(RNG.choice(["a", "b"], 40)),
        "open": RNG.choice([True, False], 40),
    }
)


def by_kind(data, **options):
    return {probe.kind: probe.inputs for probe in make_probes(Inputs(data), **options)}


def test_probes_have_the_columns_and_dtypes_of_the_rows():
    for kind, probe in by_kind(FRAME).items():
        assert probe.rows and probe.data.dtypes.to_dict() == FRAME.dtypes.to_dict(), kind


def test_the_same_seed_makes_the_same_probes():
    first, second = (by_kind(FRAME, seed=3) for _ in range(2))
    assert {k: p.digest() for k, p in first.items()} == {k: p.digest() for k, p in second.items()}
    other = by_kind(FRAME, seed=4)
    assert other["between two rows"].digest() != first["between two rows"].digest()


def test_numbers_go_to_the_ends_of_their_range_and_beyond():
    kinds = by_kind(FRAME)
    ends = kinds["ends of the range"].data
    assert {FRAME["amount"].min(), FRAME["amount"].max()} <= set(ends["amount"])
    beyond = kinds["beyond the range"].data
    assert beyond["amount"].max() > FRAME["amount"].max()
    assert 0.0 in set(kinds["extreme numbers"].data["amount"])
    assert beyond["count"].min() < 1 and beyond["count"].dtype == FRAME["count"].dtype


def split(column, threshold, way=None, dtype="float32"):
    return ColumnSplit(column, threshold, way or {}, np.dtype(dtype))


def test_splits_are_met_exactly_and_one_rounding_apart():
    at_split = by_kind(FRAME, splits=[split("amount", 101.3)])["at a split of a tree"].data
    threshold, ends = np.float32(101.3), np.array([-np.inf, np.inf], np.float32)
    assert set(at_split["amount"]) == {
        float(threshold),
        *np.nextafter(threshold, ends).astype(float),
    }
    assert "at a split of a tree" not in by_kind(FRAME)


def test_rows_at_a_split_take_the_way_that_leads_there():
    way = {"small": (2.5, np.inf), "count": (-np.inf, 3.5)}
    at_split = by_kind(FRAME, splits=[split("amount", 101.3, way)])["at a split of a tree"].data
    assert (at_split["small"] > 2.5).all() and (at_split["count"] <= 3).all()
    assert at_split.dtypes.to_dict() == FRAME.dtypes.to_dict()


def test_whole_numbers_stand_on_both_sides_of_a_split():
    at_split = by_kind(FRAME, splits=[split("count", 4.5)])["at a split of a tree"].data
    assert set(at_split["count"]) == {4, 5}


def test_text_that_was_never_seen_and_all_that_was():
    kinds = by_kind(FRAME)
    cities = set(kinds["text never seen"].data["city"])
    assert len(cities) > 3 and any(not text.isascii() for text in cities)
    assert "" in set(kinds["empty text"].data["city"])
    assert kinds["empty text"].origin == EXTREME_PROBES  # a graph's only missing text
    assert {"Oslo", "Rome"} <= set(kinds["every text"].data["city"])
    assert set(kinds["every text"].data["grade"]) == {"a", "b"}


def test_what_may_be_missing_is():
    missing = by_kind(FRAME)["missing"].data
    assert missing["amount"].isna().any() and missing["maybe"].isna().any()
    assert missing["city"].isna().any() and not missing["count"].isna().any()


def test_extreme_probes_are_said_to_be():
    kinds = by_kind(FRAME)
    assert kinds["infinite"].origin == kinds["extreme numbers"].origin == EXTREME_PROBES
    assert kinds["beyond the range"].origin == PROBES
    assert np.isinf(kinds["infinite"].data["amount"]).any()


def test_rows_between_two_rows_lie_within_the_range():
    between = by_kind(FRAME)["between two rows"].data["amount"]
    assert between.between(FRAME["amount"].min(), FRAME["amount"].max()).all()
    assert not set(between) <= set(FRAME["amount"])


def test_a_matrix_is_probed_column_by_column():
    matrix = FRAME[["amount", "small"]].to_numpy(np.float32)
    kinds = by_kind(matrix, splits=[split(0, 99.5)])
    assert 99.5 in kinds["at a split of a tree"].data[:, 0]
    assert all(probe.data.dtype == np.float32 for probe in kinds.values())
    assert all(probe.data.shape[1:] == (2,) for probe in kinds.values())


def test_tokens_at_the_ends_of_the_vocabulary_and_masks():
    ids = RNG.integers(5, 90, (6, 12))
    mask = np.ones((6, 12), np.int64)
    kinds = by_kind({"input_ids": ids, "attention_mask": mask}, vocabularies={"input_ids": 99})
    same = kinds["tokens of one kind"].data
    assert {0, 98} <= set(same["input_ids"].ravel()) and same["attention_mask"].shape[1] == 12
    masks = kinds["masks all on and almost all off"].data["attention_mask"]
    assert set(masks.sum(axis=1)) == {1, 12}
    assert kinds["tokens at random"].data["input_ids"].max() < 99


def test_tensors_of_one_value_and_with_holes():
    images = RNG.uniform(0, 1, (5, 3, 8, 8)).astype(np.float32)
    kinds = by_kind(images)
    assert {float(each.min()) for each in kinds["all of one value"].data} >= {0.0}
    assert np.isnan(kinds["missing and infinite"].data).any()
    assert kinds["missing and infinite"].origin == EXTREME_PROBES
    assert all(probe.data.dtype == np.float32 for probe in kinds.values())


def test_texts_alone_are_probed():
    kinds = by_kind(np.array(["a film", "a play"], object))
    assert "" in kinds["empty text"].data.tolist() and kinds["text never seen"].rows > 3


def test_one_row_is_enough():
    assert by_kind(FRAME[:1])["ends of the range"].rows
    assert by_kind(np.ones((1, 4, 4), np.float32))["noise"].rows


@pytest.mark.parametrize("data", [FRAME, FRAME[["amount"]].to_numpy()])
def test_each_kind_is_kept_short(data):
    assert all(probe.rows <= 5 for probe in by_kind(data, rows_per_kind=5).values())


def test_the_two_sides_of_a_jump_are_found_by_asking():
    def steps(inputs):
        return (inputs.data[["amount"]].to_numpy() > 101.3) + 0.01 * inputs.data[
            ["small"]
        ].to_numpy()

    (probe,) = jump_probes(Inputs(FRAME), steps)
    amounts = probe.inputs.data["amount"]
    beside = amounts[(amounts - 101.3).abs() < 0.1]
    assert (beside > 101.3).any() and (beside <= 101.3).any()
    assert probe.inputs.data.dtypes.to_dict() == FRAME.dtypes.to_dict()


def test_a_smooth_answer_has_no_jumps():
    assert (
        jump_probes(Inputs(FRAME), lambda inputs: np.sin(inputs.data[["amount"]].to_numpy())) == []
    )
    constant = jump_probes(Inputs(FRAME), lambda inputs: np.zeros((inputs.rows, 1)))
    assert constant == []


def test_other_sizes_along_an_open_axis():
    ids, mask = RNG.integers(5, 90, (6, 12)), np.ones((6, 12), np.int64)
    made = list(size_probes({"ids": ids, "mask": mask}, [[("ids", 1), ("mask", 1)]]))
    assert [each.data["ids"].shape[1] for each in made] == [1, 13, 21, 24, 42]
    assert all(each.data["mask"].shape == each.data["ids"].shape for each in made)
    assert all(is_probe(each.origin) for each in made) and len({each.origin for each in made}) == 5
    (only, *_) = size_probes(np.ones((5, 3, 8), np.float32), [[("", 2)]])
    assert only.data.shape == (4, 3, 1)
    assert list(size_probes(FRAME, [[("amount", 1)]])) == []


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_row_of_zeros_is_a_probe_of_every_source(dtype):
    matrix = RNG.normal(size=(9, 3)).astype(dtype)
    sources = {
        "frame": FRAME[["amount", "small", "count"]],
        "matrix": matrix,
        "tensor": RNG.normal(size=(9, 3, 2)).astype(dtype),
        "named": {"a": matrix, "b": matrix + 1},
        "integers": RNG.integers(3, 9, (9, 4, 2)),
    }
    for source, data in sources.items():
        zeros = False
        for probe in make_probes(Inputs(data)):
            if probe.inputs.origin == PROBES:
                made = probe.inputs.data
                arrays = made.values() if isinstance(made, dict) else [np.asarray(made)]
                flat = [each.reshape(len(each), -1).astype(float) for each in arrays]
                zeros |= any((each == 0).all(axis=1).any() for each in flat)
        assert zeros, source


def test_integers_of_either_sign_are_probes():
    for data in (FRAME[["count"]], RNG.integers(1, 9, (9, 2)), RNG.integers(1, 9, (9, 2, 2))):
        made = by_kind(data)["negative integers"]
        assert made.origin == PROBES and (np.asarray(made.data) < 0).any()


def test_tokens_of_a_known_vocabulary_are_not_negative():
    tokens = RNG.integers(1, 9, (9, 4))
    assert "negative integers" not in by_kind({"ids": tokens}, vocabularies={"ids": 9})


@pytest.mark.parametrize("dtype", [bool, np.int64, np.float32])
def test_a_row_of_padding_alone_stands_beside_others(dtype):
    mask = np.ones((6, 4), dtype)
    mask[2:, 2:] = 0
    made = by_kind({"x": RNG.normal(size=(6, 4)), "attention_mask": mask})
    rows = made["a row of padding alone"].data["attention_mask"]
    assert rows.dtype == mask.dtype and not rows[0].any() and rows[1:].any(axis=1).all()
