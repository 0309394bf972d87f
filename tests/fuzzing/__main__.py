"""Fuzz one reader, with atheris.

    python -m tests.fuzzing onnx -max_total_time=60

Options of libFuzzer follow the target.  An input that ends in another error than ours is kept in
the file that it names, and fails with its traceback.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["mlflow_onnx_flavor"]):
    from tests.fuzzing.targets import TARGETS, seeds


def main() -> None:
    if len(sys.argv) < 2 or sys.argv[1] not in TARGETS:
        sys.exit(f"expected one of: {', '.join(TARGETS)}")
    name, options = sys.argv[1], sys.argv[2:]
    folder = Path(tempfile.mkdtemp(prefix="mlflow-onnx-fuzz-"))
    corpus = folder / "corpus"
    corpus.mkdir()
    for number, content in enumerate(seeds(name)):
        (corpus / str(number)).write_bytes(content)
    atheris.Setup(
        [sys.argv[0], *options, "-max_len=8192", str(corpus)],
        lambda content: TARGETS[name](content, folder),
    )
    atheris.Fuzz()


if __name__ == "__main__":
    main()
