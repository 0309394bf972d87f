"""Scan a source model's pickles for dangerous imports without loading them.

The scan is done by picklescan (extra ``scan``), which reads the opcodes of a pickle, in a child
process, since the pickles may be malicious.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mlflow_onnx_flavor.errors import MissingFrameworkError, UnsafeModelError
from mlflow_onnx_flavor.processes.worker import Worker

TIMEOUT_S = 300.0
MEMORY_BYTES = 4 * 2**30
# First bytes of pickle protocols 2 and later, and of PyTorch's zip files.
_PICKLE, _ZIP = b"\x80", b"PK\x03\x04"
# Extensions of files with earlier protocols, which begin like text.
_EXTENSIONS = {
    *(".pkl", ".pickle", ".joblib", ".pth", ".pt"),
    *(".bin", ".ckpt", ".dat", ".data", ".npy"),
}


def check_pickles(model: Path, model_uri: str) -> None:
    """Raise UnsafeModelError where a pickle in the folder ``model`` would run dangerous code.

    Dangerous is what picklescan lists (shells, files, sockets, evaluation), and a function that a
    pickle brings along instead of importing it.  Raises MissingFrameworkError without the extra.
    """
    with Worker(name="the scanner", memory_limit_bytes=MEMORY_BYTES) as worker:
        found = worker.call(f"{__name__}:scan", {"model": model}, timeout_s=TIMEOUT_S)
    if found:
        raise UnsafeModelError(
            f"{model_uri!r} was not loaded: {'; '.join(found)}; log it again without code of its"
            " own (scikit-learn as skops, PyTorch as pt2 or state), or release it without the scan"
            " if you trust whoever logged it"
        )


def scan(model: str) -> list[str]:
    """Return one clause for each dangerous file of the folder ``model``, as the scanner's task.

    Raises MissingFrameworkError where picklescan is not installed.
    """
    try:
        from picklescan.scanner import SafetyLevel, scan_bytes
    except ImportError as error:
        raise MissingFrameworkError(
            "scanning a source model needs the package picklescan; install it with: pip install"
            " 'mlflow-onnx-flavor[scan]'"
        ) from error
    found = []
    for file in sorted(path for path in Path(model).rglob("*") if path.is_file()):
        with file.open("rb") as content:
            begin = content.read(len(_ZIP))
            is_pickle = begin.startswith(_PICKLE)
            if not (is_pickle or begin == _ZIP or file.suffix in _EXTENSIONS):
                continue
            content.seek(0)
            result = scan_bytes(content, file.name, file.suffix)
        name = file.relative_to(model).as_posix()
        dangerous = [each for each in result.globals if each.safety is SafetyLevel.Dangerous]
        if dangerous:
            found.append(f"{name!r} would call {_in_words(dangerous)}")
        elif result.scan_err and is_pickle:
            found.append(f"{name!r} is a pickle that cannot be read to its end")
    return found


def _in_words(dangerous: list[Any]) -> str:
    names = sorted({f"{each.module}.{each.name}" for each in dangerous})
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more
