"""Start commands of trueup as processes in a folder, and read what they write."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import IO, Any

import trueup
from trueup.errors import TrueupError
from trueup.runtime.time.clock import SystemClock

END_SEC = 30.0
# A gateway on a busy machine needs half a minute for its worker alone.
SAY_SEC = 120.0
LOOK_AGAIN_SEC = 0.02
LEASHED = "trueup.lab.processes.leashed"
OWN_SETTINGS = ("GTW_", "TRUEUP_", "SYNC_")


def environment(*, with_settings: bool = True, **variables: str) -> dict[str, str]:
    """Return this process's environment, with this package and further variables.

    Args:
        with_settings: whether the settings of trueup in the environment stay.
        variables: further variables.
    """
    paths = [str(Path(trueup.__file__).resolve().parents[1]), os.environ.get("PYTHONPATH", "")]
    kept = {
        name: value
        for name, value in os.environ.items()
        if with_settings or not name.startswith(OWN_SETTINGS)
    }
    return {
        **kept,
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "PYTHONUTF8": "1",
        **variables,
    }


class Child:
    """A command of trueup as a process, which ends with this process.

    Args:
        folder: the current folder of the process.
        log: the file in the folder that takes what the process writes.
        arguments: the command and its options.
        variables: the environment of the process.
    """

    def __init__(
        self, folder: Path, log: str, arguments: list[str], variables: dict[str, str]
    ) -> None:
        self.log: Path = folder / log
        self.mark()
        with self.log.open("ab") as out:
            words = ["-P", "-m", LEASHED, *arguments]
            self._process, self._leash = self._start(words, folder, variables, out)
        self.pid: int = self._process.pid

    def _start(
        self, words: list[str], folder: Path, variables: dict[str, str], out: IO[bytes]
    ) -> tuple[subprocess.Popen[bytes], IO[bytes]]:
        """Start Python; return the process, and its leash: the other end of its input."""
        # A group of its own: Ctrl-C in the shell is for the rehearsal, which ends its parts.
        # And in the same session, so that the system wakes and ends a stopped process whose
        # rehearsal was killed.
        process = subprocess.Popen(
            [sys.executable, *words],
            cwd=folder,
            env=variables,
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=out,
            **_own_group(),
        )
        assert process.stdin is not None
        return process, process.stdin

    def mark(self) -> None:
        """Let `text` begin with what the process writes from now on."""
        self._from = self.log.stat().st_size if self.log.exists() else 0

    def text(self) -> str:
        """Return what the process has written since the mark."""
        return self.log.read_bytes()[self._from :].decode("utf-8", "replace")

    @property
    def exit_code(self) -> int | None:
        """The exit code of the process; None while the process runs."""
        return self._process.poll()

    def wait_for(self, words: str, seconds: float = SAY_SEC) -> None:
        """Wait until the process has written these words since the mark.

        Raises:
            TrueupError: the process ended without them, or the time has passed.
        """
        clock = SystemClock()
        deadline_ns = clock.waiting_ns() + round(seconds * 1e9)
        while words not in self.text():
            has_ended = self.exit_code is not None
            # Again: the last words may have come just before the end.
            if words in self.text():
                return
            if has_ended or clock.waiting_ns() > deadline_ns:
                last = self.text().strip().splitlines()[-1:] or ["it wrote nothing"]
                raise TrueupError(f"{self.log} does not have {words!r}: {last[0]}")
            clock.sleep(LOOK_AGAIN_SEC)

    def wait(self, seconds: float = END_SEC) -> int:
        """Wait for the end of the process, and return its exit code."""
        return self._process.wait(seconds)

    def kill(self) -> None:
        """Kill the process without warning."""
        self._process.kill()
        self._let_go()

    def end(self) -> None:
        """End the process in order; kill it if it does not end."""
        if self.exit_code is None:
            self._process.terminate()
            try:
                self._process.wait(END_SEC)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self._let_go()

    def _let_go(self) -> None:
        self._process.wait(END_SEC)
        self._leash.close()


def _own_group() -> dict[str, Any]:
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
    return {"process_group": 0}
