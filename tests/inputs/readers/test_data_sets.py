"""Evaluation data in folders: Parquet files, Delta tables, Hugging Face data sets; and MLflow's."""

from __future__ import annotations

import json

import mlflow
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from mlflow.data.code_dataset_source import CodeDatasetSource
from mlflow.data.delta_dataset_source import DeltaDatasetSource
from mlflow.data.huggingface_dataset_source import HuggingFaceDatasetSource
from mlflow.data.meta_dataset import MetaDataset
from mlflow.models import infer_signature

from mlflow_onnx_flavor.errors import InvalidDataError
from mlflow_onnx_flavor.inputs import read_evaluation_data
from mlflow_onnx_flavor.inputs.readers import streams
from mlflow_onnx_flavor.inputs.readers.streams import large_data

FRAME = pd.DataFrame({"a": np.arange(300.0), "city": [f"{n:03}" for n in range(300)]})
SIGNATURE = infer_signature(FRAME)


def parquet_files(folder):
    folder.mkdir()
    FRAME[:200].to_parquet(folder / "part-0.parquet")
    FRAME[200:].to_parquet(folder / "part-1.parquet")


def hugging_face(folder):
    """As `datasets.Dataset.save_to_disk` writes it: streams of Arrow batches, and their names."""
    folder.mkdir()
    names = []
    for number, part in enumerate((FRAME[:200], FRAME[200:])):
        table = pa.Table.from_pandas(part, preserve_index=False)
        names.append({"filename": f"data-{number:05}-of-00002.arrow"})
        with (
            pa.OSFile(str(folder / names[-1]["filename"]), "wb") as sink,
            pa.ipc.new_stream(sink, table.schema) as writer,
        ):
            writer.write_table(table, max_chunksize=150)
    (folder / "state.json").write_text(json.dumps({"_data_files": names}))
    (folder / "dataset_info.json").write_text("{}")


def delta(folder):
    deltalake = pytest.importorskip("deltalake")
    deltalake.write_deltalake(str(folder), pa.Table.from_pandas(FRAME, preserve_index=False))
    gone = pa.Table.from_pandas(FRAME.assign(a=-1.0), preserve_index=False)
    deltalake.write_deltalake(str(folder), gone, mode="append")
    deltalake.DeltaTable(str(folder)).delete("a = -1.0")  # the log says what is still there


WRITERS = [parquet_files, hugging_face, delta]


@pytest.mark.parametrize("write", WRITERS)
def test_a_folder_is_read_whole(write, tmp_path):
    write(tmp_path / "rows")
    found = read_evaluation_data(str(tmp_path / "rows"), SIGNATURE).data
    found = found.sort_values("a", ignore_index=True)
    assert found["a"].tolist() == FRAME["a"].tolist()
    assert found["city"].tolist() == FRAME["city"].tolist()


@pytest.mark.parametrize("write", WRITERS)
def test_a_large_folder_is_read_in_batches(write, tmp_path, monkeypatch):
    monkeypatch.setattr(streams, "ROWS_AT_ONCE", 64)
    monkeypatch.setattr(streams, "_MOST_ROWS", 100)
    write(tmp_path / "rows")
    stream = large_data(tmp_path / "rows", SIGNATURE)
    parts = [batch.data for batch in stream.batches()]
    assert stream.rows == sum(map(len, parts)) == 300 and max(map(len, parts)) <= 64
    assert set(pd.concat(parts)["a"]) == set(FRAME["a"]) and len(stream.digest()) == 64


@pytest.fixture
def store(tmp_path, new_store):
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(new_store(tmp_path))
    mlflow.set_experiment(experiment_id=mlflow.create_experiment("e", str(tmp_path / "artifacts")))
    yield
    mlflow.set_tracking_uri(before)


def logged(tmp_path, *contexts):
    """A run whose inputs are data sets of MLflow, one of each context."""
    with mlflow.start_run() as run:
        for number, context in enumerate(contexts):
            file = tmp_path / f"{number}.parquet"
            FRAME[: 10 * (number + 1)].to_parquet(file)
            data_set = mlflow.data.from_pandas(pd.read_parquet(file), str(file), name=f"d{number}")
            mlflow.log_input(data_set, context=context)
    return f"runs:/{run.info.run_id}"


def test_the_data_set_of_a_run_is_read(store, tmp_path):
    assert read_evaluation_data(logged(tmp_path, "any"), SIGNATURE).rows == 10
    assert read_evaluation_data(logged(tmp_path, "training", "evaluation"), SIGNATURE).rows == 20


def test_a_run_with_no_such_data_set_is_said_to_have_none(store, tmp_path):
    with pytest.raises(InvalidDataError, match=r"has the data sets \['d0', 'd1'\].*evaluation"):
        read_evaluation_data(logged(tmp_path, "training", "test"), SIGNATURE)
    with pytest.raises(InvalidDataError, match=r"has the data sets \[\]"):
        read_evaluation_data(logged(tmp_path), SIGNATURE)


def logged_from(source):
    """A run whose input is only known by where it comes from."""
    with mlflow.start_run() as run:
        mlflow.log_input(MetaDataset(source, name="rows"), context="evaluation")
    return f"runs:/{run.info.run_id}"


def test_a_delta_table_that_a_run_logged_is_read(store, tmp_path):
    delta(tmp_path / "table")
    for location in (str(tmp_path / "table"), f"file://{tmp_path / 'table'}"):
        run = logged_from(DeltaDatasetSource(path=location, delta_table_version=2))
        assert read_evaluation_data(run, SIGNATURE).rows == 300
    run = logged_from(DeltaDatasetSource(path=str(tmp_path / "table"), delta_table_version=1))
    with pytest.raises(InvalidDataError, match="version 1 .* is now at version 2; save that"):
        read_evaluation_data(run, SIGNATURE)


def test_a_hugging_face_data_set_that_a_run_logged_is_read_from_its_folder(store, tmp_path):
    hugging_face(tmp_path / "rows")
    run = logged_from(HuggingFaceDatasetSource(path=str(tmp_path / "rows")))
    assert read_evaluation_data(run, SIGNATURE).rows == 300
    FRAME.to_parquet(tmp_path / "rows.parquet")
    files = str(tmp_path / "rows.parquet")
    run = logged_from(HuggingFaceDatasetSource(path="parquet", data_files=files))
    assert read_evaluation_data(run, SIGNATURE).rows == 300


def test_a_split_of_a_hugging_face_data_set_is_the_one_that_was_logged(store, tmp_path):
    (tmp_path / "rows").mkdir()
    (tmp_path / "rows" / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    for split in ("train", "test"):
        hugging_face(tmp_path / "rows" / split)
    run = logged_from(HuggingFaceDatasetSource(path=str(tmp_path / "rows"), split="test"))
    assert read_evaluation_data(run, SIGNATURE).rows == 300
    run = logged_from(HuggingFaceDatasetSource(path=str(tmp_path / "rows")))
    with pytest.raises(InvalidDataError, match=r"splits \['test', 'train'\]; give the folder"):
        read_evaluation_data(run, SIGNATURE)


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        (HuggingFaceDatasetSource(path="team/rows"), "'team/rows' of Hugging Face.*save_to_disk"),
        (DeltaDatasetSource(path="s3://lake/rows"), "'s3://lake/rows', which is not on this mach"),
        (CodeDatasetSource({}), "'rows' cannot be loaded.*; save it as a Parquet file"),
    ],
)
def test_a_data_set_that_is_not_on_this_machine_is_refused_with_what_to_do(store, source, sentence):
    with pytest.raises(InvalidDataError, match=sentence):
        read_evaluation_data(logged_from(source), SIGNATURE)


def test_a_folder_without_rows_is_no_data(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidDataError, match="there is no evaluation data at"):
        read_evaluation_data(str(tmp_path / "empty"), SIGNATURE)
