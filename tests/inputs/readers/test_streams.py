"""Large evaluation data: every row once, in batches, whatever the file."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from mlflow.models import infer_signature

from mlflow_onnx_flavor.errors import InvalidDataError
from mlflow_onnx_flavor.inputs.readers import streams
from mlflow_onnx_flavor.inputs.readers.streams import RowStream, large_data

FRAME = pd.DataFrame({"a": np.arange(1000.0), "city": [f"{n:03}" for n in range(1000)]})
SIGNATURE = infer_signature(FRAME)


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    monkeypatch.setattr(streams, "ROWS_AT_ONCE", 128)
    monkeypatch.setattr(streams, "_MOST_ROWS", 500)
    monkeypatch.setattr(streams, "_MOST_BYTES_OF_CSV", 5_000)


def write(folder, suffix):
    path = folder / f"rows{suffix}"
    if suffix == ".csv":
        FRAME.to_csv(path, index=False)
    elif suffix == ".parquet":
        FRAME.to_parquet(path, row_group_size=300)
    else:
        table = pa.Table.from_pandas(FRAME)
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table, max_chunksize=400)
    return path


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".arrow"])
def test_every_row_comes_once_and_in_order(suffix, tmp_path):
    stream = large_data(write(tmp_path, suffix), SIGNATURE)
    parts = [batch.data for batch in stream.batches()]
    assert max(map(len, parts)) <= 128
    whole = pd.concat(parts, ignore_index=True)
    assert whole["a"].tolist() == FRAME["a"].tolist()
    assert whole["city"].tolist() == FRAME["city"].tolist()  # text stays text
    assert stream.rows == (None if suffix == ".csv" else 1000)


def test_batches_that_were_done_are_left_out(tmp_path):
    stream = RowStream(write(tmp_path, ".parquet"), SIGNATURE)
    every = [batch.data["a"].tolist() for batch in stream.batches()]
    assert [batch.data["a"].tolist() for batch in stream.batches(skip=3)] == every[3:]


def test_what_is_small_or_no_file_is_not_streamed(tmp_path):
    FRAME[:400].to_parquet(tmp_path / "small.parquet")
    np.save(tmp_path / "rows.npy", np.zeros((9, 2)))
    assert large_data(tmp_path / "small.parquet", SIGNATURE) is None
    assert large_data(tmp_path / "rows.npy", SIGNATURE) is None
    assert large_data(FRAME, SIGNATURE) is None and large_data(None, SIGNATURE) is None
    assert large_data(tmp_path / "none.parquet", SIGNATURE) is None


def test_a_row_that_does_not_fit_is_said_when_it_is_reached(tmp_path):
    FRAME.assign(city=1.5).to_parquet(tmp_path / "bad.parquet")
    with pytest.raises(InvalidDataError, match="column 'city' must be string"):
        next(large_data(tmp_path / "bad.parquet", SIGNATURE).batches())


def test_the_digest_is_that_of_the_file(tmp_path):
    first, second = (RowStream(write(tmp_path, suffix), None) for suffix in (".parquet", ".csv"))
    assert len(first.digest()) == 64 and first.digest() != second.digest()
