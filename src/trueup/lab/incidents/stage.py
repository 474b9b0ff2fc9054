"""The stage of an incident: a simulated terminal, a gateway and a bot, as processes in a folder.

The parts are the commands of the product, started as a user starts them, with the settings of the
folder's `trueup.toml`. So every command of trueup works in the folder, in a second shell.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import subprocess
import sys
from pathlib import Path

import msgspec

from trueup.errors import TrueupError
from trueup.lab.incidents.database_way import Way
from trueup.lab.incidents.strategy import ORDER_FILE
from trueup.lab.processes.children import Child, environment
from trueup.private import make_private
from trueup.setting_places import TOML_FILE
from trueup.sim.process.fault_desk import TerminalFault
from trueup.sim.process.whereabouts import Whereabouts, ask

LOGIN = 5_000_001
MAGIC = 7
JOURNAL = "bot.db"
BOT_LOG, GATEWAY_LOG, TERMINAL_LOG = "bot.log", "gateway.log", "terminal.log"
OTHER_LOG = "other.log"
COMMAND_SEC = 60.0
HOST = "127.0.0.1"
# Linux gives 32,768 and above to outgoing connections, Windows and macOS 49,152 and above.
PORTS = range(20_000, 32_000, 2)
# Rehearsals that run at the same time begin at different ports.
_numbers = itertools.count(os.getpid())
# Attempts to find two free ports in a row.
_ATTEMPTS = 100
AGREES = "[SYNC] State Reconciled: Local matches Remote"
_SETTINGS = """\
# The settings of a rehearsal: `trueup sim incident` wrote them.
trueup_strategy = "trueup.lab.incidents.strategy:Rehearsal"
trueup_gateway = "tcp://127.0.0.1:{port}"
trueup_symbols = ["EURUSD"]
trueup_magic = {magic}
trueup_journal = "{journal}"
sync_interval_sec = {interval_sec}
gtw_timeout_ms = {timeout_ms}
"""


class Stage:
    """The parts of a stage: `begin` starts them, `close` ends them.

    Args:
        folder: a new folder.
        way: the way to a database for the journal; by default the journal is a file in the folder.
        interval_sec: seconds between two syncs of the bot.
    """

    terminal: Child
    gateway: Child
    bot: Child

    def __init__(self, folder: Path, way: Way | None = None, interval_sec: float = 1.0) -> None:
        self.folder = folder.resolve()
        self.way: Way | None = way
        self.port: int = _free_port()
        self._environment = environment(with_settings=False)
        self._children: list[Child] = []
        self.folder.mkdir(parents=True, exist_ok=True)
        settings = _SETTINGS.format(
            port=self.port,
            journal=JOURNAL if way is None else way.url,
            interval_sec=interval_sec,
            timeout_ms=1_000,
            # A database may have the books of earlier rehearsals, which are not of this terminal.
            magic=MAGIC if way is None else self.port,
        )
        # The URL of a database may have a password.
        file = self.folder / TOML_FILE
        make_private(file)
        file.write_text(settings, encoding="utf-8")

    def begin(self) -> None:
        """Start the parts, and wait for a position on which book and broker agree."""
        self.terminal = self.start(
            TERMINAL_LOG, "terminal", "--feed", "random", "--speed", "1", "--idle-exit", "5"
        )
        self.terminal.wait_for("gateway at tcp://")
        self.start_gateway().wait_for("is recorded in")
        self.start_bot().wait_for("[FILL] CONFIRMED")
        self.bot.wait_for(AGREES)

    @property
    def journal(self) -> Path:
        """The journal's file."""
        return self.folder / JOURNAL

    def start(self, log: str, *arguments: str) -> Child:
        """Start a command of trueup; its output goes to the file `log`."""
        child = Child(self.folder, log, list(arguments), self._environment)
        self._children.append(child)
        return child

    def start_gateway(self) -> Child:
        """Start the gateway, always at the same port."""
        login, port = str(LOGIN), str(self.port)
        self.gateway = self.start(
            GATEWAY_LOG, "gateway", "--simulated", "--login", login, "--port", port
        )
        return self.gateway

    def start_bot(self) -> Child:
        """Start the bot."""
        self.bot = self.start(BOT_LOG, "run")
        return self.bot

    def fault(self, fault: TerminalFault) -> None:
        """Put a fault on the terminal, or end all faults."""
        raw = (self.folder / ".trueup" / "terminal.json").read_bytes()
        ask(msgspec.json.decode(raw, type=Whereabouts), {"command": "fault", "fault": fault.value})

    def order(self, side: str) -> None:
        """Have the bot send an order with its next price."""
        draft = self.folder / f"{ORDER_FILE}.draft"
        draft.write_text(side, encoding="ascii")
        draft.replace(self.folder / ORDER_FILE)

    def trueup(self, *arguments: str, must_work: bool = False) -> subprocess.CompletedProcess[str]:
        """Run a command of trueup in the folder, and wait for its end.

        Raises:
            TrueupError: the command failed, and it must work.
        """
        done = subprocess.run(
            [sys.executable, "-P", "-m", "trueup", *arguments],
            cwd=self.folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            timeout=COMMAND_SEC,
            check=False,
        )
        if must_work and done.returncode:
            raise TrueupError(f"`trueup {' '.join(arguments)}` failed: {done.stderr.strip()}")
        return done

    def wait_until_agreed(self) -> None:
        """Wait until the bot finds that book and broker agree.

        Raises:
            TrueupError: they did not agree within a minute.
        """
        self.bot.mark()
        self.bot.wait_for(AGREES)

    def close(self) -> None:
        """End all parts, the bot first."""
        for child in reversed(self._children):
            child.end()


def _free_port() -> int:
    """Return a free port with a free one after it, since a gateway takes both.

    A gateway takes them seconds later, and again after it was killed. Meanwhile an outgoing
    connection could take a port that the system gives to those, so the port is below them.
    """
    for _ in range(_ATTEMPTS):
        port = PORTS[next(_numbers) % len(PORTS)]
        with (
            contextlib.suppress(OSError),
            socket.create_server((HOST, port)),
            socket.create_server((HOST, port + 1)),
        ):
            return port
    raise TrueupError("No two free loopback ports in a row were found: end other programs first.")
