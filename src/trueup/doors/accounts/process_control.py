"""How a second shell finds a process with many accounts, and how the process takes its commands.

The process has a state file and a port of its own. A thread takes the commands, so that none waits
for what the process does.
"""

from __future__ import annotations

import os
import threading
from abc import ABC, abstractmethod
from typing import Any

import msgspec

from trueup.doors.accounts.lateness import Lateness
from trueup.errors import TrueupError, reason
from trueup.gateway.server.sockets import READ_SEC, Server, anybody
from trueup.logs import Logger, logger
from trueup.runtime.control.bots import Bot, process_file
from trueup.runtime.control.listener import ANY_PORT, forget_dead
from trueup.runtime.time.clock import Clock, utc

log: Logger = logger("trueup.run")

POLL_MS = 200


class ProcessCommand(msgspec.Struct):
    """A command to the process or to one of its accounts; the latter has more fields."""

    command: str
    account: str = ""
    who: str = "a person"
    why: str = ""


class ProcessControl(ABC):
    """Takes the commands of a second shell, in a thread that `start` starts.

    Args:
        clock: the source of time.

    Raises:
        TrueupError: no loopback port is free, or the state folder cannot be written.
    """

    def __init__(self, clock: Clock) -> None:
        forget_dead()
        self._pid = os.getpid()
        self._started = utc(clock.now_ns()).isoformat(timespec="seconds")
        self._file = process_file(self._pid)
        self._is_over = False
        self._thread = threading.Thread(target=self._run, name="commands", daemon=True)
        try:
            self._server = Server(ANY_PORT, anybody(self._handle))
            try:
                self._file.write(Bot(self._pid, self._server.endpoint, "", self._started))
            except OSError:
                self._server.close()
                raise
        except OSError as error:
            because = f"A second shell could not reach this process: {reason(error)}."
            raise TrueupError(because) from error

    def start(self) -> None:
        """Begin to take commands."""
        self._thread.start()

    def close(self) -> None:
        """Stop taking commands, and remove the state file."""
        self._is_over = True
        if self._thread.is_alive():
            self._thread.join()
        self._file.remove(self._pid)
        # The last answer may be the one to `trueup stop`.
        self._server.close(READ_SEC)

    @abstractmethod
    def answer(self, command: ProcessCommand, raw: bytes) -> dict[str, Any] | bytes:
        """Carry out a command; return what is added to the answer, or the whole answer.

        Raises:
            TrueupError: the command is refused, with this text.
        """

    @abstractmethod
    def look(self) -> None:
        """Do what is to be done between two commands; called a few times a second."""

    def told(
        self, late: Lateness, accounts: list[dict[str, Any]], waits_for: str = ""
    ) -> dict[str, Any]:
        """Return the answer to `trueup accounts`.

        Args:
            late: how late the syncs of all accounts began.
            accounts: the accounts, as plain values.
            waits_for: why its database cannot be reached, while the process waits for it.
        """
        return {
            "pid": self._pid,
            "started": self._started,
            "waits_for": waits_for,
            "late_ms": {
                "p50": round(late.within_ms(0.5), 1),
                "p99": round(late.within_ms(0.99), 1),
                "most": round(late.most_ms, 1),
                "syncs": late.count,
            },
            "accounts": accounts,
        }

    def _run(self) -> None:
        while not self._is_over:
            self._server.serve_once(POLL_MS)
            self.look()

    def _handle(self, raw: bytes) -> bytes:
        try:
            answer = self.answer(msgspec.json.decode(raw, type=ProcessCommand), raw)
            if isinstance(answer, bytes):
                return answer
            return msgspec.json.encode({"ok": True, **answer})
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            because = f"The command cannot be read: {error}."
        except TrueupError as error:
            because = str(error)
        except Exception as error:
            # Without this thread nobody could reach any account.
            log.exception("[CONTROL] A command failed")
            because = f"The command failed, see the log: {type(error).__name__}: {error}."
        return msgspec.json.encode({"ok": False, "error": because})
