"""The errors that a user can do something about, one class per remedy.

Each message says what was expected, what came and what to do next.  ``exit_status`` is what the
``mlflow-onnx`` command ends with when the error reaches it.
"""

from __future__ import annotations

from typing import Any, ClassVar

from mlflow_onnx_flavor.redaction import redact


def one_line(error: BaseException) -> str:
    """Return the first line of an error's message, without its final full stop and credentials."""
    text = str(error).strip() or type(error).__name__
    return redact(text.splitlines()[0].rstrip("."))


def first_and_last_line(error: BaseException) -> str:
    """Return the message of an error, cut to its first and last line where it has several.

    Libraries put what they did into the first line and why it failed into the last; MLflow prints
    the whole data between the two.
    """
    lines = [line.strip() for line in str(error).strip().splitlines() if line.strip()]
    return " ... ".join([lines[0], lines[-1]] if len(lines) > 1 else lines)


class OnnxFlavorError(Exception):
    """Base class of every error that this package raises on purpose.

    ``cause``: what is wrong.  ``remedy``: what to do about it, where the cause does not say so
    itself.  The message is both, and holds no credentials.
    """

    exit_status = 1
    # Attributes, besides the cause, that are passed on when a child process raises the error.
    travelling: ClassVar[tuple[str, ...]] = ("remedy",)

    def __init__(self, cause: str = "", *, remedy: str = ""):
        super().__init__(redact(cause))
        self.cause, self.remedy = redact(cause), redact(remedy)

    def __str__(self) -> str:
        return "; ".join(filter(None, [self.cause, self.remedy]))

    def advised(self, remedy: str) -> OnnxFlavorError:
        """Return this error with ``remedy`` added to the things that can be done about it."""
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
    """The MLflow server denies this user the request: sign in, or ask for the permission."""


class CorruptModelError(OnnxFlavorError):
    """The artifact is there but cannot be read: log the model again."""


class UnsafeModelError(OnnxFlavorError):
    """A pickle in the source model would run dangerous code: log the model in another format."""


class MissingSignatureError(OnnxFlavorError):
    """The model does not describe its inputs: log it with a signature or an input example."""


class MissingFrameworkError(OnnxFlavorError):
    """The framework that trained the model is not installed: install the extra that is named."""


class SourceEnvironmentError(OnnxFlavorError):
    """The model's recorded environment cannot be built: mend its requirements, or do without."""


class UnsupportedModelError(OnnxFlavorError):
    """No framework of this package recognises the model: convert it yourself and log the result."""

    exit_status = 4


class ConversionError(OnnxFlavorError):
    """Every export strategy was tried and none gave a correct model: read the ``attempts``."""

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
    """The requested execution provider is not available on this machine: install its package."""


class DigestMismatchError(OnnxFlavorError):
    """The artifact is not the one that was verified: release it again."""


class GateFailedError(OnnxFlavorError):
    """The evidence does not pass the gates, so nothing is registered: read the failed findings."""

    exit_status = 3


class PromotionRefusedError(OnnxFlavorError):
    """The model version lacks passing evidence, so no alias moves: read the verdict."""

    exit_status = 3


class SignatureError(OnnxFlavorError):
    """A version is unsigned, signed by a key that is not trusted, or altered since its signing."""

    exit_status = 3


class NothingToRollBackError(OnnxFlavorError):
    """There is no earlier version to go back to: promote the version that you want instead."""


class RegistryError(OnnxFlavorError):
    """The registry refused a request or failed: the message quotes what it answered."""


class StorageError(OnnxFlavorError):
    """A disk is full, read-only or not this user's: the message names the place."""


class WorkerError(OnnxFlavorError):
    """A child process did not finish its work. ``log`` holds the end of what it printed."""

    travelling: ClassVar[tuple[str, ...]] = (*OnnxFlavorError.travelling, "log")

    def __init__(self, cause: str, log: str = "", *, remedy: str = ""):
        super().__init__(cause, remedy=remedy)
        self.log = redact(log)


class WorkerCrashedError(WorkerError):
    """The child process died (signal, abort, kill) before it answered."""


class WorkerTimeoutError(WorkerError):
    """The child process was stopped because it ran past its time limit."""


class WorkerOutOfMemoryError(WorkerError):
    """The child process was stopped because it grew past its memory limit."""


class WorkerTaskError(WorkerError):
    """The task raised an error of another package. ``log`` holds its traceback."""
