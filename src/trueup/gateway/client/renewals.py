"""Renew the claims of all accounts of this process, in one thread that waits for no gateway.

A renewal is taken in steps: send the request, look for its reply, give up. So a gateway that hangs
delays no other claim, and a thousand accounts need one thread. The thread runs while there is a
claim.
"""

from __future__ import annotations

import threading
import time
from typing import Final, Protocol

from trueup.forks import HOLDERS
from trueup.logs import Logger, logger

log: Logger = logger("trueup.gateway")

# After a defect of our own the claim is tried again so much later.
RETRY_SEC: Final = 10.0


class Renewable(Protocol):
    """A claim that is renewed from time to time."""

    def step(self, now: float) -> float | None:
        """Take the next step of a renewal, without waiting.

        Args:
            now: seconds on the monotonic clock.

        Returns:
            When to take the next step, on the same clock; None if there is nothing to renew.
        """


class Renewing(Protocol):
    """Takes the steps of renewals when they are due."""

    def add(self, one: Renewable, wait_sec: float) -> None:
        """Take the steps of a claim, the first one after a wait."""

    def soon(self, one: Renewable) -> None:
        """Take the next step of a claim at once, if it is renewed at all."""

    def remove(self, one: Renewable) -> None:
        """Renew a claim no more."""


class Renewals:
    """Takes the steps of all renewals when they are due."""

    def __init__(self) -> None:
        self._begin()
        HOLDERS.add(self)

    def _begin(self) -> None:
        self._changed = threading.Condition()
        self._due: dict[Renewable, float] = {}
        self._thread: threading.Thread | None = None

    def add(self, one: Renewable, wait_sec: float) -> None:
        """Take the steps of a claim, the first one after a wait."""
        with self._changed:
            self._due[one] = time.monotonic() + wait_sec
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="claims", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def soon(self, one: Renewable) -> None:
        """Take the next step of a claim at once, if it is renewed at all."""
        with self._changed:
            if one in self._due:
                self._due[one] = 0.0
                self._changed.notify_all()

    def remove(self, one: Renewable) -> None:
        """Renew a claim no more; with the last one, wait for the end of the thread."""
        with self._changed:
            self._due.pop(one, None)
            thread = self._thread
            self._changed.notify_all()
            # Until the thread has seen that there is no claim, or there is one again.
            while self._thread is thread is not None and not self._due:
                self._changed.wait()
            is_over = thread is not None and self._thread is not thread
        if is_over and thread is not None:
            thread.join()

    def let_go_in_child(self) -> None:
        """In a forked process: forget all claims, which are the parent's."""
        self._begin()

    def _run(self) -> None:
        while (due := self._wait()) is not None:
            for one, before in due:
                after = self._step(one)
                with self._changed:
                    # Not if it was removed, or is wanted at once.
                    if self._due.get(one) == before:
                        if after is None:
                            del self._due[one]
                        else:
                            self._due[one] = after

    def _wait(self) -> list[tuple[Renewable, float]] | None:
        """Wait until claims are due, and return them; None once there is no claim."""
        with self._changed:
            while self._due:
                now = time.monotonic()
                due = [(one, at) for one, at in self._due.items() if at <= now]
                if due:
                    return due
                self._changed.wait(min(self._due.values()) - now)
            self._thread = None
            self._changed.notify_all()
            return None

    def _step(self, one: Renewable) -> float | None:
        now = time.monotonic()
        try:
            return one.step(now)
        except Exception:
            # Without this thread no account would keep its claim.
            log.exception("[CLAIM] A claim could not be renewed")
            return now + RETRY_SEC


RENEWALS: Final = Renewals()
