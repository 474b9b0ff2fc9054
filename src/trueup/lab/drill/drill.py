"""A drill: kill a bot in the middle of an order, trade behind its back, restart the bot, compare.

Everything except the broker is real: the bot is a process that is killed without warning (SIGKILL,
on Windows TerminateProcess), its journal is a file, its gateway another process. The acts follow
from a seed. The comparison asks the terminal itself, past the bot.
"""

from __future__ import annotations

import queue
import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec

from trueup.errors import TrueupError
from trueup.lab.drill.drill_bot import Job
from trueup.lab.processes.children import environment
from trueup.runtime.bot.crash_points import CrashPoint
from trueup.runtime.time.clock import SystemClock
from trueup.sim.process.whereabouts import Whereabouts, ask

SYMBOL = "EURUSD"
START_SEC = 30.0
SAY_SEC = 60.0
LOOK_AGAIN_SEC = 0.02
# The states of an order at the process's death; each leads to another case after the restart.
POINTS = (
    CrashPoint.AFTER_INTENT,
    CrashPoint.AFTER_SEND_STARTED,
    CrashPoint.BEFORE_OUTCOME,
    CrashPoint.BEFORE_OUTCOME,
    CrashPoint.AFTER_OUTCOME,
)


class Round(msgspec.Struct, frozen=True):
    """The result of a kill.

    `seconds` is the time from the start of the new process to agreement. `kept` counts the
    positions that the journal knew and the broker has; `adopted`, `closed` and `corrected` are the
    reconciler's corrections, a sentence each. `order` is the outcome of the last order before
    the kill, with the case of the recovery table.
    """

    number: int
    killed_at: str
    behind_its_back: list[str]
    seconds: float
    syncs: int
    kept: int
    adopted: list[str]
    closed: list[str]
    corrected: list[str]
    order: dict[str, Any] | None
    agrees: bool
    health: str


class Child:
    """A process that writes JSON objects, a line each."""

    def __init__(self, arguments: list[str], folder: Path) -> None:
        self._log = folder / "bot.log"
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", *arguments],
                cwd=folder,
                env=environment(TRUEUP_HOME=str(folder)),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        self._said: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def hear(self, key: str) -> Any:
        """Return the value of the next object with a key.

        Raises:
            TrueupError: the process ended, or wrote nothing; the message has its last line.
        """
        with suppress(queue.Empty):
            while (facts := self._said.get(timeout=SAY_SEC)) is not None:
                if key in facts:
                    return facts[key]
        said = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        raise TrueupError(f"The bot did not say {key!r}: {said[-1] if said else 'it said nothing'}")

    def tell(self) -> None:
        """Let the process continue."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"\n")
        self._process.stdin.flush()

    def kill(self) -> None:
        """Kill the process without warning."""
        self._process.kill()
        self._process.wait(START_SEC)
        self._reader.join(START_SEC)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with suppress(msgspec.DecodeError):
                self._said.put(msgspec.json.decode(line, type=dict[str, Any]))
        self._said.put(None)


class Drill:
    """A terminal and a bot in a folder of their own.

    Args:
        folder: the folder for the journal and the logs.
        seed: decides all acts of the drill.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        self._folder, self._seed = folder, seed
        self._chance = random.Random(seed)
        self._clock = SystemClock()

    def run(self, rounds: int) -> Iterator[Round]:
        """Yield the result of each kill.

        Raises:
            TrueupError: a process did not start, or broke.
        """
        with ExitStack() as stack:
            terminal = stack.enter_context(_terminal(self._folder, self._clock))
            bot = stack.enter_context(self._bot(terminal, 0, rounds))
            bot.hear("agreed")
            for number in range(1, rounds + 1):
                # The bot waits at its crash point, so the kill hits the order in that state.
                bot.tell()
                killed_at = bot.hear("at")
                bot.kill()
                done = self._meddle(terminal)
                began_ns = self._clock.waiting_ns()
                bot = stack.enter_context(self._bot(terminal, number, rounds))
                found = bot.hear("agreed")
                seconds = (self._clock.waiting_ns() - began_ns) / 1e9
                agrees = _agree(found.pop("positions"), terminal)
                yield Round(number, killed_at, done, seconds, agrees=agrees, **found)

    @contextmanager
    def _bot(self, terminal: Whereabouts, number: int, rounds: int) -> Iterator[Child]:
        # Each process gets a new job: recover from the last kill, and die with the next order.
        job = Job(
            port=terminal.port,
            journal=str(self._folder / "bot.db"),
            symbol=SYMBOL,
            seed=f"{self._seed} {number}",
            before=f"round {number}" if number else "",
            key=f"round {number + 1}" if number < rounds else "",
            die_at=self._chance.choice(POINTS),
        )
        child = Child(
            ["trueup.lab.drill.drill_bot", msgspec.json.encode(job).decode()],
            self._folder,
        )
        try:
            yield child
        finally:
            child.kill()

    def _meddle(self, terminal: Whereabouts) -> list[str]:
        """Trade by hand while no bot runs; return the acts, a sentence each."""
        # Each act changes another position, so that each needs a correction of its own.
        rows = ask(terminal, {"command": "list"})["positions"]
        self._chance.shuffle(rows)
        wishes: list[dict[str, Any]] = [{"command": "close", "ticket": rows.pop()["ticket"]}]
        if rows:
            row = rows.pop()
            away = 0.98 if row["side"] == "LONG" else 1.02
            stop = round(row["price_current"] * away, 4)
            wishes.append({"command": "modify", "ticket": row["ticket"], "sl": stop})
        if rows and rows[-1]["volume"] > 0.01:
            wishes.append({"command": "partial", "ticket": rows.pop()["ticket"], "volume": 0.01})
        if self._chance.random() < 0.5:
            wishes.append({"command": "open", "side": "sell", "volume": 0.01})
        answers = [ask(terminal, wish) for wish in wishes]
        return [str(answer["text"]) for answer in answers if answer["ok"]]


def _agree(held: list[list[Any]], terminal: Whereabouts) -> bool:
    """Compare with the positions of the terminal itself."""
    rows = ask(terminal, {"command": "list"})["positions"]
    truth = [[r["ticket"], r["side"], r["volume"], r["sl"], r["tp"]] for r in rows]
    return sorted(held) == sorted(truth)


@contextmanager
def _terminal(folder: Path, clock: SystemClock) -> Iterator[Whereabouts]:
    """Run a simulated terminal with its gateway until the block ends."""
    arguments = ["terminal", "--feed", "random", "--speed", "1", "--idle-exit", "5"]
    with (folder / "terminal.log").open("ab") as log:
        # A large balance, so that no order of the drill is refused for want of money.
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "trueup", *arguments, "--balance", "1000000"],
            cwd=folder,
            env=environment(TRUEUP_HOME=str(folder)),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        yield _wait_for_terminal(process, folder, clock)
    finally:
        # An orderly end, so that the terminal removes its socket's folder.
        process.terminate()
        try:
            process.wait(START_SEC)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(START_SEC)


def _wait_for_terminal(
    process: subprocess.Popen[bytes], folder: Path, clock: SystemClock
) -> Whereabouts:
    deadline_ns = clock.waiting_ns() + round(START_SEC * 1e9)
    while clock.waiting_ns() < deadline_ns and process.poll() is None:
        with suppress(OSError, msgspec.DecodeError):
            return msgspec.json.decode((folder / "terminal.json").read_bytes(), type=Whereabouts)
        clock.sleep(LOOK_AGAIN_SEC)
    said = (folder / "terminal.log").read_text(encoding="utf-8", errors="replace").splitlines()
    raise TrueupError(f"The simulated terminal did not start: {said[-1] if said else 'silent'}")
