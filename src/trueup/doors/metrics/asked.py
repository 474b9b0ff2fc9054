"""Work that a thread does when somebody asks, so that no answer waits longer than it may."""

from __future__ import annotations

import threading
from collections.abc import Callable

from trueup.errors import TrueupError
from trueup.logs import Logger, logger

log: Logger = logger("trueup.metrics")


class Asked:
    """A thread that does one piece of work, again and again, each time when somebody asks.

    Args:
        work: the work; an error of trueup is logged, and the next who asks has it tried again.
        name: the name of the thread.
    """

    def __init__(self, work: Callable[[], None], name: str) -> None:
        self._work = work
        self._turn = threading.Condition()
        self._wanted = self._done = 0
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether the thread goes on; a mistake of the program ends it."""
        return self._thread.is_alive()

    def ask(self) -> int:
        """Ask for the work, and return its number; work that is going on counts as asked for."""
        with self._turn:
            self._wanted = self._done + 1
            self._turn.notify_all()
            return self._wanted

    def wait(self, number: int, seconds: float) -> bool:
        """Wait until a piece of work is done, and return whether it is."""
        with self._turn:
            return self._turn.wait_for(lambda: self._done >= number, seconds)

    def _run(self) -> None:
        while True:
            with self._turn:
                self._turn.wait_for(lambda: self._wanted > self._done)
            try:
                self._work()
            except (TrueupError, OSError) as error:
                log.warning("[METRICS] %s", error, extra={"event": "metrics.trouble"})
            with self._turn:
                self._done += 1
                self._turn.notify_all()
