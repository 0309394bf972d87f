"""Batch scoring with `mlflow.pyfunc.spark_udf` on a local Spark, where one is installed."""

from __future__ import annotations

import os
import shutil
import sys

import mlflow
import numpy as np
import pytest

from mlflow_onnx_flavor import flavor
from tests.onnx_graphs import doubling
from tests.scoring.test_sessions import SPEC

pyspark = pytest.importorskip("pyspark", reason="pyspark is not installed")
pytestmark = pytest.mark.skipif(shutil.which("java") is None, reason="Spark needs Java")


@pytest.fixture(scope="module")
def spark(tmp_path_factory):
    from pyspark.sql import SparkSession

    for variable in ("PYSPARK_PYTHON", "PYSPARK_DRIVER_PYTHON"):
        os.environ[variable] = sys.executable
    session = (
        SparkSession.builder.master("local[2]")
        .appName("mlflow-onnx-flavor")
        .config("spark.ui.enabled", "false")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.sql.warehouse.dir", str(tmp_path_factory.mktemp("warehouse")))
        .getOrCreate()
    )
    yield session
    session.stop()


def test_columns_become_labels(spark, candidate_folder, frame):
    expected = mlflow.pyfunc.load_model(str(candidate_folder)).predict(frame)
    predict = mlflow.pyfunc.spark_udf(
        spark, str(candidate_folder), result_type="string", env_manager="local"
    )
    rows = spark.createDataFrame(frame).repartition(3)
    scored = rows.withColumn("label", predict(*frame.columns)).toPandas()
    by_row = dict(zip(map(tuple, frame.to_numpy()), expected, strict=True))
    assert [by_row[tuple(row)] for row in scored[list("abcd")].to_numpy()] == list(scored["label"])


def test_an_array_for_each_row(spark, tmp_path, frame):
    both = frame[["a", "b"]]
    flavor.save_model(
        doubling(tmp_path / "m.onnx"),
        tmp_path / "model",
        graph=SPEC,
        signature=mlflow.models.infer_signature(both, both.to_numpy(np.float32)),
    )
    predict = mlflow.pyfunc.spark_udf(
        spark, str(tmp_path / "model"), result_type="array<float>", env_manager="local"
    )
    rows = spark.createDataFrame(both.reset_index(names="row"))
    scored = rows.withColumn("twice", predict("a", "b")).toPandas().sort_values("row")
    found = np.stack(scored["twice"].to_list())
    np.testing.assert_allclose(found, 2 * both.to_numpy(np.float32), rtol=1e-6)
