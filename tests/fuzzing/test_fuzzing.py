"""A sample of `make fuzz`: readers of foreign files answer, or raise an error of ours."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.process

ROOT = Path(__file__).parents[2]


READERS = ("onnx", "mlmodel", "evidence", "npz", "npy", "csv", "parquet", "yaml", "json")


@pytest.mark.parametrize("reader", READERS)
def test_no_bytes_end_a_reader(reader, tmp_path):
    pytest.importorskip("atheris", reason="atheris has no wheel for this system")
    done = subprocess.run(
        # No limit of memory: libFuzzer counts what pytest had before it became the fuzzer.
        [
            *(sys.executable, "-m", "tests.fuzzing", reader),
            "-runs=1000",
            "-seed=1",
            "-rss_limit_mb=0",
        ],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path)},  # a fuzzer does not end so as to clean up
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert re.search(r"Done \d{4} runs", done.stderr)
