"""A program of its own, run where Spark is: score a Parquet file with `mlflow.pyfunc.spark_udf`.

    python spark_scoring.py ROWS.parquet MODEL RESULT_TYPE SCORED.parquet

The rows are spread over three partitions; the answers come in "scored" beside each row.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import mlflow.pyfunc
from pyspark.sql import SparkSession


def main(rows: str, model: str, result_type: str, scored: str) -> None:
    for variable in ("PYSPARK_PYTHON", "PYSPARK_DRIVER_PYTHON"):
        os.environ[variable] = sys.executable
    spark = (
        SparkSession.builder.master("local[2]")
        .appName("mlflow-onnx-flavor")
        .config("spark.ui.enabled", "false")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.sql.warehouse.dir", str(Path(scored).parent / "warehouse"))
        .getOrCreate()
    )
    predict = mlflow.pyfunc.spark_udf(spark, model, result_type=result_type, env_manager="local")
    frame = spark.read.parquet(rows).repartition(3)
    names = [name for name in frame.columns if name != "row"]
    frame.withColumn("scored", predict(*names)).toPandas().to_parquet(scored)
    spark.stop()


if __name__ == "__main__":
    main(*sys.argv[1:])
