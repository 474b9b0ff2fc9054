"""Run a user's program with one package under one fault, and see what the broker has at the end."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from tests.peers.environments import Peer
from tests.peers.world import LOGIN, PASSWORD, SERVER, SYMBOL, PeersWorld
from tests.support.processes import KILLED
from trueup.sim.terminal.terminal_faults import (
    AnswerLost,
    AnswersEmpty,
    CallFault,
    Fails,
    Hang,
    TimedOut,
)

HERE = Path(__file__).resolve().parent
PROGRAM = HERE / "programs" / "program.py"
SIDES = ("bare", "door")
NO_FAULT = "no fault"
# Whether the lists fail at each look, and when the program acts by that.
ROUNDS = [True, True, True, False, False, False]
END_SEC = 240.0


class Trial(msgspec.Struct):
    """What was seen in one trial.

    Attributes:
        positions: the open positions at the broker at the end; one is wanted.
        lines: what the program said.
        seconds: how long it took.
        ends: the exit codes of the program's processes; -9 is killed.
        errors: the last lines of the error output, if a process failed.
    """

    positions: int
    lines: list[dict[str, Any]]
    seconds: float
    ends: list[int]
    errors: list[str] = []

    @property
    def told(self) -> list[str]:
        """What the package told its caller about the order, in turn."""
        return [line["says"] for line in self.lines if line["kind"] == "told"]


class Stage:
    """The world and the programs of one trial.

    Args:
        peer: the package.
        side: `bare` or `door`.
        folder: the trial's own.
        world: the broker.
    """

    def __init__(self, peer: Peer, side: str, folder: Path, world: PeersWorld) -> None:
        self.peer, self.side, self.folder, self.world = peer, side, folder, world
        self.lines: list[dict[str, Any]] = []
        self.ends: list[int] = []
        self.errors: list[str] = []

    @contextmanager
    def program(self, *words: str) -> Iterator[Program]:
        """Start the program; at the end wait for its own end."""
        environment = self._environment()
        start = ["-m", "trueup.mt5"] if self.side == "door" else []
        line = [str(self.peer.interpreter), *start, str(PROGRAM), self.peer.name, *words]
        errors = self.folder / f"{len(self.ends)}.err"
        program = Program(line, self.folder, environment, errors, self.lines)
        try:
            yield program
        finally:
            self.ends.append(program.end())
        if self.ends[-1] not in (0, KILLED):
            self.errors += errors.read_text("utf-8", "replace").splitlines()[-3:]

    def run(self, *words: str) -> None:
        """Run the program to its end."""
        with self.program(*words):
            pass

    def _environment(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        own = {
            "HOME": str(self.folder),
            "PEERS_TERMINAL": self.world.address,
            "PEERS_SYMBOL": SYMBOL,
            "PEERS_LOGIN": str(LOGIN),
            "PEERS_PASSWORD": PASSWORD,
            "PEERS_SERVER": SERVER,
        }
        if self.side == "bare":
            return {**kept, **own, "PYTHONPATH": str(HERE / "bare")}
        door = {
            "TRUEUP_HOME": str(self.folder / "state"),
            "TRUEUP_JOURNAL": str(self.folder / "bot.db"),
            "TRUEUP_SIMULATED": "1",
        }
        return {**kept, **own, **door}


class Program:
    """A running program.

    Args:
        line: the command line.
        folder: where it runs.
        environment: its whole environment.
        errors: the file of its error output.
        lines: receives what it says.
    """

    def __init__(
        self,
        line: list[str],
        folder: Path,
        environment: dict[str, str],
        errors: Path,
        lines: list[dict[str, Any]],
    ) -> None:
        self._lines = lines
        self._ready: queue.SimpleQueue[bool] = queue.SimpleQueue()
        with errors.open("wb") as output:
            self._process = subprocess.Popen(
                line,
                cwd=folder,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                text=True,
                encoding="utf-8",
                errors="replace",
            )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for text in self._process.stdout:
            # Other output of the packages is passed over.
            if not text.startswith('{"kind"'):
                continue
            said = json.loads(text)
            if said["kind"] == "ready":
                self._ready.put(True)
            else:
                self._lines.append(said)
        self._ready.put(False)

    def wait_ready(self) -> bool:
        """Wait until the program waits for us; False if it has ended, or does not come to that."""
        try:
            return self._ready.get(timeout=END_SEC)
        except queue.Empty:
            return False

    def go_on(self) -> None:
        """Let a program that waits go on."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.write("go\n")
            self._process.stdin.flush()

    def kill(self) -> None:
        """Kill the program, and nothing else."""
        self._process.kill()

    def end(self) -> int:
        """Wait for the program's end, and return its exit code."""
        try:
            self._process.wait(END_SEC)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            with contextlib.suppress(OSError):
                stream.close()
        return self._process.returncode


# -- the faults ----------------------------------------------------------------------------------


def _answer_lost(stage: Stage) -> None:
    stage.world.next_send(AnswerLost(executed=True))
    stage.run("open")


def _filled_later(delay_sec: float) -> Callable[[Stage], None]:
    def act(stage: Stage) -> None:
        stage.world.next_send(TimedOut(fill_after_ms=round(delay_sec * 1_000)))
        stage.run("open")
        # What the server still owes is executed before anything is counted.
        threading.Event().wait(delay_sec + 1)

    return act


def _killed(stage: Stage) -> None:
    stage.world.next_send(Hang(executed=True))
    with stage.program("open") as program:
        stage.world.hangs.wait(END_SEC)
        program.kill()
    stage.run("open")


def _list(fault: CallFault) -> Callable[[Stage], None]:
    """Hold a position, and let the lists of positions fail while the program looks.

    In the first round they go on failing when the program acts by what it saw; in the second they
    are right again by then; in the third they are right all the time. A package that looks only
    when it connects has the second round alone.
    """

    def act(stage: Stage) -> None:
        stage.run("open")
        fails_at_steps = [True, False] if stage.peer.looks_at_start else ROUNDS
        if stage.peer.looks_at_start:
            stage.world.lists_fail(fault)
        with stage.program("look", str(len(fails_at_steps) // 2)) as program:
            for fails in fails_at_steps:
                # A program that could not start takes no step.
                if not program.wait_ready():
                    break
                stage.world.heal()
                if fails:
                    stage.world.lists_fail(fault)
                program.go_on()

    return act


def _no_fault(stage: Stage) -> None:
    stage.run("tour")


FAULTS: dict[str, Callable[[Stage], None]] = {
    "answer lost": _answer_lost,
    "10012, filled 4 s later": _filled_later(4),
    "10012, filled 25 s later": _filled_later(25),
    "killed": _killed,
    "list fails": _list(Fails()),
    "list empty": _list(AnswersEmpty()),
    NO_FAULT: _no_fault,
}


def run_trial(peer: Peer, side: str, fault: str, folder: Path) -> Trial:
    """Run one trial in a folder of its own."""
    folder.mkdir(parents=True)
    begun = time.monotonic()
    # Under a fault each entry is to be counted, and a netting account makes one position of two.
    with PeersWorld(folder / "state", nets=peer.nets and fault == NO_FAULT) as world:
        stage = Stage(peer, side, folder, world)
        FAULTS[fault](stage)
        world.heal()
        positions = len(world.positions)
    seconds = round(time.monotonic() - begun, 1)
    return Trial(positions, stage.lines, seconds, stage.ends, stage.errors)
