"""A bot of the official module, killed behind the door; and that the judge sees what goes wrong."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.door_kills import GRACE_MS, MAGICS, Bot, DoorKills, run, table
from tests.support.hosted_terminal import HostedTerminal
from tests.support.processes import KILLED
from tests.support.servers import until
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.sim.terminal.terminal_faults import AnswerLost

KILLS, MANY_KILLS = 6, 200
LONG_SEC = 90.0


@pytest.mark.timeout(600)
def test_a_few_kills_double_and_forget_nothing(tmp_path: Path) -> None:
    figures, wrong = run(tmp_path, KILLS, seed=12)
    assert wrong == [], figures


@pytest.mark.soak
@pytest.mark.parametrize("bots", [1, 2])
def test_hundreds_of_kills_double_and_forget_nothing(bots: int, tmp_path: Path) -> None:
    figures, wrong = run(tmp_path, MANY_KILLS, seed=7, bots=bots)
    assert wrong == [], figures


# The judge.


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[HostedTerminal]:
    with HostedTerminal(tmp_path / "home", seed=5) as hosted:
        yield hosted


@pytest.mark.skipif(sys.platform == "win32", reason="seen on Linux; the judge is the same")
def test_without_the_door_a_lost_answer_doubles_and_the_judge_sees_that(
    terminal: HostedTerminal, tmp_path: Path
) -> None:
    with terminal.faults() as faults:
        faults.next_send(AnswerLost(executed=True, pipe_breaks=False))
    kills = DoorKills(terminal, tmp_path, seed=1, module="bare")
    (bot,) = kills.bots
    bot.start()
    try:
        until(lambda: terminal.watch.doubled or bot.has_ended, LONG_SEC)
    finally:
        bot.kill()
        bot.wait()
    (doubled,) = terminal.watch.doubled
    assert "was opened beside" in doubled
    assert kills.wrong == [doubled]
    assert "doubled                                  1" in table(kills, terminal)


def _order(magic: int, **fields: float) -> dict[str, object]:
    return {
        "action": mt5.TRADE_ACTION_DEAL,
        "symbol": "EURUSD",
        "volume": 0.1,
        "type": mt5.ORDER_TYPE_BUY,
        "magic": magic,
        "type_filling": mt5.ORDER_FILLING_IOC,
        **fields,
    }


def test_the_judge_sees_a_position_without_a_stop_and_one_that_another_program_closed(
    terminal: HostedTerminal,
) -> None:
    first, second = MAGICS
    opened = terminal.trade(lambda at: at.order_send(_order(first)))
    closing = {"type": mt5.ORDER_TYPE_SELL, "position": opened.order}
    terminal.trade(lambda at: at.order_send(_order(second, **closing)))
    watch = terminal.watch
    assert watch.faults == [
        f"without a stop: {opened.order} has sl=0.0 and tp=0.0",
        f"closed by another program: {opened.order} of {first} by {second}",
    ]
    assert (watch.entries, watch.exits) == ({first: 1}, {"bot": 1, "stop": 0})


def test_the_judge_sees_more_positions_than_wishes_and_a_price_that_is_not_true(
    terminal: HostedTerminal, tmp_path: Path
) -> None:
    stops = {"sl": 1.0, "tp": 1.2}
    opened = terminal.trade(lambda at: at.order_send(_order(MAGICS[0], **stops)))
    kills = DoorKills(terminal, tmp_path, seed=1, module="bare")
    said = f"opened {opened.order} at 1.5\n"
    (tmp_path / f"bot-{MAGICS[0]}.log").write_text(said, encoding="utf-8")
    kills._judge()
    assert terminal.watch.doubled == ["1 positions for 0 wishes"]
    (untrue,) = kills.untrue
    assert f"was told {opened.order} at 1.5" in untrue


def test_a_bot_that_lives_is_not_called_ended(terminal: HostedTerminal, tmp_path: Path) -> None:
    bot = Bot(tmp_path, MAGICS[0], "door", GRACE_MS)
    assert not bot.runs
    bot.start()
    assert bot.runs
    bot.kill()
    assert bot.wait() == KILLED
    assert not (bot.runs)
    assert not (bot.has_ended)
