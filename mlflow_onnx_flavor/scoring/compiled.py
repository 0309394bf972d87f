"""Keep onnxruntime's optimized form of a model on disk for the next start.

On the CPU that is the optimized graph, with the weights beside it in the layout of its kernels; the
processes of a machine map them into their memory.  A provider that compiles keeps its context
(``ep.context_enable``) beside a graph that names it.  Both are valid only for this machine, runtime
and configuration, which are part of the name.  The folder must be writable by the user that serves
and by nobody else: its content is executed.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import platform
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import onnxruntime as ort

from .contents import digest_of_files, files_of, remembered_digest
from .providers import version_of
from .runtimes import CPU

_logger = logging.getLogger(__name__)

_NOT_OPTIMIZED_AGAIN = {"graph_optimization_level": "ORT_DISABLE_ALL"}
_WEIGHTS_BESIDE = {
    "session.optimized_model_external_initializers_file_name": "weights.bin",
    "session.optimized_model_external_initializers_min_size_in_bytes": "1024",
    "session.save_external_prepacked_constant_initializers": "1",
}
_GRAPH = "model.onnx"
_SEAL = "digest"  # the file with the digest of the others

# Opens a session: (file, session options), and optionally the settings that make onnxruntime write
# its form of the model.
Open = Callable[..., Any]


def open_kept(
    file: str,
    folder: str,
    providers: Sequence[Mapping[str, Any]],
    session_options: Mapping[str, Any],
    open_session: Open,
) -> Any:
    """Return ``open_session(file, session_options)``, from what ``folder`` keeps if possible.

    A warning is logged for a model that cannot be kept, a folder that cannot be used, and kept
    files that cannot be read.
    """
    files = files_of(Path(file))
    compiles = bool(providers) and providers[0]["name"] != CPU
    if files is None:
        _logger.warning(
            "%s is not kept in %s: its weights lie in other files, and no MLmodel file says which",
            file,
            folder,
        )
        return open_session(file, session_options)
    memory = Path(folder) / "digests.json"
    kept = Path(folder) / _name(remembered_digest(files, memory), providers, session_options)
    if kept.exists() and not _is_whole(kept, memory):
        _logger.warning("%s is not what was written there; it is made anew", kept)
        _remove(kept)
    if kept.exists():
        again = session_options if compiles else {**session_options, **_NOT_OPTIMIZED_AGAIN}
        try:
            return open_session(str(kept / _GRAPH), again)
        except Exception as error:  # onnxruntime's errors have no base of their own
            _logger.warning("%s cannot be used (%s); it is made anew", kept, error)
            _remove(kept)
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="new-", dir=folder) as scratch:
            made = Path(scratch) / "made"
            made.mkdir()  # a temporary folder has stricter permissions
            session = open_session(file, session_options, _writing(made / _GRAPH, compiles))
            if (made / _GRAPH).is_file():
                _seal(made)
                with suppress(OSError):  # another process was faster
                    made.rename(kept)
            return session
    except Exception as error:  # the folder's error, or the model's, which is raised again
        _logger.warning("nothing is kept in %s: %s", folder, error)
        return open_session(file, session_options)


def _seal(made: Path) -> None:
    """Flush the files in ``made`` to the disk and write down their digest."""
    files = sorted(made.iterdir())
    for each in files:
        with each.open("rb") as stream:
            os.fsync(stream.fileno())
    (made / _SEAL).write_text(digest_of_files(files), encoding="utf-8")


def _is_whole(kept: Path, memory: Path) -> bool:
    """Return whether a folder still holds the files whose digest was written.

    Weights that were lost on the way to the disk are zeros, and onnxruntime would compute with
    them.
    """
    with suppress(OSError):
        sealed = (kept / _SEAL).read_text(encoding="utf-8")
        files = sorted(each for each in kept.iterdir() if each.name != _SEAL)
        return remembered_digest(files, memory) == sealed
    return False


def _remove(kept: Path) -> None:
    shutil.rmtree(kept, ignore_errors=True)
    with suppress(OSError):  # a file in the folder's place
        kept.unlink()


def _writing(made: Path, compiles: bool) -> dict[str, Any]:
    """Return the settings that make onnxruntime write its form of a model to the file ``made``."""
    if not compiles:
        return {
            "config_entries": _WEIGHTS_BESIDE,
            "optimized_model_filepath": str(made),
            "log_severity_level": 3,
        }
    context = {
        "ep.context_enable": "1",
        "ep.context_embed_mode": "0",  # embedded in the graph, it takes longer to read than to make
        "ep.context_file_path": str(made),
    }
    return {"config_entries": context}


def _name(digest: str, providers: Sequence[Mapping[str, Any]], options: Mapping[str, Any]) -> str:
    """Return a name that changes with the model's bytes, settings, runtime and processor."""
    versions = [ort.__version__, *(version_of(each["name"]) for each in providers)]
    parts = [digest, versions, list(providers), dict(options), _processor()]
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def _processor() -> str:
    """Return the processor's properties that the optimizer uses: model and instruction sets."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith(("flags", "Features")):
                return platform.machine() + line
    return platform.machine() + platform.processor()
