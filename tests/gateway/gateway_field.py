"""`trueup gateway` as a process, on a simulated terminal that a test has in its hands.

Four processes as in the field: the bot (the test), the gateway, its worker, and the terminal
program (in the test too, in a thread, so that it can do to it whatever befalls a real one).
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

from tests.support import forked
from tests.support.servers import until
from trueup.gateway.client.execution_gateway import ExecutionGateway
from trueup.sim.process.process import TerminalOptions, TerminalProcess
from trueup.sim.process.whereabouts import read_state

ROOT = Path(__file__).resolve().parents[2]
LOCAL = "127.0.0.1"
LONG_MS = 60_000
# Two processes import the package, on a machine that may be busy with other things; under Wine
# that takes many times as long.
START_SEC = 240.0 if sys.platform == "win32" else 60.0
# Far above what a call takes on a busy machine, for the tests in which it must not pass.
DEADLINE_MS = 4_000


class Field:
    """A folder with a terminal program in it, and a gateway that serves it."""

    speed = 0.001
    """How fast the market goes: so slowly that no price changes in a test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "gateway.log"
        self._gateway: forked.Child | None = None
        self.start_terminal()

    def start_terminal(self) -> None:
        """Start a terminal program, which knows nothing of one before it."""
        options = TerminalOptions(feed="random", speed=self.speed, idle_exit_min=0)
        self.terminal = made = TerminalProcess(options)
        self._thread = threading.Thread(target=made.run)
        self._thread.start()
        until(lambda: (state := read_state()) and state.module == made.whereabouts.module)

    def stop_terminal(self) -> None:
        self.terminal.stop()
        self._thread.join()

    def start_gateway(self, *options: str, **environment: str) -> None:
        self._gateway = subprocess.Popen(
            [
                *(sys.executable, "-P", "-m", "trueup", "gateway", "--simulated", "--port", "0"),
                *("--log", str(self.log), "--deadline-ms", str(DEADLINE_MS), *options),
            ],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "PYTHONUTF8": "1", **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )

    def said(self, pattern: str) -> list[str]:
        """What a pattern found in the log."""
        text = self.log.read_text("utf-8") if self.log.exists() else ""
        return re.findall(pattern, text)

    @property
    def port(self) -> int:
        return int(until(lambda: self.said(r"at tcp://127\.0\.0\.1:(\d+)"), START_SEC)[0])

    def workers(self) -> list[int]:
        """Every worker that was initialised, the latest last."""
        return [int(pid) for pid in self.said(r"Initialised: account \d+ .* process (\d+)")]

    def wait_for_worker(self, count: int = 1) -> int:
        until(lambda: len(self.workers()) >= count or self._has_ended(), START_SEC)
        assert not self._has_ended(), "the gateway ended; it has said why"
        return self.workers()[-1]

    def _has_ended(self) -> bool:
        return self._gateway is not None and self._gateway.poll() is not None

    def bot(self) -> ExecutionGateway:
        return ExecutionGateway(LOCAL, self.port, LONG_MS)

    def end_gateway(self, number: int = signal.SIGTERM) -> int:
        assert self._gateway is not None
        self._gateway.send_signal(number)
        code = self._gateway.wait(START_SEC)
        self._gateway = None
        return code

    def close(self) -> None:
        if self._gateway is not None:
            self._gateway.kill()
            self._gateway.wait()
        self.stop_terminal()
