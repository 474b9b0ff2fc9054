"""Kill a bot of the official module at random moments, behind the door and without it.

`python -m tests.crash.door_kills --kills 200 --seed 7`. The bot is `examples/trailing_bot.py`, a
process of its own; the terminal is simulated, its prices move, and it misbehaves in between. The
broker's ledger judges: the bot wants at most one position, always with both stops, and closes each
one. `--module bare` runs the same bot on the bare simulated module, `--bots 2` a second bot with
another magic number beside the first.

The seed gives the moments and the faults; what the bot is doing then it does not.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypedDict, Unpack

from tests.support import forked
from tests.support.crash_world import ROOT, environment
from tests.support.hosted_terminal import HostedTerminal
from tests.support.processes import KILLED
from trueup.core.claims import stream_of
from trueup.core.policy import GRACE_SEC
from trueup.journal import open_reader
from trueup.sim.terminal.terminal_faults import (
    AnswerLost,
    AnswersEmpty,
    AnswersPartial,
    DoneWithoutDeal,
    Fails,
    PlacedLater,
    TerminalFaults,
    TimedOut,
)

EXAMPLES = ROOT / "examples"
HASTY_DOOR = ROOT / "tests" / "support" / "hasty_door.py"
BARE_MODULE = ROOT / "tests" / "support" / "bare_module"
ACCOUNT = "5000001@Simulated-Demo"
MAGICS = (7, 8)
# Between two turns of a bot; it closes a position after 60 turns.
PAUSE_SEC = 0.05
# A start takes a second of a free core; the machine may be busy.
# Under Wine a start takes twenty seconds where others are busy.
SLOWNESS = 10.0 if sys.platform == "win32" else 1.0
HEAL_SEC = 120.0 * SLOWNESS
# Late fills come within half of it.
GRACE_MS, USUAL_GRACE_MS = 3_000, GRACE_SEC * 1_000
# How long an order of the bot is waited for, beside the grace period.
WAIT_SEC, LONG_WAIT_SEC, HASTE = 3.0 * SLOWNESS, 30.0 * SLOWNESS, 0.3
JOURNAL = "bot.db"

Chance = random.Random


class Fault(NamedTuple):
    """A way in which the terminal misbehaves: its name, and what queues it."""

    name: str
    queue: Callable[[TerminalFaults, Chance], object]


def _lists(kind: Callable[[], AnswersEmpty | AnswersPartial | Fails]) -> Fault:
    made = kind()
    name = {AnswersEmpty: "empty", AnswersPartial: "cut", Fails: "failed"}[type(made)]
    return Fault(
        f"positions_get {name}",
        lambda faults, chance: faults.next_call("positions_get", *[made] * chance.randint(1, 20)),
    )


NO_FAULT = Fault("none", lambda faults, chance: None)
FAULTS = (
    Fault(
        "answer lost, executed",
        lambda faults, chance: faults.next_send(
            *[AnswerLost(executed=True, pipe_breaks=False)] * chance.randint(1, 3)
        ),
    ),
    Fault(
        "answer lost, not executed",
        lambda faults, chance: faults.next_send(AnswerLost(executed=False, pipe_breaks=False)),
    ),
    Fault(
        "10012, filled later",
        lambda faults, chance: faults.next_send(TimedOut(chance.randint(50, GRACE_MS // 2))),
    ),
    Fault("10012, not filled", lambda faults, chance: faults.next_send(TimedOut(None))),
    Fault(
        "10008, filled later",
        lambda faults, chance: faults.next_send(PlacedLater(chance.randint(50, GRACE_MS // 2))),
    ),
    Fault("10009 without a deal", lambda faults, chance: faults.next_send(DoneWithoutDeal())),
    _lists(AnswersEmpty),
    _lists(lambda: AnswersPartial(0)),
    _lists(Fails),
)
LAST_LOOK = f"""
import json, sys, time
import trueup.mt5 as mt5
assert mt5.initialize(simulated=True, journal=sys.argv[1], magic=int(sys.argv[2])), mt5.last_error()
book, end = mt5.trueup.manager.book, time.monotonic() + {HEAL_SEC}
while mt5.positions_get() is None or book.in_doubt or book.unexplained:
    if time.monotonic() > end:
        break
realised = round(mt5.trueup.realised, 2)
print(json.dumps([sorted(mt5.trueup.positions), list(book.in_doubt), realised]))
"""
# How often the first moment is chosen; the others share the rest.
ANY_TIME = 0.15
MOMENTS = ("at any time", "as an order arrives", "as its answer leaves", "just after an order")


class Bot:
    """A bot process, and what it printed in all its runs.

    Args:
        folder: where it runs.
        magic: its magic number.
        module: "door" for the variant with trueup, "unchanged" for `python -m trueup.mt5` and
            the official variant, "bare" for the bare simulated module.
        grace_ms: the grace period of orders in doubt; 0 for the usual one.
    """

    def __init__(self, folder: Path, magic: int, module: str, grace_ms: int) -> None:
        self.magic, self._grace_ms = magic, grace_ms
        self._folder, self._module = folder, module
        self._output = folder / f"bot-{magic}.log"
        self._process: forked.Child | None = None

    def start(self) -> None:
        """Start it."""
        env = self._environment()
        words = self._words(env)
        with self._output.open("ab") as output:
            self._process = forked.start(
                ["-u", *words], cwd=self._folder, env=env, stdout=output, stderr=output
            )

    def _words(self, env: dict[str, str]) -> list[str]:
        """Return the words after `python`; set what the program needs in its environment."""
        hasty = [str(HASTY_DOOR), str(self._grace_ms)]
        if self._module == "bare":
            env["PYTHONPATH"] += os.pathsep + str(BARE_MODULE)
            words = [str(EXAMPLES / "trailing_bot.py")]
        elif self._module == "unchanged":
            env["TRUEUP_JOURNAL"] = JOURNAL
            words = [*hasty, "-m", "trueup.mt5", str(EXAMPLES / "trailing_bot.py")]
        else:
            words = [*hasty, str(EXAMPLES / "trailing_bot_with_trueup.py")]
        return [*words, str(self.magic), str(PAUSE_SEC)]

    def _environment(self) -> dict[str, str]:
        return {**environment(self._folder / "home"), "TRUEUP_SIMULATED": "1"}

    def run_beside(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run another program of the same folder."""
        return forked.run(words, cwd=self._folder, env=self._environment(), timeout=4 * HEAL_SEC)

    @property
    def has_ended(self) -> bool:
        """Whether it ended by itself."""
        return self._process is not None and self._process.poll() is not None

    def kill(self) -> None:
        """Kill it, if it lives."""
        if self._process is not None:
            self._process.kill()

    def wait(self) -> int | None:
        """Wait for its end, and return its exit status; None if it was not started."""
        process, self._process = self._process, None
        return None if process is None else process.wait()

    @property
    def runs(self) -> bool:
        """Whether it was started, and has not ended."""
        return self._process is not None and self._process.poll() is None

    @property
    def said(self) -> str:
        """All that it printed."""
        return self._output.read_text("utf-8", "replace") if self._output.exists() else ""

    @property
    def wishes(self) -> int:
        """How often it wanted to open a position."""
        return len(re.findall(r"^enter \d", self.said, re.MULTILINE))

    @property
    def opened(self) -> list[tuple[int, float]]:
        """The orders that it was told to have opened, with their prices."""
        found = re.findall(r"^opened (\d+) at ([\d.]+)$", self.said, re.MULTILINE)
        return [(int(order), float(price)) for order, price in found]


class Options(TypedDict, total=False):
    """What a run may be told beside its seed; as for `DoorKills`."""

    module: str
    bots: int
    grace_ms: int


class DoorKills:
    """Bots at one terminal, killed again and again.

    Args:
        terminal: the terminal.
        folder: where the bots run.
        seed: of moments and faults.
        module: as for `Bot`.
        bots: how many.
        grace_ms: as for `Bot`.
    """

    last_look = LAST_LOOK
    """A program that opens the book of a bot and prints its positions, doubts and money."""

    def __init__(
        self,
        terminal: HostedTerminal,
        folder: Path,
        seed: int,
        module: str = "door",
        bots: int = 1,
        grace_ms: int = GRACE_MS,
    ) -> None:
        self.bots = [Bot(folder, magic, module, grace_ms) for magic in MAGICS[:bots]]
        self._wait_sec = WAIT_SEC + 1.5 * (grace_ms or USUAL_GRACE_MS) / 1000
        self.kills: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.ended: list[str] = []
        """Why bots ended without being killed."""
        self.forgotten: list[str] = []
        self.untrue: list[str] = []
        self.differs: list[str] = []
        self._terminal, self._folder, self._chance = terminal, folder, Chance(seed)
        self._is_bare = module == "bare"

    def live_through(self, kills: int) -> None:
        """Kill so often, then let the terminal heal and the bots go on, and judge."""
        for _ in range(kills):
            self._round()
        with self._terminal.faults() as faults:
            faults.clear()
        self._heal()
        for bot in self.bots:
            bot.kill()
            bot.wait()
        self._judge()

    def _round(self) -> None:
        """Start what does not run, let the terminal misbehave, and kill one of the bots."""
        victim = self._chance.choice(self.bots)
        for bot in self.bots:
            if bot.has_ended:
                self.ended.append(bot.said[-3_000:])
            if not bot.runs:
                bot.start()
        fault = self._chance.choice(FAULTS) if self._chance.random() < 0.6 else NO_FAULT
        self.faults[fault.name] += 1
        is_any = self._chance.random() < ANY_TIME
        moment = MOMENTS[0] if is_any else self._chance.choice(MOMENTS[1:])
        delay_sec = self._chance.uniform(0.0, 2.5 * SLOWNESS if moment == MOMENTS[0] else 0.1)
        with self._terminal.faults() as faults:
            fault.queue(faults, self._chance)
        self._kill(victim, moment, delay_sec)
        if victim.wait() != KILLED:
            self.ended.append(victim.said[-3_000:])

    def _kill(self, victim: Bot, moment: str, delay_sec: float) -> None:
        if moment == MOMENTS[0]:
            time.sleep(delay_sec)
        else:
            # The bot may be waiting for a stop, or for a doubt to end, which takes a whole run of
            # the bot: a doubt starts anew with each start.
            is_hasty = self._chance.random() < HASTE
            long_sec = max(LONG_WAIT_SEC, self._wait_sec)
            limit_sec = self._chance.uniform(1.0, self._wait_sec) if is_hasty else long_sec
            if not self._wait_for_send(victim, moment, limit_sec):
                moment = MOMENTS[0]
            elif moment == MOMENTS[3]:
                time.sleep(delay_sec)
        victim.kill()
        self.kills[moment] += 1

    def _wait_for_send(self, victim: Bot, moment: str, limit_sec: float) -> bool:
        """Kill a bot while the terminal has its order, or wait until it has; False if none came."""
        wanted = "after" if moment == MOMENTS[2] else "before"
        hit = threading.Event()

        def note(now: str) -> None:
            if now == wanted and not hit.is_set():
                hit.set()
                if moment != MOMENTS[3]:
                    # In the thread of the terminal: nothing of the answer has left.
                    victim.kill()

        self._terminal.around_send = note
        deadline = time.monotonic() + limit_sec
        while not hit.wait(0.05) and time.monotonic() < deadline and not victim.has_ended:
            pass
        self._terminal.around_send = lambda now: None
        return hit.is_set()

    def _heal(self) -> None:
        """Start the bots again, and let them run until all that was open before is closed.

        A bot that was told to send an order until it is done would not look at its positions.
        """
        for bot in self.bots:
            bot.kill()
            bot.wait()
        before = {bot.magic: self._terminal.positions(bot.magic) for bot in self.bots}
        deadline = time.monotonic() + HEAL_SEC
        for bot in self.bots:
            bot.start()
        for bot in self.bots:
            wishes = bot.wishes
            while time.monotonic() < deadline:
                left = set(before[bot.magic]) & set(self._terminal.positions(bot.magic))
                if not left and bot.wishes > wishes:
                    break
                time.sleep(0.05)
            else:
                held = sorted(before[bot.magic])
                self.forgotten.append(f"bot {bot.magic} did not close {held} and trade on")

    def _judge(self) -> None:
        orders, watch = self._terminal.orders(), self._terminal.watch
        for bot in self.bots:
            entries = watch.entries.get(bot.magic, 0)
            if entries > bot.wishes:
                watch.doubled.append(f"{entries} positions for {bot.wishes} wishes")
            for order, price in bot.opened:
                done = orders.get(order)
                if done is None or done.magic != bot.magic or done.price_done != price:
                    self.untrue.append(f"bot {bot.magic} was told {order} at {price}: {done}")
            if not self._is_bare:
                self._compare_book(bot)

    def _stream(self, bot: Bot) -> str:
        return stream_of(ACCOUNT, (bot.magic,), ())

    def _compare_book(self, bot: Bot) -> None:
        """Open the bot's book once more, and compare it with the broker's ledger to the cent."""
        program = self._folder / "last_look.py"
        program.write_text(self.last_look, "utf-8")
        done = bot.run_beside(program.name, JOURNAL, str(bot.magic))
        if done.returncode:
            self.differs.append(f"the book of {bot.magic} cannot be opened: {done.stderr}")
            return
        positions, doubts, realised = json.loads(done.stdout.splitlines()[-1])
        due = sorted(self._terminal.positions(bot.magic)), self._terminal.realised(bot.magic)
        if (positions, realised) != due:
            self.differs.append(f"the book of {bot.magic} has {positions}, {realised}, not {due}")
        if doubts:
            self.differs.append(f"in doubt for ever: {doubts}")
        with open_reader(self._folder / JOURNAL, self._stream(bot)) as reader:
            if not reader.verify().sound:
                self.differs.append(f"the journal of {bot.magic} is damaged")

    @property
    def wrong(self) -> list[str]:
        """Everything that no bot wanted."""
        watch = self._terminal.watch
        return [*watch.faults, *self.forgotten, *self.untrue, *self.differs]


def table(run: DoorKills, terminal: HostedTerminal) -> str:
    """Return the figures of a run."""
    watch = terminal.watch
    rows = [*((f"killed {name}", n) for name, n in sorted(run.kills.items()))]
    rows += [("kills", run.kills.total())]
    rows += [(f"fault: {name}", n) for name, n in sorted(run.faults.items())]
    rows += [("orders at the terminal", terminal.sends)]
    rows += [("wishes to enter", sum(bot.wishes for bot in run.bots))]
    rows += [("positions opened", sum(watch.entries.values()))]
    rows += [("closed by a bot", watch.exits["bot"]), ("closed by a stop", watch.exits["stop"])]
    rows += [("ended by itself", len(run.ended))]
    rows += [("doubled", len(watch.doubled)), ("forgotten", len(run.forgotten))]
    rows += [("without a stop", len(watch.bare)), ("told untrue", len(run.untrue))]
    rows += [("closed another's", len(watch.crossed)), ("book differs", len(run.differs))]
    return "\n".join(f"{name:<36}{figure:>6}" for name, figure in rows)


def run(folder: Path, kills: int, seed: int, **options: Unpack[Options]) -> tuple[str, list[str]]:
    """Kill so often in a folder; return the table of figures, and everything that is wrong."""
    with HostedTerminal(folder / "home", seed) as terminal:
        made = DoorKills(terminal, folder, seed, **options)
        try:
            made.live_through(kills)
        finally:
            for bot in made.bots:
                bot.kill()
        # A bot that cannot initialize ends, and says so; anything else is an error.
        said = [f"ended: {text}" for text in made.ended if "Traceback" in text]
        return table(made, terminal), [*made.wrong, *said]


def main() -> int:
    """Run it as the command line says; 1 if anything is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--module", choices=["door", "unchanged", "bare"], default="door")
    parser.add_argument("--bots", type=int, choices=[1, 2], default=1)
    parser.add_argument("--grace-ms", type=int, default=GRACE_MS, help="0 for the usual one")
    options = parser.parse_args()
    folder, began = Path(tempfile.mkdtemp(prefix="door-kills-")), time.monotonic()
    figures, wrong = run(
        folder,
        options.kills,
        options.seed,
        module=options.module,
        bots=options.bots,
        grace_ms=options.grace_ms,
    )
    lines = [figures, f"seed {options.seed}, {options.module}, {time.monotonic() - began:.0f} s"]
    lines += wrong[:20]
    if wrong:
        lines.append(f"journal and logs: {folder}")
    else:
        shutil.rmtree(folder, ignore_errors=True)
    sys.stdout.write("\n".join(lines) + "\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
