"""The bot is killed at random instants, the gateway dies, both die; the ledger is the judge.

The instants come from a seed; what the processes are doing at that instant does not, so a failure
is had again by more kills, not by the same one: `pytest -m soak`.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from tests.support.crash_world import (
    BotProcess,
    Step,
    Terminal,
)
from tests.support.ledger import ledger_agrees, replay_is_live
from tests.support.processes import KILLED, stopped
from tests.support.wishes import WISHES_A_ROUND, job, meddle


def kill_many(terminal: Terminal, rounds: int, seed: int) -> None:
    chance = random.Random(seed)
    wishes = job(chance, terminal.account, rounds * WISHES_A_ROUND)
    settle: Step = {"do": "settle"}
    # It waits at the end for its kill, which may come late from a busy machine.
    steps: list[Step] = [settle, {"do": "report"}, {"do": "wait"}, *wishes, {"do": "wait"}]
    for _ in range(rounds):
        bot = BotProcess(terminal, steps)
        if chance.random() < 0.25:
            # Before it is even ready: in the middle of its own recovery.
            bot.listen_for(chance.uniform(0.0, 0.05))
        else:
            report: dict[str, Any] = bot.hear("report")
            assert bot.hear("waiting")
            ledger_agrees(terminal, report)
            replay_is_live(terminal.folder, report)
            bot.tell()
            bot.listen_for(chance.uniform(0.0, 0.12))
        status = bot.kill()
        assert status == KILLED, bot.last_words()
        meddle(terminal, chance)
    bot = BotProcess(terminal, [settle, *wishes, settle, {"do": "report"}])
    report = bot.hear("report")
    assert bot.end() == 0
    ledger_agrees(terminal, report)
    replay_is_live(terminal.folder, report)
    # It has been through the whole list, and every wish is there.
    asked = {step["key"] for step in wishes if step["do"] == "submit"}
    assert asked <= set(report["orders"])


@pytest.mark.parametrize("account", ["hedging", "netting"])
def test_bot_when_killed_at_random_instants_neither_repeats_nor_loses_an_order(
    account: str, tmp_path: Path
) -> None:
    with Terminal(tmp_path, account) as terminal:
        kill_many(terminal, 12, seed=20260105)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("account", ["hedging", "netting"])
def test_bot_when_killed_hundreds_of_times_neither_repeats_nor_loses_an_order(
    account: str, seed: int, tmp_path: Path
) -> None:
    with Terminal(tmp_path, account) as terminal:
        kill_many(terminal, 100, seed)


# The gateway.


OPENED: list[Step] = [
    {"do": "settle"},
    {"do": "submit", "key": "first", "side": "buy", "volume": 0.03},
    {"do": "submit", "key": "second", "side": "sell", "volume": 0.02},
]
ANOTHER: Step = {"do": "submit", "key": "third", "side": "buy", "volume": 0.01}
REPORT: Step = {"do": "report"}
SYNC: Step = {"do": "sync"}
WAIT: Step = {"do": "wait"}


def test_gateway_when_frozen_in_the_middle_of_an_order_does_it_once(tmp_path: Path) -> None:
    steps = [*OPENED, WAIT, ANOTHER, REPORT, WAIT, {"do": "settle"}, ANOTHER, REPORT]
    with Terminal(tmp_path) as terminal:
        bot = BotProcess(terminal, steps, timeout_ms=400, grace_ms=3_000)
        assert bot.hear("waiting")
        with stopped(terminal.process.pid):
            bot.tell()
            report = bot.hear("report")
            assert report["orders"]["third"][0] == "IN_DOUBT"
            assert bot.hear("waiting")
        bot.tell()
        report = bot.hear("report")
        assert bot.end() == 0
        ledger_agrees(terminal, report)
        replay_is_live(tmp_path, report)


def test_bot_when_killed_while_the_gateway_is_frozen_does_it_at_most_once(tmp_path: Path) -> None:
    with Terminal(tmp_path) as terminal:
        bot = BotProcess(terminal, [*OPENED, WAIT, ANOTHER])
        assert bot.hear("waiting")
        with stopped(terminal.process.pid):
            bot.tell()
            # It waits for an answer that does not come.
            bot.listen_for(0.2)
            assert bot.kill() == KILLED
        again = [{"do": "settle"}, ANOTHER, {"do": "settle"}, REPORT]
        bot = BotProcess(terminal, again, grace_ms=2_000)
        report = bot.hear("report")
        assert bot.end() == 0
        ledger_agrees(terminal, report)
        replay_is_live(tmp_path, report)
        assert report["orders"]["third"][0] in ("FILLED", "CANCELED")


def held_open(report: dict[str, Any], positions: list[Any]) -> None:
    """Nothing was closed, because nothing proves it; every position is said to be missing."""
    assert report["positions"] == positions
    for ticket, _, _ in positions:
        assert any(f"(ticket {ticket}) left the broker's list" in hold for hold in report["holds"])


@pytest.mark.parametrize("with_bot", [False, True], ids=["gateway", "gateway and bot"])
def test_a_gateway_that_dies_and_comes_back_empty_closes_nothing_without_proof(
    with_bot: bool, tmp_path: Path
) -> None:
    """The simulated broker dies with its gateway, so what comes back is an account without a past.

    A real broker would have deals that prove each close. Here nothing does: the book keeps what it
    holds, says that it is missing, and refuses entries until a person says what became of it.
    """
    away: list[Step] = [SYNC, REPORT, ANOTHER, WAIT]
    back: list[Step] = [SYNC, SYNC, REPORT, ANOTHER, WAIT]
    impatient: dict[str, Any] = {"patient": 0, "timeout_ms": 400}
    with Terminal(tmp_path) as terminal:
        bot = BotProcess(terminal, [*OPENED, WAIT, *away, *back], **impatient)
        assert bot.hear("waiting")
        positions = terminal.positions()
        terminal.kill()
        if with_bot:
            assert bot.kill() == KILLED
            bot = BotProcess(terminal, [*away, *back], **impatient)
        else:
            bot.tell()
        assert bot.hear("synced") == ["DEGRADED", 0, 0]
        report = bot.hear("report")
        assert report["positions"] == positions
        assert "Degraded" in report["health"]
        assert "No entry: refused" in bot.hear("refused")
        assert bot.hear("waiting")
        terminal.start()
        bot.tell()
        assert [bot.hear("synced") for _ in range(2)][-1][1:] == [0, 0]
        report = bot.hear("report")
        held_open(report, positions)
        assert "No entry: refused" in bot.hear("refused")
        assert bot.hear("waiting")
        replay_is_live(tmp_path, report)
        assert terminal.positions() == []
        assert bot.kill() == KILLED
