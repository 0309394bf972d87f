"""What onnxruntime made of a model when it was opened first, kept for the next start.

On the CPU that is the optimized graph; of a provider that compiles, its context
(``ep.context_enable``).  Both are for this very machine, runtime and configuration, which are part
of the name.  The folder must be writable by whoever serves and by nobody else: what lies there is
run.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import platform
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import onnxruntime as ort

from .integrity import digest_of
from .providers import CPU

_logger = logging.getLogger(__name__)

# onnxruntime writes one file up to here; protobuf ends at 2 GiB.
MOST_BYTES = 1_500_000_000
_NOT_OPTIMIZED_AGAIN = {"graph_optimization_level": "ORT_DISABLE_ALL"}

Open = Callable[[str, Mapping[str, Any]], Any]


def open_kept(
    file: str,
    folder: str,
    providers: Sequence[Mapping[str, Any]],
    session_options: Mapping[str, Any],
    open_session: Open,
) -> Any:
    """``open_session(file, session_options)``, from what ``folder`` keeps of it where it does.

    A folder that cannot be used, and what cannot be read in it, is a warning in the log.
    """
    if _bytes_beside(Path(file)) > MOST_BYTES:
        _logger.warning("%s is too large to be kept in %s", file, folder)
        return open_session(file, session_options)
    kept = Path(folder) / f"{_name(file, providers, session_options)}.onnx"
    compiles = bool(providers) and providers[0]["name"] != CPU
    if kept.is_file():
        again = session_options if compiles else {**session_options, **_NOT_OPTIMIZED_AGAIN}
        try:
            return open_session(str(kept), again)
        except Exception as error:  # onnxruntime's errors have no base of their own
            _logger.warning("%s cannot be used (%s); it is made anew", kept, error)
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        scratch = tempfile.mkdtemp(prefix="new-", dir=kept.parent)
    except OSError as error:
        _logger.warning("nothing is kept in %s: %s", folder, error)
        return open_session(file, session_options)
    made = Path(scratch) / "model.onnx"
    try:
        session = open_session(file, _writing(session_options, made, compiles))
        if made.is_file():
            os.replace(made, kept)  # whole, also where two processes make it at once
        return session
    finally:
        with suppress(OSError):
            made.unlink(missing_ok=True)
            os.rmdir(scratch)


def _writing(options: Mapping[str, Any], made: Path, compiles: bool) -> dict[str, Any]:
    if not compiles:
        return {**options, "optimized_model_filepath": str(made), "log_severity_level": 3}
    entries = {
        **(options.get("config_entries") or {}),
        "ep.context_enable": "1",
        "ep.context_embed_mode": "1",
        "ep.context_file_path": str(made),
    }
    return {**options, "config_entries": entries}


def _name(file: str, providers: Sequence[Mapping[str, Any]], options: Mapping[str, Any]) -> str:
    """Changes with the model's bytes, the settings, the runtime and the processor."""
    whole = Path(file).parent if (Path(file).parent / "MLmodel").is_file() else Path(file)
    parts = [digest_of(whole), ort.__version__, list(providers), dict(options), _processor()]
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def _processor() -> str:
    """What the optimizer asks the processor for: its model and its instruction sets."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith(("flags", "Features")):
                return platform.machine() + line
    return platform.machine() + platform.processor()


def _bytes_beside(file: Path) -> int:
    if not (file.parent / "MLmodel").is_file():
        return file.stat().st_size
    return sum(each.stat().st_size for each in file.parent.rglob("*") if each.is_file())
