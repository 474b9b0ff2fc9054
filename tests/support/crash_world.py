"""A terminal process, bot processes that die, and the terminal's own ledger.

Nothing here shares code with the bot: the terminal is asked with bare sockets. `ledger.py` judges.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import zmq

from tests.support import forked
from tests.support.hurt import VARIABLE
from tests.support.servers import until

ROOT = Path(__file__).resolve().parents[2]
BOT = ROOT / "tests" / "support" / "crash_bot.py"
# Processes start slowly under Wine where others are busy.
DEADLINE_SEC = 600.0 if sys.platform == "win32" else 120.0
EVERYTHING_SEC = 31 * 86_400

Step = dict[str, Any]


def environment(home: Path, hurts: Path | None = None) -> dict[str, str]:
    """What the children get: nothing of this machine's own settings; `hurts` as in `hurt.py`."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("GTW_", "TRUEUP_"))}
    return {
        **kept,
        **({} if hurts is None else {VARIABLE: str(hurts)}),
        "TRUEUP_HOME": str(home),
        "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)]),
        "PYTHONUTF8": "1",
    }


class Terminal:
    """A gateway with its simulated terminal, as a process; what it says is the truth."""

    def __init__(
        self,
        folder: Path,
        account: str = "hedging",
        port: int = 0,
        python: Sequence[str] = (sys.executable,),
        variables: Mapping[str, str] | None = None,
    ) -> None:
        self.folder, self.account, self.port = folder, account, port
        self.python, self.variables = tuple(python), dict(variables or {})
        """What runs it, and what its environment has besides."""
        self.bot_prefix: tuple[str, ...] = ()
        """What starts a bot elsewhere, such as in another network namespace."""
        self.hurts: Path | None = None
        """The folder by which gateways and bots are hurt, see `hurt.py`."""
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.start()

    def start(self) -> None:
        """Start it, on the port it had before."""
        home = self.folder / "home"
        home.mkdir(parents=True, exist_ok=True)
        arguments = ["--account", self.account, "--feed", "random", "--speed", "1"]
        arguments += ["--balance", "10000000", "--idle-exit", "3", "--port", str(self.port)]
        # With its own log, because for a program under Wine a file of Linux is no output.
        arguments += ["--log", "terminal.log"]
        words = ["-m", "trueup", "terminal", *arguments]
        self.process: forked.Child
        if self.is_usual:
            with (self.folder / "terminal.err").open("ab") as errors:
                self.process = forked.start(
                    words, cwd=self.folder, env=environment(home), stderr=errors
                )
        else:
            self.process = subprocess.Popen(
                [*self.python, *words],
                cwd=self.folder,
                env={**environment(home), **self.variables},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL if self.variables else None,
            )
        state = home / "terminal.json"

        def whereabouts() -> Any:
            assert self.process.poll() is None, (self.folder / "terminal.log").read_text(
                encoding="utf-8"
            )
            with contextlib.suppress(OSError, ValueError):
                facts = json.loads(state.read_bytes())
                # Under Wine a process has another number for Linux.
                return facts if self.variables or facts["pid"] == self.process.pid else None
            return None

        facts = until(whereabouts, DEADLINE_SEC)
        self.port = int(facts["gateway"].rpartition(":")[2])
        self._person = facts["person"]

    @property
    def is_usual(self) -> bool:
        """Whether no other Python runs it, in no other environment."""
        return self.python == (sys.executable,) and not self.variables

    def kill(self) -> None:
        """Kill it: positions, orders and history of this simulated broker go with it."""
        self.process.kill()
        self.process.wait(DEADLINE_SEC)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()
        self._context.term()

    def _ask(self, endpoint: str, message: dict[str, Any]) -> dict[str, Any]:
        with self._context.socket(zmq.REQ) as asker:
            asker.setsockopt(zmq.LINGER, 0)
            asker.connect(endpoint)
            asker.send(json.dumps(message).encode())
            assert asker.poll(int(DEADLINE_SEC * 1000)), f"no answer to {message}"
            answer: dict[str, Any] = json.loads(asker.recv())
            return answer

    def person(self, command: str, **fields: Any) -> dict[str, Any]:
        """Trade by hand."""
        return self._ask(self._person, {"command": command, **fields})

    def positions(self) -> list[list[Any]]:
        """Ticket, side and lots of what is open."""
        sides = {"LONG": "buy", "SHORT": "sell"}
        rows = self.person("list")["positions"]
        return sorted([row["ticket"], sides[row["side"]], row["volume"]] for row in rows)

    def history(self) -> dict[str, Any]:
        """Every order and deal there ever was, and the orders that work."""
        message = {
            "action": "SNAPSHOT",
            "id": 1,
            "session": "oracle",
            "symbols": ["EURUSD"],
            "history_age_sec": EVERYTHING_SEC,
        }
        reply = self._ask(f"tcp://127.0.0.1:{self.port}", message)
        assert reply["status"] == "SUCCESS", reply
        return {"orders": [], "deals": [], **reply["history"], "working": reply.get("orders", [])}

    def count_orders(self) -> int:
        """How many orders there ever were."""
        known = self.history()
        return len(known["orders"]) + len(known["working"])


class BotProcess:
    """A bot, in a process of its own.

    It is started by `forked.start`, or by a fresh interpreter where the test says so or the bot is
    elsewhere.
    """

    def __init__(
        self,
        terminal: Terminal,
        steps: list[Step],
        *,
        is_fresh: bool = False,
        **settings: int | str,
    ) -> None:
        self.said: list[dict[str, Any]] = []
        self._rest = b""
        job = {
            "port": terminal.port,
            "journal": str(terminal.folder / "bot.db"),
            "steps": steps,
            **settings,
        }
        self._errors = terminal.folder / "bot.log"
        path = terminal.folder / "job.json"
        path.write_text(json.dumps(job), encoding="utf-8")
        their_in, self._to = os.pipe()
        self._from, their_out = os.pipe()
        words = [str(BOT), str(path)]
        env = environment(terminal.folder / "home", terminal.hurts)
        self._process: forked.Child
        with self._errors.open("ab") as log:
            if is_fresh or terminal.bot_prefix:
                self._process = subprocess.Popen(
                    [*terminal.bot_prefix, sys.executable, *words],
                    cwd=terminal.folder,
                    env=env,
                    stdin=their_in,
                    stdout=their_out,
                    stderr=log,
                )
            else:
                self._process = forked.start(
                    words,
                    cwd=terminal.folder,
                    env=env,
                    stdin=their_in,
                    stdout=their_out,
                    stderr=log,
                )
        self.pid = self._process.pid
        os.close(their_in)
        os.close(their_out)
        # A thread, since Windows waits for a pipe in no other way.
        self._pieces: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        piece = b"."
        while piece:
            piece = os.read(self._from, 65_536)
            self._pieces.put(piece)

    def tell(self) -> None:
        """Let it go on from a `wait`."""
        os.write(self._to, b"\n")

    def hear(self, key: str) -> Any:
        """Return what it says under a key; fail when it ends before."""
        deadline = time.monotonic() + DEADLINE_SEC
        while True:
            for facts in self.said:
                if key in facts:
                    self.said.remove(facts)
                    return facts[key]
            assert self._listen(deadline - time.monotonic()), f"no {key}: {self.last_words()}"

    def listen_for(self, seconds: float) -> None:
        """Take in what it says for a while, or until it ends."""
        deadline = time.monotonic() + seconds
        # No longer, even if it talks without a pause: it may talk faster than this process listens.
        while (left := deadline - time.monotonic()) > 0 and self._listen(left):
            pass

    def _listen(self, seconds: float) -> bool:
        """Take in a piece of what it says; False at its end, or when the time has passed."""
        try:
            piece = self._pieces.get(timeout=max(0.0, seconds))
        except queue.Empty:
            return False
        *lines, self._rest = (self._rest + piece).split(b"\n")
        self.said += [json.loads(line) for line in lines]
        return bool(piece)

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def kill(self) -> int:
        """Kill it, if it lives, and return how it ended."""
        self._process.kill()
        return self.end()

    def end(self) -> int:
        """Wait for its end, and return its exit status: minus the signal, if it was killed."""
        status = self._process.wait(DEADLINE_SEC)
        self._reader.join(DEADLINE_SEC)
        while self._listen(0.0):
            pass
        os.close(self._to)
        os.close(self._from)
        return status

    def last_words(self) -> str:
        """What it said last, for a message."""
        log = (
            self._errors.read_text(errors="replace", encoding="utf-8")
            if self._errors.exists()
            else ""
        )
        return f"{self.said[-3:]} {log[-2000:]}"
