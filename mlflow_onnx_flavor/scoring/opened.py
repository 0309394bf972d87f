"""A model's onnxruntime sessions: on its own execution provider, on others, and after a fork."""

from __future__ import annotations

import ctypes
import os
import threading
import weakref
from collections.abc import Callable, Mapping
from typing import Any

import onnxruntime as ort


class OpenedModel:
    """A model's session, and its sessions on other execution providers.

    ``reopen``: opens a session on the provider that is named ("": the model's own).

    A scoring session holds this object and not the other way round, so that a model which nobody
    holds is freed at once, with its weights.
    """

    def __init__(self, session: Any, reopen: Callable[[str], Any] | None = None):
        self.use(session)
        self._reopen = reopen
        self._elsewhere: dict[str, Any] = {}
        self._opening = threading.Lock()
        _alive.add(self)

    def use(self, session: Any) -> None:
        """Answer with ``session`` from now on."""
        self.session = session
        self.run = _run_of(session)

    def on(self, provider: str) -> Any:
        """Return the session on that provider, opened at its first use."""
        with self._opening:
            if provider not in self._elsewhere:
                if self._reopen is None:
                    raise ValueError("this session cannot be opened on another execution provider")
                self._elsewhere[provider] = self._reopen(provider)
            return self._elsewhere[provider]

    def provider_of(self, params: Mapping[str, Any] | None = None) -> str:
        """Return the execution provider that answers under ``params``.

        After a fallback it is another one than was requested.
        """
        asked = (params or {}).get("execution_provider") or ""
        return self._elsewhere.get(asked, self.session).get_providers()[0]

    def _after_fork(self) -> None:
        """Make the next use open the session again: its threads stay in the process that opened it.

        The inherited session is kept for good: ending it would wait for its threads.
        """
        for session in (self.session, *self._elsewhere.values()):
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(session))
        self._elsewhere = {}
        self._opening = threading.Lock()
        if self._reopen is not None:
            self.use(_Reopening(self))


class _Reopening:
    """A stand-in for a session in a forked process, which opens the session at its first use."""

    def __init__(self, owner: OpenedModel):
        self._owner = owner

    def __getattr__(self, name: str) -> Any:
        owner = self._owner
        with owner._opening:
            if owner.session is self:
                assert owner._reopen is not None  # where there is none, nothing stands in
                owner.use(owner._reopen(""))
        return getattr(owner.session, name)


def _run_of(session: Any) -> Callable[..., list[Any]]:
    """Return `InferenceSession.run` without its checks of the arguments.

    The checks take as long as a small model, and the feeds were made for this graph.  The full
    method is used where it was asked to try the CPU after an error, since only it does that.
    """
    inner = getattr(session, "_sess", None) if isinstance(session, ort.InferenceSession) else None
    if inner is None or getattr(session, "_enable_fallback", True):
        return lambda names, feeds, options: session.run(names, feeds, options)
    return inner.run


_alive: weakref.WeakSet[OpenedModel] = weakref.WeakSet()


def _after_fork() -> None:
    for each in list(_alive):
        each._after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
