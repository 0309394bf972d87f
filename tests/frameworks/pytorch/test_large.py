"""A model beyond protobuf's 2 GiB: weights go into a file of their own, and are held once."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

import cloudpickle
import mlflow
import numpy as np
import onnx
import pytest
from mlflow.models import ModelSignature
from mlflow.types import Schema, TensorSpec

import mlflow_onnx_flavor as onnx_flavor
from tests.child_processes import workers

torch = pytest.importorskip("torch")

WORDS, WIDTH = 560_000, 1024
WEIGHT_BYTES = WORDS * WIDTH * 4


class Averaging(torch.nn.Module):
    """The mean of the embeddings of a few words, through a linear layer."""

    def __init__(self):
        super().__init__()
        self.words = torch.nn.Embedding(WORDS, WIDTH)
        self.out = torch.nn.Linear(WIDTH, 4)

    def forward(self, ids):
        return self.out(self.words(ids).mean(1))


def peak_bytes(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


@pytest.fixture
def peaks():
    """The largest memory of each worker, by process id, watched until the test ends."""
    found, ended = {}, threading.Event()

    def watch() -> None:
        while not ended.is_set():
            for pid in workers():
                try:
                    found[pid] = max(found.get(pid, 0), peak_bytes(pid))  # 0 once it ended
                except OSError:  # it ended meanwhile
                    continue
            time.sleep(0.2)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    yield found
    ended.set()
    thread.join()


@pytest.mark.slow
def test_a_model_beyond_2_gib_is_converted_without_a_second_copy(tmp_path, peaks):
    torch.manual_seed(0)
    ids = np.random.default_rng(0).integers(0, WORDS, (4, 8))
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    try:
        mlflow.pytorch.save_model(
            Averaging().eval(),
            str(tmp_path / "source"),
            signature=ModelSignature(Schema([TensorSpec(np.dtype("int64"), (-1, 8))])),
            input_example=ids,
            serialization_format="pickle",
            pip_requirements=[],
        )
    finally:
        cloudpickle.unregister_pickle_by_value(sys.modules[__name__])
    conversion = onnx_flavor.convert(str(tmp_path / "source"), output_dir=tmp_path / "out")
    assert {each.name for each in (tmp_path / "out").iterdir()} == {"model.onnx", "model.onnx.data"}
    assert (tmp_path / "out" / "model.onnx.data").stat().st_size > WEIGHT_BYTES
    onnx.checker.check_model(str(conversion.path))
    assert 0 < max(peaks.values()) < 1.6 * WEIGHT_BYTES
    report = onnx_flavor.check_parity(
        str(tmp_path / "source"), conversion.path, None, ["CPUExecutionProvider"]
    )
    for row in report.rows:
        assert row.status == "measured"
        assert all(each.disagreements(each.auto_tolerance) == 0 for each in row.outputs)
