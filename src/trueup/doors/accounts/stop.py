"""A stop of a process of many accounts, which may come before there is anything to stop."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from trueup.doors.accounts.accounts_loop import AccountsLoop

Answer = TypeVar("Answer")


class Stopped(Exception):
    """A stop came while a process waited for its database."""


class Stop:
    """A stop by a signal, which calls this object in the main thread, or by a second shell."""

    def __init__(self) -> None:
        self.has_come: bool = False
        """Whether the process is to end."""
        self._loop: AccountsLoop | None = None
        self._is_interrupting = False

    def __call__(self) -> None:
        self.has_come = True
        if self._loop is not None:
            self._loop.stop()
        if self._is_interrupting:
            raise Stopped

    def ends(self, loop: AccountsLoop) -> None:
        """Let a stop end this loop, also one that has come already."""
        self._loop = loop
        if self.has_come:
            loop.stop()

    def interrupting(self, job: Callable[[], Answer]) -> Answer:
        """Do a job that a signal interrupts: a connection may take seconds.

        Raises:
            Stopped: a stop has come.
        """
        self._is_interrupting = True
        try:
            self.check()
            return job()
        finally:
            self._is_interrupting = False

    def check(self) -> None:
        """Raise Stopped if a stop has come."""
        if self.has_come:
            raise Stopped
