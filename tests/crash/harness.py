"""Hurt a gateway, its worker, its terminal and a bot at random moments; the ledger judges.

`python -m tests.crash.harness --events 300 --seed 7`, or `make crash`. Broker, gateway, worker and
bot are four processes, as in the field. A bot trades until something ends it; the next one settles
what is open, and is compared with the terminal's own ledger before it trades on. `hurts.py` has the
kinds. The seed gives the kinds and the moments; what the processes are doing then it does not, so a
failure is had again by more events, not by the same ones.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tests.crash.hurts import HURTS, KILLS, Hurt, Machines, set_clock
from tests.support.crash_world import DEADLINE_SEC, BotProcess, Step, Terminal
from tests.support.gateway_world import Gateway
from tests.support.ledger import Judgement, Report, judge, replay_is_live
from tests.support.wishes import WISHES_A_ROUND, job, meddle

SETTLE: Step = {"do": "settle"}
REPORT: Step = {"do": "report"}
WAIT: Step = {"do": "wait"}
# What a bot asks for again at its start: every key must give the order it gave before.
ASKED_AGAIN = 20
# Freezes are longer than some of these and shorter than others.
TIMEOUT_MS, GRACE_MS, SETTLE_SEC = 900, 2_500, int(DEADLINE_SEC / 2)
DEADLINE_MS = 1_500


class Harness:
    """Broker, gateway and bot, and how often each of them was hurt.

    Args:
        terminal: the broker.
        gateway: before it.
        seed: of kinds and moments.
        hurts: the kinds.
    """

    def __init__(
        self, terminal: Terminal, gateway: Gateway, seed: int, hurts: Sequence[Hurt] = HURTS
    ) -> None:
        self.count: Counter[str] = Counter()
        self.judged = Judgement(0)
        self.faults: list[str] = []
        self._terminal, self._gateway = terminal, gateway
        self._chance, self._fate = random.Random(seed), random.Random(seed)
        self._hurts = [hurt for hurt in hurts if not hurt.impossible]
        self._wishes: list[Step] = []
        self._known = 0
        self._latest: list[str] = []

    def live_through(self, events: int) -> None:
        """Hurt until there were so many events, or something is wrong; then heal, and judge."""
        self._wishes = job(self._chance, self._terminal.account, events * WISHES_A_ROUND)
        while self.count.total() < events and not self.faults:
            self._round(events)
        if self.faults:
            return
        for name in ("bot", "gateway"):
            set_clock(self._terminal.hurts, name, 0)
        bot = self._bot([SETTLE, *self._due()[:WISHES_A_ROUND], SETTLE, REPORT])
        self._judge(bot.hear("report"))
        assert bot.end() == 0, bot.last_words()

    def _round(self, events: int) -> None:
        """Let a bot come back, be judged, and trade until something ends it."""
        bot = self._bot([SETTLE, REPORT, WAIT, *self._due(), WAIT])
        self._judge(bot.hear("report"))
        self._latest.clear()
        assert bot.hear("waiting")
        bot.tell()
        machines = Machines(self._terminal, self._gateway, bot, self._chance)
        while True:
            is_last = self.count.total() + 1 >= events
            hurt = self._choose(ends_bot=is_last)
            machines.go_on()
            if not bot.is_running:
                self._fail([f"the bot ended by itself with {bot.end()}: {bot.last_words()}"])
                return
            self.count[hurt.name] += 1
            self._latest.append(hurt.name)
            hurt.do(machines)
            if hurt.ends_bot:
                break
        meddle(self._terminal, self._chance)

    def _choose(self, *, ends_bot: bool) -> Hurt:
        kinds = [hurt for hurt in self._hurts if hurt.ends_bot or not ends_bot]
        return self._fate.choices(kinds, [hurt.weight for hurt in kinds])[0]

    def _due(self) -> list[Step]:
        """What the bot shall do: some of it once more, and what comes next."""
        first = max(0, self._known - ASKED_AGAIN)
        return self._wishes[first : self._known + 4 * WISHES_A_ROUND]

    def _bot(self, steps: list[Step]) -> BotProcess:
        return BotProcess(
            self._terminal,
            steps,
            port=self._gateway.port,
            timeout_ms=TIMEOUT_MS,
            grace_ms=GRACE_MS,
            settle_sec=SETTLE_SEC,
        )

    def _judge(self, report: Report) -> None:
        """Ask the broker's own ledger, and fold the journal."""
        replay_is_live(self._terminal.folder, report)
        self.judged = judge(self._terminal, report)
        if self.judged.faults:
            self._fail(self.judged.faults)
        done = (n for n, wish in enumerate(self._wishes) if wish["key"] in report["orders"])
        self._known = max(done, default=0)

    def _fail(self, faults: list[str]) -> None:
        self.faults += [f"after {', '.join(self._latest)}: {fault}" for fault in faults]


def table(harness: Harness) -> str:
    """Return the figures of a run."""
    judged = harness.judged
    rows = [(hurt.name, str(harness.count[hurt.name]), hurt.impossible) for hurt in HURTS]
    rows += [("events", str(harness.count.total()), "")]
    rows += [("orders", str(judged.orders), ""), ("lost", str(len(judged.lost)), "")]
    rows += [("doubled", str(len(judged.doubled)), "")]
    rows += [("left in doubt", str(len(judged.in_doubt)), "")]
    rows += [("book equals the broker's", "no" if judged.differs else "yes", "")]
    return "\n".join(f"{name:<26}{figure:>6}  {why}".rstrip() for name, figure, why in rows)


def run(
    folder: Path, events: int, seed: int, account: str = "hedging", hurts: Sequence[Hurt] = HURTS
) -> Harness:
    """Start everything in a folder, hurt it so often, and return what came of it."""
    with Terminal(folder, account) as terminal:
        terminal.hurts = folder / "hurts"
        terminal.hurts.mkdir()
        with Gateway(terminal, DEADLINE_MS) as gateway:
            harness = Harness(terminal, gateway, seed, hurts)
            harness.live_through(events)
    return harness


def main() -> int:
    """Run it as the command line says; 1 if anything is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--events", type=int, default=300)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--account", choices=["hedging", "netting"], default="hedging")
    parser.add_argument("--kills", action="store_true", help="only the kinds that kill a process")
    options = parser.parse_args()
    hurts = KILLS if options.kills else HURTS
    folder, began = Path(tempfile.mkdtemp(prefix="crash-")), time.monotonic()
    harness = run(folder, options.events, options.seed, options.account, hurts)
    took = f"seed {options.seed}, {options.account}, {time.monotonic() - began:.0f} s"
    lines = [table(harness), took, *harness.faults]
    if harness.faults:
        lines.append(f"journal, record and logs: {folder}")
    else:
        shutil.rmtree(folder, ignore_errors=True)
    sys.stdout.write("\n".join(lines) + "\n")
    return 1 if harness.faults else 0


if __name__ == "__main__":
    sys.exit(main())
