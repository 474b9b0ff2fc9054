"""The error of the latest call, for programs of one thread and of several."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from trueup.gateway.terminal.call_wire import SUCCESS, Error


class LatestError:
    """What `last_error()` returns.

    The official module has one error for the whole process. A program that hands each call to a
    pool of threads (`asyncio.to_thread`) asks for the error in any of these threads, so the error
    of the calling thread's own latest call would be that of an earlier call. But calls of several
    threads at once must not see each other's errors. So a thread is given the process's latest
    error if that call began after the thread's own latest call had ended, else its own.
    """

    def __init__(self) -> None:
        self._steps = itertools.count(1)
        self._own = threading.local()
        # When the latest call of the process began, and its error.
        self._newest: tuple[int, Error] = (0, SUCCESS)

    @contextmanager
    def call(self) -> Iterator[None]:
        """Enclose a call; a call within another one belongs to that."""
        own = self._own
        if getattr(own, "began", 0):
            yield
            return
        own.began, own.error = next(self._steps), SUCCESS
        try:
            yield
        finally:
            self._newest = (own.began, own.error)
            own.ended, own.began = next(self._steps), 0

    @property
    def error(self) -> Error:
        """The error of this thread's own latest call, also during the call."""
        error: Error = getattr(self._own, "error", SUCCESS)
        return error

    @error.setter
    def error(self, error: Error) -> None:
        self._own.error = error

    def asked(self) -> Error:
        """Return the error that a program asks for in this thread."""
        began, newest = self._newest
        return newest if began > getattr(self._own, "ended", 0) else self.error
