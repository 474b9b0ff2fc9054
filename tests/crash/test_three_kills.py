"""Bot, gateway and worker are killed at random moments; the broker lives, and its ledger judges.

The moments come from a seed; what the processes are doing then does not, so a failure is had again
by more kills, not by the same one: `pytest -m soak`.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from tests.crash.test_random_kills import WISHES_A_ROUND, job, meddle
from tests.support.crash_world import BotProcess, Step, Terminal, ledger_agrees, replay_is_live
from tests.support.gateway_world import Gateway
from tests.support.processes import KILLED

SETTLE: Step = {"do": "settle"}
REPORT: Step = {"do": "report"}
WAIT: Step = {"do": "wait"}
SOME_KILLS, MANY_KILLS = 6, 200


class Killed:
    """Broker, gateway and bot, and how often who was killed.

    Args:
        terminal: the broker.
        gateway: before it.
        kills: how many there shall be.
        seed: of the moments.
        victims: who is killed besides the bot.
    """

    def __init__(
        self,
        terminal: Terminal,
        gateway: Gateway,
        kills: int,
        seed: int,
        victims: tuple[str, ...] = ("gateway", "worker"),
    ) -> None:
        self.terminal, self.gateway = terminal, gateway
        self.chance, self.fate = random.Random(seed), random.Random(seed)
        self.count = {"bot": 0, "gateway": 0, "worker": 0}
        self._kills, self._victims = kills, victims
        self.wishes = job(self.chance, terminal.account, kills * WISHES_A_ROUND)

    def bot(self, steps: list[Step]) -> BotProcess:
        """Start the bot."""
        port = self.gateway.port
        return BotProcess(self.terminal, steps, port=port, grace_ms=2_500, settle_sec=90)

    def judge(self, report: dict[str, Any]) -> None:
        """Ask the broker's own ledger, and fold the journal."""
        ledger_agrees(self.terminal, report)
        replay_is_live(self.terminal.folder, report)

    def live_through(self) -> None:
        """Kill until there were enough, then let the bot come to the end of its wishes."""
        while sum(self.count.values()) < self._kills:
            self.round()
        bot = self.bot([SETTLE, *self.wishes[: self._kills * 5], SETTLE, REPORT])
        report = bot.hear("report")
        assert bot.end() == 0, bot.last_words()
        self.judge(report)

    def round(self) -> None:
        """Let a bot trade, kill one or more of the three meanwhile, and at last the bot."""
        bot = self.bot([SETTLE, REPORT, WAIT, *self.wishes])
        self.judge(bot.hear("report"))
        assert bot.hear("waiting")
        bot.tell()
        for victim in self.fate.choices(self._victims, k=self.fate.randint(0, 2)):
            bot.listen_for(self.chance.uniform(0.0, 0.3))
            self.count[victim] += 1
            if victim == "worker":
                self.gateway.kill_worker()
            else:
                self.gateway.kill()
                bot.listen_for(self.chance.uniform(0.0, 0.3))
                self.gateway.start()
        bot.listen_for(self.chance.uniform(0.0, 0.3))
        assert bot.kill() == KILLED, bot.last_words()
        self.count["bot"] += 1
        meddle(self.terminal, self.chance)


def live_through(folder: Path, kills: int, seed: int) -> None:
    """Kill so many times, and see that nothing is done twice and nothing lost."""
    with Terminal(folder) as terminal, Gateway(terminal) as gateway:
        killed = Killed(terminal, gateway, kills, seed)
        killed.live_through()
        assert all(killed.count.values()), killed.count


def test_bot_gateway_and_worker_when_killed_at_random_lose_and_repeat_nothing(
    tmp_path: Path,
) -> None:
    live_through(tmp_path, SOME_KILLS, seed=20260105)


@pytest.mark.soak
def test_bot_gateway_and_worker_when_killed_two_hundred_times_lose_and_repeat_nothing(
    tmp_path: Path,
) -> None:
    live_through(tmp_path, MANY_KILLS, seed=7)
