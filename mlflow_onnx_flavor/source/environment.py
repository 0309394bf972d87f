"""The environment of a source model: its record, its differences from this one, and its rebuild.

A model that was trained with another version of scikit-learn may not load, or may predict
differently.  The recorded environment is built with uv, as MLflow's uv environment manager does,
with the additional packages that conversion needs, and is kept for later runs.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version
from pydantic import BaseModel, ConfigDict

from mlflow_onnx_flavor.errors import SourceEnvironmentError
from mlflow_onnx_flavor.processes.confinement import allowed_variables
from mlflow_onnx_flavor.schemas.configuration import SourceEnv
from mlflow_onnx_flavor.scoring.documents import DocumentError, parse_yaml, read_text

DISTRIBUTION = "mlflow-onnx-flavor"
OLDEST_PYTHON = Version("3.11")
BUILD_TIMEOUT_S = 1800.0
_READY = "ready.txt"
_SHOWN = 4


class VersionDifference(BaseModel):
    """A pinned distribution of the model's requirements that this environment does not meet.

    ``installed`` is None where the distribution is not installed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    distribution: str
    recorded: str
    installed: str | None

    def __str__(self) -> str:
        return f"{self.distribution} {self.recorded} recorded, {self.installed or 'not'} installed"


def differences(model_folder: Path) -> tuple[VersionDifference, ...]:
    """Return the recorded pins that this environment does not meet, in the order of the file."""
    found = []
    for requirement in recorded_requirements(model_folder):
        pin = _pin(requirement)
        if pin is None or (requirement.marker and not requirement.marker.evaluate()):
            continue
        try:
            installed = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            installed = None
        if installed is None or Version(installed).public != Version(pin).public:
            found.append(
                VersionDifference(distribution=requirement.name, recorded=pin, installed=installed)
            )
    return tuple(found)


def recorded_requirements(model_folder: Path) -> list[Requirement]:
    """Return the model's requirements.txt, without lines that name no distribution.

    Such lines are options and files.
    """
    file = Path(model_folder) / "requirements.txt"
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    found = []
    for line in lines:
        try:
            found.append(Requirement(line.partition(" #")[0].strip()))
        except InvalidRequirement:
            continue
    return found


def in_words(found: Sequence[VersionDifference], first: Sequence[str] = ()) -> str:
    """Return the differences in one clause; "" where there is none.

    Those of the distributions ``first`` come before others.
    """
    leading = {canonicalize_name(each) for each in first}
    ordered = sorted(found, key=lambda each: canonicalize_name(each.distribution) not in leading)
    shown = ", ".join(map(str, ordered[:_SHOWN]))
    return shown + (f" and {len(ordered) - _SHOWN} more" if len(ordered) > _SHOWN else "")


def environment_note(found: Sequence[VersionDifference], first: Sequence[str] = ()) -> str:
    """Return a sentence for users about the differences; "" where there is none."""
    clause = in_words(found, first)
    if not clause:
        return ""
    return f"the source ran in another environment than its own: {clause} (see --source-env)"


def interpreter(model_folder: Path, extra: str, source_env: SourceEnv) -> str:
    """Return the path of the interpreter for a source model: this one, or that of `python_of`."""
    return sys.executable if source_env == "current" else str(python_of(model_folder, extra))


def python_of(model_folder: Path, extra: str) -> Path:
    """Return the interpreter of the model's recorded environment, which is built unless it exists.

    ``extra``: the extra of this distribution that conversion needs for the model's framework.  The
    first build takes from seconds to minutes, and reads the package index.

    Raises SourceEnvironmentError where the model records no requirements, or they cannot be
    installed.
    """
    requirements = Path(model_folder) / "requirements.txt"
    if not requirements.is_file():
        raise SourceEnvironmentError(
            f"{model_folder} records no requirements (requirements.txt), so its environment cannot"
            " be built; log the model with pip_requirements, or use --source-env current"
        )
    uv = _uv()
    lines = [
        *requirements.read_text(encoding="utf-8").splitlines(),
        *_needed(recorded_requirements(model_folder), extra),
    ]
    version = _python_version(Path(model_folder))
    digest = hashlib.sha256("\n".join([version, *lines]).encode()).hexdigest()
    folder = _root() / f"mlflow-onnx-{digest[:24]}"
    python = folder / "bin" / "python"
    with _locked(folder):
        if not (folder / _READY).is_file():
            _build(uv, folder, version, lines, Path(model_folder))
    return python


def _needed(recorded: Sequence[Requirement], extra: str) -> list[str]:
    """Return the requirements of this package's worker that the model does not record itself.

    The model's own pin counts for a distribution that it records.
    """
    kept = {canonicalize_name(each.name) for each in recorded}
    needed = []
    for line in importlib.metadata.requires(DISTRIBUTION) or ():
        requirement = Requirement(line)
        wanted = requirement.marker is None or requirement.marker.evaluate({"extra": extra})
        if wanted and canonicalize_name(requirement.name) not in kept:
            requirement.marker = None
            needed.append(_as_here(requirement))
    return sorted(needed)


def _as_here(requirement: Requirement) -> str:
    """Return the requirement: mlflow at the version installed here, any other as its range.

    Artifacts are written with the mlflow of this environment.
    """
    if canonicalize_name(requirement.name) == "mlflow":
        return f"mlflow=={importlib.metadata.version('mlflow')}"
    return str(requirement)


def _pin(requirement: Requirement) -> str | None:
    exact = [each for each in requirement.specifier if each.operator == "=="]
    return exact[0].version if len(exact) == 1 and "*" not in exact[0].version else None


def _python_version(model_folder: Path) -> str:
    """Return the recorded Python version (major and minor), or the path of this interpreter.

    The path is returned where this interpreter is of that version, so that nothing is downloaded,
    and where the recorded version is older than this package supports.
    """
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    file = model_folder / "python_env.yaml"
    try:
        document = parse_yaml(read_text(file)) if file.is_file() else None
    except DocumentError as error:
        raise SourceEnvironmentError(
            f"{file.name} of the model cannot be read: {error}; log the model again, or use"
            " --source-env current"
        ) from error
    recorded = document.get("python") if isinstance(document, dict) else None
    wanted = ".".join(str(recorded or here).split(".")[:2])
    if wanted == here or Version(wanted) < OLDEST_PYTHON:
        return sys.executable
    return wanted


def _build(uv: str, folder: Path, version: str, lines: Sequence[str], model_folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    try:
        _run([uv, "venv", "--quiet", "--python", version, str(folder)], model_folder)
        merged = folder / "requirements.txt"
        merged.write_text("\n".join(lines) + "\n", encoding="utf-8")
        python = str(folder / "bin" / "python")
        # Run in the model's folder, since its requirements may name files there.
        _run([uv, "pip", "install", "--quiet", "--python", python, "-r", str(merged)], model_folder)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    (folder / _READY).write_text("\n".join(lines) + "\n", encoding="utf-8")


def _variables() -> dict[str, str]:
    """Return the environment variables of the build: only those that the package index needs.

    Installing may run code of the requirements.
    """
    index = {
        name: value
        for name, value in os.environ.items()
        if name.startswith(("UV_", "PIP_", "SSL_", "NETRC")) or name.lower().endswith("_proxy")
    }
    return allowed_variables(os.environ) | index


def _run(command: list[str], folder: Path) -> None:
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=_variables(),
            capture_output=True,
            check=False,
            text=True,
            timeout=BUILD_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired as error:
        raise SourceEnvironmentError(
            f"the model's recorded environment was not built within {BUILD_TIMEOUT_S:g} s; check"
            " the package index, or use --source-env current"
        ) from error
    if done.returncode:
        reason = " ".join(done.stderr.split()).removeprefix("× ")[:600]
        raise SourceEnvironmentError(
            f"the model's recorded environment cannot be built: {reason}; mend its requirements"
            " (mlflow.models.update_model_requirements), or use --source-env current"
        )


def _uv() -> str:
    found = shutil.which("uv")
    if found is None and importlib.util.find_spec("uv") is not None:
        import uv

        found = uv.find_uv_bin()
    if found is None:
        raise SourceEnvironmentError(
            "--source-env recorded builds the environment with uv, which is not installed; run:"
            " pip install uv"
        )
    return found


def _root() -> Path:
    from mlflow.environment_variables import MLFLOW_ENV_ROOT

    root = Path(MLFLOW_ENV_ROOT.get())
    root.mkdir(parents=True, exist_ok=True)
    return root


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the lock of ``folder``: one process builds, and the next finds the result."""
    with open(folder.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(lock, fcntl.LOCK_UN)
