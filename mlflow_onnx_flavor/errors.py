"""The errors that a user can do something about, one class per remedy.

Each message says what was expected, what came and what to do next.  ``exit_status`` is what the
``mlflow-onnx`` command ends with when the error reaches it.
"""

from __future__ import annotations

from typing import Any, ClassVar

from mlflow_onnx_flavor.redaction import redact


def one_line(error: BaseException) -> str:
    """The first line of an error's message, without a final full stop and without credentials."""
    text = str(error).strip() or type(error).__name__
    return redact(text.splitlines()[0].rstrip("."))


def first_and_last_line(error: BaseException) -> str:
    """Return the message; of one with several lines the first and the last, where libraries put
    what they did and why it failed (MLflow prints the whole data between the two).
    """
    lines = [line.strip() for line in str(error).strip().splitlines() if line.strip()]
    return " ... ".join([lines[0], lines[-1]] if len(lines) > 1 else lines)


class OnnxFlavorError(Exception):
    """Base of every error that this package raises on purpose.

    ``cause``: what is wrong.  ``remedy``: what to do about it, where the cause does not say so
    itself.  The message is both, and holds no credentials.
    """

    exit_status = 1
    # The attributes, besides the cause, that an error keeps when it crosses from a child process.
    travelling: ClassVar[tuple[str, ...]] = ("remedy",)

    def __init__(self, cause: str = "", *, remedy: str = ""):
        super().__init__(redact(cause))
        self.cause, self.remedy = redact(cause), redact(remedy)

    def __str__(self) -> str:
        return "; ".join(filter(None, [self.cause, self.remedy]))

    def advised(self, remedy: str) -> OnnxFlavorError:
        """Return this error, with one more thing to do about it."""
        self.remedy = "; ".join(filter(None, [self.remedy, remedy]))
        return self


class ConfigurationError(OnnxFlavorError):
    """The configuration or the command line is wrong: correct the key that the message names."""

    exit_status = 2


class ModelNotFoundError(OnnxFlavorError):
    """The model URI leads nowhere: correct the URI or the tracking URI."""


class ServerUnreachableError(OnnxFlavorError):
    """The MLflow server does not answer: start it or correct the tracking URI."""


class AccessDeniedError(OnnxFlavorError):
    """The MLflow server does not let this user: sign in, or ask for the permission."""


class CorruptModelError(OnnxFlavorError):
    """The artifact is there but cannot be read: log the model again."""


class UnsafeModelError(OnnxFlavorError):
    """A pickle in the source model would run dangerous code: log the model in another format."""


class MissingSignatureError(OnnxFlavorError):
    """The model says nothing about its inputs: log it with a signature or an input example."""


class MissingFrameworkError(OnnxFlavorError):
    """The framework that trained the model is not installed: install the extra that is named."""


class SourceEnvironmentError(OnnxFlavorError):
    """The model's recorded environment cannot be built: mend its requirements, or do without."""


class UnsupportedModelError(OnnxFlavorError):
    """No framework of this package recognises the model: convert it yourself and log the ONNX."""

    exit_status = 4


class ConversionError(OnnxFlavorError):
    """Every export strategy was tried and none gave a right model: read the ``attempts``."""

    exit_status = 4

    def __init__(self, cause: str, attempts: tuple[Any, ...] = (), *, remedy: str = ""):
        super().__init__(cause, remedy=remedy)
        self.attempts = attempts


class NotExportableError(OnnxFlavorError):
    """One strategy cannot export the model: follow the message, or serve the model as it is."""

    exit_status = 4


class InvalidDataError(OnnxFlavorError):
    """The evaluation data does not fit the model's signature: mend the column that is named."""


class ExecutionProviderError(OnnxFlavorError):
    """An execution provider was asked for that this machine does not have: install its package."""


class DigestMismatchError(OnnxFlavorError):
    """The artifact is not the one that was verified: release it again."""


class GateFailedError(OnnxFlavorError):
    """The evidence does not pass the gates, so nothing is registered: read the failed findings."""

    exit_status = 3


class PromotionRefusedError(OnnxFlavorError):
    """The model version lacks passing evidence, so no alias moves: read the verdict."""

    exit_status = 3


class SignatureError(OnnxFlavorError):
    """A version is unsigned, signed by somebody else, or altered since."""

    exit_status = 3


class NothingToRollBackError(OnnxFlavorError):
    """There is no earlier version to go back to: promote the version that you want instead."""


class RegistryError(OnnxFlavorError):
    """The registry refused or failed: the message carries its own words."""


class StorageError(OnnxFlavorError):
    """A disk is full, read-only or not this user's: the message names the place."""


class WorkerError(OnnxFlavorError):
    """A child process did not finish its work.  ``log`` holds the tail of what it printed."""

    travelling: ClassVar[tuple[str, ...]] = (*OnnxFlavorError.travelling, "log")

    def __init__(self, cause: str, log: str = "", *, remedy: str = ""):
        super().__init__(cause, remedy=remedy)
        self.log = redact(log)


class WorkerCrashedError(WorkerError):
    """The child process died (signal, abort, kill) before it answered."""


class WorkerTimeoutError(WorkerError):
    """The child process was stopped since it ran past its time limit."""


class WorkerOutOfMemoryError(WorkerError):
    """The child process was stopped since it grew past its memory limit."""


class WorkerTaskError(WorkerError):
    """The task raised an error that is not one of ours.  ``log`` holds its traceback."""
