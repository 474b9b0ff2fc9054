"""The bot is killed at every named moment, and comes back: nothing twice, nothing lost.

What dies is a process of its own, on a SQLite journal, against a terminal in another process; who
judges it is the terminal's own ledger.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.crash_world import (
    BotProcess,
    Step,
    Terminal,
)
from tests.support.ledger import journalled, ledger_agrees, replay_is_live
from tests.support.processes import KILLED_ITSELF
from trueup.runtime.bot.crash_points import CrashPoint

Steps = list[Step]

# What has become of a market order when the bot is back and all is settled.
BECOMES = {
    CrashPoint.BEFORE_INTENT: "",
    CrashPoint.AFTER_INTENT: "CANCELED",
    CrashPoint.AFTER_SEND_STARTED: "CANCELED",
    CrashPoint.AFTER_SEND: "FILLED",
    CrashPoint.BEFORE_OUTCOME: "FILLED",
    CrashPoint.AFTER_OUTCOME: "FILLED",
}


@pytest.fixture(scope="module")
def hedging(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminal]:
    """One terminal for all: its ledger and the bot's journal go on from test to test."""
    with Terminal(tmp_path_factory.mktemp("hedging")) as made:
        yield made


@pytest.fixture(scope="module")
def netting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminal]:
    with Terminal(tmp_path_factory.mktemp("netting"), "netting") as made:
        yield made


def opened(name: str) -> Steps:
    """Two positions; the names of the keys are this test's own."""
    return [
        {"do": "settle"},
        {"do": "submit", "key": f"{name} first", "side": "buy", "volume": 0.03},
        {"do": "checkpoint"},
        {"do": "submit", "key": f"{name} second", "side": "sell", "volume": 0.02},
    ]


def wish(kind: str, name: str) -> Step:
    """What is under way when the bot dies."""
    wishes: dict[str, Step] = {
        "market": {"do": "submit", "side": "buy", "volume": 0.05, "sl": 0.5},
        "limit": {"do": "submit", "side": "buy", "volume": 0.05, "limit": 0.9},
        "close": {"do": "close", "of": f"{name} first", "volume": 0.01},
        "modify": {"do": "modify", "of": f"{name} first", "sl": 0.5, "tp": 3.0},
    }
    return {**wishes[kind], "key": f"{name} x"}


def arm(point: CrashPoint) -> Step:
    return {"do": "arm", "point": point.value}


def dies(terminal: Terminal, steps: Steps) -> None:
    bot = BotProcess(terminal, steps)
    assert bot.end() == KILLED_ITSELF, bot.last_words()


def comes_back(terminal: Terminal, *steps: Step, is_fresh: bool = False) -> dict[str, Any]:
    """Start the bot again, let it settle, and have the broker judge it."""
    settle: Step = {"do": "settle"}
    bot = BotProcess(terminal, [settle, *steps, settle, {"do": "report"}], is_fresh=is_fresh)
    report: dict[str, Any] = bot.hear("report")
    assert bot.end() == 0
    ledger_agrees(terminal, report)
    replay_is_live(terminal.folder, report)
    return report


def status_of(key: str, report: dict[str, Any]) -> str:
    return str(report["orders"].get(key, [""])[0])


@pytest.mark.parametrize("kind", ["market", "limit", "close", "modify"])
@pytest.mark.parametrize("point", BECOMES, ids=lambda point: point.value)
def test_bot_when_killed_at_a_point_of_an_order_neither_repeats_nor_loses_it(
    point: CrashPoint, kind: str, hedging: Terminal
) -> None:
    name = f"{point.value}, {kind}"
    dies(hedging, [*opened(name), arm(point), wish(kind, name)])
    report = comes_back(hedging)
    assert status_of(f"{name} x", report) == BECOMES[point]
    in_journal = [i for i in journalled(hedging.folder).values() if i.get("key") == f"{name} x"]
    assert len(in_journal) == (point is not CrashPoint.BEFORE_INTENT)
    # The same key again sends nothing where the journal knows it, and goes where it does not.
    before = hedging.count_orders()
    again = comes_back(hedging, wish(kind, name))
    assert status_of(f"{name} x", again) == (BECOMES[point] or "FILLED")
    if in_journal:
        assert hedging.count_orders() == before


def dies_while_a_person_trades(point: CrashPoint, terminal: Terminal, *, is_fresh: bool) -> None:
    """Kill a bot at a point, and start it again; `is_fresh`: each in an interpreter of its own."""
    name = f"a person, {point.value}"
    steps: Steps = [*opened(name), {"do": "wait"}]
    if point is CrashPoint.INSIDE_PLAN:
        steps += [arm(point), {"do": "settle"}]
    elif point is CrashPoint.INSIDE_CHECKPOINT:
        steps += [{"do": "settle"}, arm(point), {"do": "checkpoint"}]
    else:
        steps += [arm(point), wish("market", name)]
    bot = BotProcess(terminal, steps, is_fresh=is_fresh)
    assert bot.hear("waiting")
    # Meanwhile a person trades, so that the plan has something in it.
    terminal.person("open", side="buy", volume=0.07)
    if terminal.account == "hedging":
        terminal.person("close", ticket=terminal.positions()[0][0])
    bot.tell()
    assert bot.end() == KILLED_ITSELF, bot.last_words()
    report = comes_back(terminal, is_fresh=is_fresh)
    if point in BECOMES:
        assert status_of(f"{name} x", report) == BECOMES[point]
    assert report["positions"]


@pytest.mark.parametrize("point", CrashPoint, ids=lambda point: point.value)
def test_bot_when_killed_at_a_point_while_a_person_trades_comes_back(
    point: CrashPoint, hedging: Terminal
) -> None:
    # No point is another for a fresh interpreter; `make soak` has one for each.
    is_fresh = point is CrashPoint.BEFORE_OUTCOME
    dies_while_a_person_trades(point, hedging, is_fresh=is_fresh)


@pytest.mark.soak
@pytest.mark.parametrize("point", CrashPoint, ids=lambda point: point.value)
def test_bot_on_a_netting_account_when_killed_at_a_point_comes_back(
    point: CrashPoint, netting: Terminal
) -> None:
    dies_while_a_person_trades(point, netting, is_fresh=True)


@pytest.mark.parametrize("times", [1, 3])
def test_bot_when_killed_again_while_it_recovers_comes_back(times: int, netting: Terminal) -> None:
    """The restart itself journals what the last process left, and then a plan: each may fail."""
    name = f"{times} times"
    dies(
        netting,
        [*opened(name), arm(CrashPoint.BEFORE_OUTCOME), wish("market", name)],
    )
    netting.person("open", side="sell", volume=0.01)
    for _ in range(times):
        dies(netting, [arm(CrashPoint.INSIDE_PLAN), {"do": "settle"}])
    assert status_of(f"{name} x", comes_back(netting)) == "FILLED"


def test_bot_when_killed_in_the_middle_of_a_checkpoint_has_the_one_before(
    hedging: Terminal,
) -> None:
    many: Steps = [
        {"do": "submit", "key": f"many {n}", "side": "buy", "volume": 0.01} for n in range(12)
    ]
    checkpoint: Step = {"do": "checkpoint"}
    dies(
        hedging,
        [{"do": "settle"}, *many, arm(CrashPoint.INSIDE_CHECKPOINT), *opened("many"), checkpoint],
    )
    report = comes_back(hedging)
    assert all(status_of(f"many {n}", report) == "FILLED" for n in range(12))
