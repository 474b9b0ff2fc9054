"""Nodes of a fleet that Ray starts, by the example in `ops/`: `make fleet ARGS="--ray"`.

Ray starts each node, and starts it again a moment after its end. Everything else is as without it:
PostgreSQL decides which node has which accounts.
"""

from __future__ import annotations

import itertools
import os
import secrets
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

from tests.fleet.fleet_world import DEADLINE_SEC, FleetNode
from tests.paper.test_paper_processes import Running
from tests.support.crash_world import ROOT
from tests.support.servers import until

EXAMPLE: Final = ROOT / "ops" / "trueup_ray.py"
_RAY: Final = (sys.executable, "-m", "ray.scripts.scripts")


class RayCluster:
    """A Ray cluster of this machine alone, which runs so many nodes at once in a folder."""

    def __init__(self, folder: Path, nodes: int) -> None:
        self._works_in, self._nodes = folder, nodes

    def __enter__(self) -> RayCluster:
        # Short: the path of a socket has 107 characters at most.
        self._folder = tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True)
        where = ("--port", "0", "--node-ip-address", "127.0.0.1", "--temp-dir", self._folder.name)
        room = ("--num-cpus", str(self._nodes), "--include-dashboard", "false")
        # Whoever has no token is refused: the cluster listens at the machine's own address, too.
        self._settings = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
        os.environ.update(self._settings)
        environment = {**os.environ, "PYTHONPATH": ":".join(filter(None, sys.path))}
        log = Path(self._folder.name, "start.log")
        with log.open("wb") as out:
            command = (*_RAY, "start", "--head", "--block", "--disable-usage-stats")
            self._child = subprocess.Popen(
                [*command, *where, *room],
                cwd=self._works_in,
                env=environment,
                stdout=out,
                stderr=out,
            )
        address = Path(self._folder.name, "ray_current_cluster")

        # The file of the address is there earlier, when the cluster still refuses everybody.
        def is_there() -> bool:
            assert self._child.poll() is None, log.read_text("utf-8")
            return "Ray runtime started" in log.read_text("utf-8")

        until(is_there, DEADLINE_SEC, pause_sec=0.1)
        self._settings["RAY_ADDRESS"] = address.read_text("utf-8")
        os.environ.update(self._settings)
        return self

    def __exit__(self, *error: object) -> None:
        for name in self._settings:
            del os.environ[name]
        self._child.send_signal(signal.SIGTERM)
        self._child.wait()
        self._folder.cleanup()


class RayNode(FleetNode):
    """A node that a task of Ray runs; `process` is the program that asked Ray for it."""

    def start(self) -> None:
        if self.runs:
            # Ray starts it again by itself.
            return
        self.runs = 1
        log = self.shell.folder / "log1"
        # Ray's tasks run in the folder of the cluster.
        (self._world.folder / "mine.py").write_text(self._world.strategy, "utf-8")
        # Of two options the later one counts.
        accounts = str(self.shell.folder / "accounts.toml")
        command = [sys.executable, str(EXAMPLE), "1", *self.options, "--accounts", accounts]
        environment = {
            **self.shell.environment,
            "PYTHONPATH": ":".join(filter(None, sys.path)),
        }
        with log.open("wb") as out:
            child = subprocess.Popen(
                command, cwd=self.shell.folder, env=environment, stdout=out, stderr=out
            )
        self.shell.children.append(child)
        self.process = Running(child, log)

    def _pids(self) -> list[int]:
        """Return the process of the node, if it runs now."""
        return [
            int(place.parent.name)
            for place in Path("/proc").glob("[0-9]*/cmdline")
            if _is_node(place, self.name)
        ]

    @property
    def pid(self) -> int:
        found = self._pids()
        return found[0] if found else 0

    def signal(self, number: int) -> None:
        until(lambda: self.pid != 0, DEADLINE_SEC, pause_sec=0.05)
        self._signalled = self.pid
        os.kill(self._signalled, number)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)

    def has_ended(self) -> bool:
        return self.pid != self._signalled

    def end(self) -> int:
        self.process.child.send_signal(signal.SIGTERM)
        return self.process.child.wait(DEADLINE_SEC)

    def clean(self) -> None:
        self.shell.clean()
        for left in self._pids():
            with suppress(ProcessLookupError):
                os.kill(left, signal.SIGKILL)


def _is_node(place: Path, name: str) -> bool:
    """Return whether this is the command line of `trueup fleet node --name name`."""
    try:
        words = place.read_bytes().decode("utf-8", "replace").split("\0")
    except OSError:
        # It has ended since.
        return False
    named = [word for before, word in itertools.pairwise(words) if before == "--name"]
    return "fleet" in words and "node" in words and named[-1:] == [name]
