"""The cost of comparing models on large data, in time and memory.

    python -m benchmarks.parity_large [--rows 2000000] [--runs 3]

A random forest and its conversion score the same rows in separate processes, batch by batch, and
do nothing else; then the comparison does the same work, reads the file, and compares.  The two take
turns; the table shows medians of rows per second with minimum and maximum, and their ratio.  Memory
is the sum over all processes (proportional set size), sampled twice a second.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np

COLUMNS = [f"c{number}" for number in range(10)]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        source, candidate, data = _prepared(Path(folder), arguments.rows)
        alone, compared, memory = [], [], []
        for run in range(arguments.runs):
            alone.append(arguments.rows / _alone(source, candidate, data))
            seconds, peak = _compared(source, candidate, data)
            compared.append(arguments.rows / seconds)
            memory.append(peak)
            print(
                f"run {run + 1}: {alone[-1]:,.0f} and {compared[-1]:,.0f} rows a second", flush=True
            )
    for name, found in (("the models alone", alone), ("comparing them", compared)):
        low, high = min(found), max(found)
        print(
            f"{name:<18}{statistics.median(found):>12,.0f} rows a second [{low:,.0f}, {high:,.0f}]"
        )
    print(f"ratio {statistics.median(np.divide(compared, alone)):.2f}")
    print(f"memory of all processes at most {max(memory) / 1e6:,.0f} MB, {arguments.rows:,} rows")


def _prepared(folder: Path, rows: int) -> tuple[Path, Path, Path]:
    import mlflow
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq
    from sklearn.ensemble import RandomForestClassifier

    import mlflow_onnx_flavor

    rng = np.random.default_rng(0)

    def table(count: int) -> Any:
        return pd.DataFrame(rng.normal(size=(count, len(COLUMNS))), columns=COLUMNS)

    train = table(5_000)
    model = RandomForestClassifier(50, max_depth=8, random_state=0)
    model.fit(train, train["c0"] + train["c1"] * train["c2"] > 0)
    mlflow.sklearn.save_model(
        model,
        str(folder / "source"),
        signature=mlflow.models.infer_signature(train),
        input_example=train[:5],
        serialization_format="cloudpickle",
        pip_requirements=[],
    )
    conversion = mlflow_onnx_flavor.convert(folder / "source", output_dir=folder / "out")
    written = 0
    writer = None
    while written < rows:
        part = pa.Table.from_pandas(table(min(500_000, rows - written)), preserve_index=False)
        writer = writer or pq.ParquetWriter(folder / "rows.parquet", part.schema)
        writer.write_table(part)
        written += part.num_rows
    writer.close()
    return folder / "source", conversion.path, folder / "rows.parquet"


def _alone(source: Path, candidate: Path, data: Path) -> float:
    """Return the seconds of scoring alone, one model after the other, with batches in memory."""
    script = (
        "import sys, time, numpy as np, pandas as pd, pyarrow.parquet as pq\n"
        "which, model, data, size = sys.argv[1:]\n"
        "if which == 'source':\n"
        "    import mlflow.sklearn; loaded = mlflow.sklearn.load_model(model)\n"
        "    def ask(rows): loaded.predict(rows); loaded.predict_proba(rows)\n"
        "else:\n"
        "    from mlflow_onnx_flavor.scoring import load_session; loaded = load_session(model)\n"
        "    ask = loaded.run\n"
        "spent = 0.0\n"
        "for batch in pq.ParquetFile(data).iter_batches(int(size)):\n"
        "    rows = batch.to_pandas()\n"
        "    if which != 'source': rows = rows.to_numpy(np.float32)\n"
        "    begun = time.perf_counter(); ask(rows); spent += time.perf_counter() - begun\n"
        "print(spent)\n"
    )
    from mlflow_onnx_flavor.inputs.readers.streams import ROWS_AT_ONCE

    spent = 0.0
    for which, model in (("source", source), ("candidate", candidate)):
        command = [sys.executable, "-c", script, which, str(model), str(data), str(ROWS_AT_ONCE)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        spent += float(done.stdout.split()[-1])
    return spent


def _compared(source: Path, candidate: Path, data: Path) -> tuple[float, float]:
    """Return the seconds of the comparison's batches and the largest sum of memory in bytes."""
    command = [
        sys.executable,
        "-m",
        "mlflow_onnx_flavor.cli",
        "parity",
        str(source),
        str(candidate),
    ]
    command += ["--data", str(data), "--execution-provider", "CPUExecutionProvider", "--json"]
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.DEVNULL)
        peak = 0.0
        while process.poll() is None:
            peak = max(peak, sum(map(_held, _tree(process.pid))))
            time.sleep(0.5)
        output.seek(0)
        report = json.load(output)
    report = report.get("report", report)
    return report["measuring_seconds"], peak


def _tree(root: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            parent = int(Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()[1])
        except OSError:  # the process has ended
            continue
        children.setdefault(parent, []).append(int(entry))
    found, waiting = [], [root]
    while waiting:
        found.append(waiting.pop())
        waiting += children.get(found[-1], [])
    return found


def _held(process: int) -> float:
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:  # the process has ended
        return 0.0
    return next((int(line.split()[1]) * 1024.0 for line in lines if line.startswith("Pss:")), 0.0)


if __name__ == "__main__":
    main()
