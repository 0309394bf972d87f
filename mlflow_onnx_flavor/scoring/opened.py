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
    """``session``, and those that ``reopen`` opens on the provider that is named ("": its own).

    Whatever answers holds this and not the other way round, so that a model which nobody holds is
    gone at once, with its weights.
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
        """The session on that provider, opened when it is first asked for."""
        with self._opening:
            if provider not in self._elsewhere:
                if self._reopen is None:
                    raise ValueError("this session cannot be opened on another execution provider")
                self._elsewhere[provider] = self._reopen(provider)
            return self._elsewhere[provider]

    def provider_of(self, params: Mapping[str, Any] | None = None) -> str:
        """The execution provider that answered under ``params``; after a fallback another one than
        was asked for.
        """
        asked = (params or {}).get("execution_provider") or ""
        return self._elsewhere.get(asked, self.session).get_providers()[0]

    def _after_fork(self) -> None:
        """The threads of a session stay with the process that opened it: open it again, if used.

        The one that was inherited is kept for good: to end it is to wait for its threads.
        """
        for session in (self.session, *self._elsewhere.values()):
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(session))
        self._elsewhere = {}
        self._opening = threading.Lock()
        if self._reopen is not None:
            self.use(_Reopening(self))


class _Reopening:
    """In place of a session, in a forked process that has not used it yet."""

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
    """`InferenceSession.run` without what it checks of its arguments, which takes as long as a
    small model: the feeds were made for this graph.  What else it does, to try the CPU after an
    error, is left to it where it was asked to.
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
