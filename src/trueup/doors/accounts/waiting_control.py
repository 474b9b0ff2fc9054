"""The commands of a second shell to a process of many accounts that waits for its database."""

from __future__ import annotations

from typing import Any

from trueup.doors.accounts.lateness import Lateness
from trueup.doors.accounts.process_control import ProcessCommand, ProcessControl
from trueup.doors.accounts.stop import Stop
from trueup.errors import TrueupError
from trueup.logs import Logger, logger
from trueup.runtime.time.clock import Clock

log: Logger = logger("trueup.run")


class WaitingControl(ProcessControl):
    """Tells what the process waits for, and takes a stop.

    Args:
        clock: the source of time.
        stop: the stop of this process.
        trouble: why the database cannot be reached; may be changed.

    Raises:
        TrueupError: no loopback port is free, or the state folder cannot be written.
    """

    def __init__(self, clock: Clock, stop: Stop, trouble: str) -> None:
        super().__init__(clock)
        self._stop = stop
        self.trouble: str = trouble
        self.start()

    def answer(self, command: ProcessCommand, raw: bytes) -> dict[str, Any]:
        """Carry out a command.

        Raises:
            TrueupError: it needs the database.
        """
        if command.command == "hello":
            return {"pid": self._pid, "accounts": 0}
        if command.command == "accounts":
            return self.told(Lateness(), [], self.trouble)
        if command.command == "stop":
            words = "[CONTROL] %s stops this process, which waits for its database. %s"
            log.warning(words, command.who, command.why)
            self._stop.has_come = True
            return {"journalled": False, "trouble": self.trouble, "positions": [], "pending": 0}
        raise TrueupError(f"Process {self._pid} waits for its database. {self.trouble}")

    def look(self) -> None:
        """Do nothing: no account has a state file."""
