"""A gateway as a process of its own, before a simulated broker that lives on when it is killed.

Broker, gateway, its worker and a bot are four processes, as in the field; `crash_world.Terminal` is
the broker.
"""

from __future__ import annotations

import os
import re
import subprocess
from typing import Any, Self

from tests.support import forked
from tests.support.crash_world import DEADLINE_SEC, ROOT, Terminal, environment
from tests.support.processes import KILL
from tests.support.servers import free_port, until

SCRIPT = ROOT / "tests" / "support" / "killed_gateway.py"
# What a gateway waits before it calls an order absent; the broker here has all at once.
GRACE_SEC = 2
STORE = "requests.db"


class Gateway:
    """A gateway that is killed and started again, on one port and with one record.

    Args:
        terminal: the broker that it serves, and the Python that both are run with.
        deadline_ms: how long it waits for a call of the terminal.
    """

    def __init__(self, terminal: Terminal, deadline_ms: int = 5_000) -> None:
        self.port = free_port()
        self._terminal, self._deadline_ms = terminal, deadline_ms
        self.log = terminal.folder / "gateway.log"
        self._process: forked.Child | None = None
        self.start()

    def start(self) -> None:
        """Start it, and wait until it serves."""
        before = len(self.workers())
        options = ["--simulated", "--port", str(self.port), "--rate", "0"]
        options += ["--deadline-ms", str(self._deadline_ms)]
        options += ["--log", self.log.name, "--store", STORE]
        words = ["-P", str(SCRIPT), "-", str(GRACE_SEC), *options]
        folder = self._terminal.folder
        env = environment(folder / "home", self._terminal.hurts)
        if self._terminal.is_usual:
            self._process = forked.start(words, cwd=folder, env=env)
        else:
            self._process = subprocess.Popen(
                [*self._terminal.python, *words],
                cwd=folder,
                env={**env, **self._terminal.variables},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        until(lambda: len(self.workers()) > before or not self.is_running, DEADLINE_SEC)
        assert self.is_running, self.log.read_text("utf-8")[-2000:]

    def workers(self) -> list[int]:
        """Every worker that was initialised, the latest last."""
        text = self.log.read_text("utf-8") if self.log.exists() else ""
        return [int(pid) for pid in re.findall(r"Initialised: account .* process (\d+)", text)]

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The process's id."""
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        """Kill it."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(DEADLINE_SEC)

    def kill_worker(self) -> None:
        """Kill the process that calls the terminal."""
        try:
            os.kill(self.workers()[-1], KILL)
        except OSError:
            # It was killed before, and the next one is not there yet.
            return

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: Any) -> None:
        self.kill()
