"""Wait for a database that is away when a process of many accounts starts.

As after a power cut, when the machine is up before the server of its database. The process ends at
once where waiting cannot help, as with a wrong password.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import Final, TypeVar

from trueup.doors.accounts.stop import Stop
from trueup.doors.accounts.waiting_control import WaitingControl
from trueup.doors.running.service_manager import ServiceManager
from trueup.errors import JournalError
from trueup.journal.database.database import ConnectionLost, Unreachable
from trueup.logs import Logger, logger
from trueup.runtime.time.clock import Clock

log: Logger = logger("trueup.run")

# From one look for the database to the next: the first time, and at most.
FIRST_SEC: Final = 0.5
LONGEST_SEC: Final = 10.0
# How soon a stop is noticed.
STEP_SEC: Final = 0.1
SECOND_NS: Final = 1_000_000_000
Answer = TypeVar("Answer")


class DatabaseWait:
    """Repeats what needs a database while its server is away.

    Args:
        clock: the source of time.
        stop: the stop of this process.
        duration_sec: wait no longer than this; None for no end.
    """

    def __init__(self, clock: Clock, stop: Stop, duration_sec: float | None = None) -> None:
        self._clock, self._stop = clock, stop
        self._manager = ServiceManager(clock)
        self._end_ns: int | None = None
        if duration_sec is not None:
            self._end_ns = clock.waiting_ns() + round(duration_sec * SECOND_NS)

    def done(self, job: Callable[[], Answer]) -> Answer:
        """Do a job that needs a database, and return what the job returns.

        Raises:
            Stopped: a stop came while the database was away.
            JournalError: the database cannot be reached, and waiting does not help, or the duration
                is over.
        """
        try:
            return _done(job)
        except (ConnectionLost, Unreachable) as error:
            with closing(WaitingControl(self._clock, self._stop, str(error))) as control:
                # Once a second shell can stop it.
                log.warning(
                    "[DATABASE] %s No order leaves until it is reached: it is looked for again, at "
                    "least every %d seconds.",
                    error.with_remedy,
                    LONGEST_SEC,
                )
                answer = self._repeated(job, control, error)
            log.warning("[DATABASE] The database is reached")
            return answer

    def _repeated(
        self, job: Callable[[], Answer], control: WaitingControl, trouble: JournalError
    ) -> Answer:
        wait_sec = FIRST_SEC
        while True:
            self._rest(wait_sec, trouble)
            wait_sec = min(2 * wait_sec, LONGEST_SEC)
            try:
                return _done(job)
            except (ConnectionLost, Unreachable) as error:
                trouble, control.trouble = error, str(error)

    def _rest(self, seconds: float, trouble: JournalError) -> None:
        end_ns = self._clock.waiting_ns() + round(seconds * SECOND_NS)
        while self._clock.waiting_ns() < end_ns:
            self._stop.check()
            if self._end_ns is not None and self._clock.waiting_ns() >= self._end_ns:
                raise trouble
            # A service manager would end a process that does not say that it has started.
            self._manager.turn(f"Waits for its database: {trouble}")
            self._clock.sleep(STEP_SEC)


def _done(job: Callable[[], Answer]) -> Answer:
    """Do a job.

    Raises:
        ConnectionLost, Unreachable: the server of the database is away.
        JournalError: a person has to change something.
    """
    try:
        return job()
    except Unreachable as error:
        if error.is_away():
            raise
    # The server may have come up between the two questions, so the job fails again or works.
    try:
        return job()
    except Unreachable as error:
        if error.is_away():
            raise
        raise JournalError(str(error), remedy=error.remedy) from error
