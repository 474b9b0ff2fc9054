"""`trueup close`: what it shows, asks, refuses and prints, by the broker's own ledger."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.beside import Beside, flat
from tests.orders.test_order_desk import IMMEDIATE_OR_CANCEL
from tests.support import make
from tests.support.desk_world import BUY, NETTING, SELL
from trueup.core.book import events
from trueup.errors import OutcomeUnknown, Refused
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.observe.close_text import (
    ClosePlan,
    CloseResult,
    ClosingRow,
    close_sentence,
    write_close_plan,
)
from trueup.runtime.control.commands.close_plan import targets
from trueup.runtime.control.commands.command import OLDEST_SEC
from trueup.sim.terminal.terminal_faults import Answered, AnswerLost, Partial


@pytest.fixture
def beside(monkeypatch: pytest.MonkeyPatch) -> Beside:
    return Beside(monkeypatch)


@pytest.fixture
def netting(monkeypatch: pytest.MonkeyPatch) -> Beside:
    return Beside(monkeypatch, NETTING)


def opened(beside: Beside, lots: float = 0.1, side: str = "buy") -> int:
    """Let the strategy open a position; return its ticket."""
    ticket = beside.pm.submit(side, lots).ticket  # type: ignore[arg-type]
    beside.broker.sync()
    assert ticket is not None
    return ticket


def intents(beside: Beside) -> list[events.OrderCreated]:
    created = (e for e in beside.journal.read() if isinstance(e, events.OrderCreated))
    return [event for event in created if event.by]


def test_a_close_is_shown_asked_for_sent_with_the_name_and_told(beside: Beside) -> None:
    ticket = opened(beside)
    foreign = beside.broker.person.open("USDJPY", SELL, 0.02)
    pending = beside.pm.submit("buy", 0.1, limit=1.05).ticket
    beside.broker.quote(1.1021)
    done = beside.run("close", str(ticket), "--who", "Ada", "--why", "news", said="y\n")
    assert done.exit_code == 0, flat(done)
    text = flat(done)
    assert "Account 5000001@Simulated-Demo (demo), read 2023-11-14 22:13:2" in text
    # The price is that of now, not of the latest sync.
    assert f"Close {ticket} EURUSD LONG 0.10L @ 1.1001, now 1.1021, profit +20.00 USD" in text
    assert "Then EURUSD flat" in text
    assert f"Stays pending order {pending}, EURUSD BUY LIMIT 0.10L @ 1.05" in text
    # Another symbol is no matter of this ticket.
    assert str(foreign) not in text
    assert "Close this position now? [y/N]" in text
    assert f"Closed {ticket} EURUSD LONG 0.10L @ 1.1021 (ORD_" in text
    assert max(map(len, done.output.splitlines())) <= 80
    (intent,) = intents(beside)
    assert (intent.by, intent.why, intent.position) == ("Ada", "news", ticket)
    assert set(beside.broker.ledger.positions) == {foreign}


@pytest.mark.parametrize(
    ("said", "sentence"),
    [("", "Nobody answered, so nothing was changed: give --yes."), ("n\n", "Nothing was changed.")],
)
def test_without_a_yes_nothing_is_sent(beside: Beside, said: str, sentence: str) -> None:
    ticket = opened(beside)
    done = beside.run("close", str(ticket), said=said)
    assert (done.exit_code, sentence in flat(done)) == (2, True)
    assert set(beside.broker.ledger.positions) == {ticket}
    assert "close" not in beside.asked


def test_json_has_the_plan_and_the_results(beside: Beside) -> None:
    ticket = opened(beside)
    without = beside.run("close", str(ticket), "--json")
    assert (without.exit_code, "give --yes too" in without.stderr) == (2, True)
    said = json.loads(without.stdout)
    assert (said["plan"]["rows"][0]["ticket"], said["results"]) == (ticket, [])
    done = json.loads(beside.run("close", str(ticket), "--json", "--yes").stdout)
    (result,) = done["results"]
    assert (result["state"], result["lots"], result["ticket"]) == ("closed", 0.1, ticket)
    assert done["plan"]["net"] == [{"symbol": "EURUSD", "lots": 0.0}]


def test_all_closes_one_after_the_other_and_names_what_could_not_be_closed(
    beside: Beside,
) -> None:
    first, second = opened(beside), opened(beside, 0.2, "sell")
    foreign = beside.broker.person.open("USDJPY", SELL, 0.02)
    beside.broker.sync()
    beside.broker.terminal.faults.next_send(Answered(mt5.TRADE_RETCODE_MARKET_CLOSED))
    done = beside.run("close", "all", said="y\n")
    text = flat(done)
    assert done.exit_code == 1
    assert "Close these 2 positions now?" in text
    assert f"Stays position {foreign}, USDJPY SHORT 0.02L, not this bot's" in text
    assert f"Not closed {first} EURUSD LONG 0.10L: " in text
    assert "the market is closed (10018 MARKET_CLOSED)" in text
    assert f"Closed {second} EURUSD SHORT 0.20L" in text
    assert set(beside.broker.ledger.positions) == {first, foreign}
    again = beside.run("close", "all", "--yes")
    assert again.exit_code == 0
    nothing = beside.run("close", "all", "--yes")
    assert (nothing.exit_code, flat(nothing)) == (0, "Nothing to close: the book is flat.")
    assert json.loads(beside.run("close", "all", "--json").stdout)["results"] == []


def test_an_order_in_doubt_may_have_opened_what_all_does_not_close(beside: Beside) -> None:
    beside.broker.terminal.faults.next_send(AnswerLost(executed=False, pipe_breaks=False))
    order = beside.pm.submit("buy", 0.1)
    told = f"In doubt {order.order_id}, BUY 0.10L EURUSD: it may have opened a position"
    done = beside.run("close", "all", "--yes")
    assert done.exit_code == 1
    assert flat(done).startswith(f"Nothing to close: the book is flat. {told}")
    (words,) = json.loads(beside.run("close", "all", "--json").stdout)["plan"]["doubts"]
    assert order.order_id in words


def test_an_order_in_doubt_is_told_beside_what_is_closed(beside: Beside) -> None:
    ticket = opened(beside)
    beside.broker.terminal.faults.next_send(AnswerLost(executed=False, pipe_breaks=False))
    beside.pm.submit("buy", 0.1)
    # The ticket is closed, and that is all that was asked for.
    done = beside.run("close", str(ticket), "--yes")
    assert done.exit_code == 0
    assert "it may have opened a position" in flat(done)


def test_what_is_not_ours_is_refused_with_what_it_is(beside: Beside) -> None:
    ticket = opened(beside)
    pending = beside.pm.submit("buy", 0.1, limit=1.05).ticket
    foreign = beside.broker.person.open("USDJPY", SELL, 0.02)
    refused = {
        foreign: "The broker has it, USDJPY SHORT 0.02L, magic 0, and it is not this bot's: close "
        "it in the terminal",
        pending: "is a pending order, EURUSD BUY LIMIT 0.10L @ 1.05: cancel it in the terminal",
        4711: f"4711 is no position of this bot's book, which has {ticket}.",
    }
    for wrong, why in refused.items():
        done = beside.run("close", str(wrong), "--yes")
        assert (done.exit_code, why in flat(done)) == (2, True), flat(done)
    assert beside.run("close", str(ticket), "--yes").exit_code == 0
    again = beside.run("close", str(ticket), "--yes")
    assert f"{ticket} has left the book: it was closed." in flat(again)


def test_a_list_from_before_a_close_does_not_make_the_position_anothers(beside: Beside) -> None:
    ticket = opened(beside)
    before = make.snapshot(beside.pm.book.holdings[ticket].position)
    beside.pm.close(ticket)
    with pytest.raises(Refused, match=f"{ticket} has left the book: it was closed"):
        targets(beside.pm, ticket, before)


@pytest.mark.parametrize("wrong", ["0", "-5", "every", "1.5", ""])
def test_a_ticket_that_is_none_is_wrong_usage(beside: Beside, wrong: str) -> None:
    done = beside.run("close", "--yes", "--", wrong)
    assert (done.exit_code, "give the ticket of a position, or all" in flat(done)) == (64, True)


def test_a_close_passes_while_paused_and_while_a_limit_is_reached(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "trueup.toml").write_text("[limits]\npositions = 1\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    beside = Beside(monkeypatch)
    ticket = opened(beside)
    assert beside.pm.limits_reached
    beside.run("pause", "--who", "Ada")
    assert beside.run("close", str(ticket), "--yes").exit_code == 0


def test_a_close_passes_while_the_broker_cannot_be_read_and_says_so(beside: Beside) -> None:
    ticket = opened(beside)
    beside.broker.mangle(*[lambda _: b"no JSON"] * 20)
    done = beside.run("close", str(ticket), "--yes")
    text = flat(done)
    assert done.exit_code == 0, text
    assert "Careful The broker cannot be read now: " in text
    assert "The figures are of the time above." in text
    assert f"Closed {ticket}" in text
    # The book is flat now, which is no news of a broker that nobody can read.
    beside.broker.mangle(*[lambda _: b"no JSON"] * 20)
    nothing = flat(beside.run("close", "all", "--yes"))
    assert nothing.startswith("Nothing to close: the book is flat. The broker cannot be read now: ")


def test_a_lost_answer_is_waited_for(beside: Beside) -> None:
    ticket = opened(beside)
    beside.broker.terminal.faults.next_send(AnswerLost(executed=True, pipe_breaks=False))
    done = beside.run("close", str(ticket), "--yes")
    assert (done.exit_code, f"Closed {ticket} EURUSD LONG 0.10L" in flat(done)) == (0, True)


def test_a_doubt_that_stays_is_told_with_what_happens_next(
    beside: Beside, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trueup.runtime.control.carried_out.RESOLVED_SEC", 0.0)
    monkeypatch.setattr(beside.broker.__class__, "keeps_record", False)
    ticket = opened(beside)
    beside.broker.terminal.faults.next_send(AnswerLost(executed=False, pipe_breaks=False))
    done = beside.run("close", str(ticket), "--yes")
    text = flat(done)
    assert done.exit_code == 1
    assert f"In doubt {ticket} EURUSD LONG 0.10L: the reply's status is 'UNKNOWN'" in text
    assert "The bot looks for it at the broker until the outcome is proven" in text
    # A second close could close twice: it is refused with the order that may have done it.
    again = beside.run("close", str(ticket), "--yes")
    assert again.exit_code == 1
    assert f"Careful {ticket}: ORD_" in flat(again)
    assert "may have closed it already" in flat(again)
    assert len(intents(beside)) == 1


def test_a_part_is_told_as_a_part(monkeypatch: pytest.MonkeyPatch) -> None:
    beside = Beside(monkeypatch, specs=(IMMEDIATE_OR_CANCEL,))
    ticket = opened(beside, 0.3)
    beside.broker.terminal.faults.next_send(Partial(0.1))
    done = beside.run("close", str(ticket), "--yes")
    assert done.exit_code == 1
    assert f"In part {ticket} EURUSD LONG 0.30L: 0.10L closed" in flat(done)


def test_a_position_that_changed_since_it_was_shown_is_not_closed(beside: Beside) -> None:
    ticket = opened(beside, 0.3)
    shown: dict[str, Any] = {"id": "k", "ticket": ticket, "side": "LONG", "lots": 0.2}
    refused = beside.world.tell("close", **shown)
    assert (
        "has changed since it was shown. It was LONG 0.20L, and is LONG 0.30L now"
        in (refused["error"])
    )
    assert intents(beside) == []


def test_the_same_command_again_sends_nothing(beside: Beside) -> None:
    ticket = opened(beside)
    shown: dict[str, Any] = {"id": "k", "ticket": ticket, "side": "LONG", "lots": 0.1}
    states = [beside.answer("close", **shown)["result"]["state"] for _ in range(3)]
    assert states == ["waiting", "closed", "closed"]
    assert len(intents(beside)) == 1
    lost = beside.world.tell("closed", id="another", ticket=ticket)
    assert lost["error"] == "This bot has no close 'another': nothing was sent by that command."
    nothing = beside.world.tell("close", ticket=ticket)
    assert nothing["error"].startswith("Say which")


def test_a_command_that_waited_too_long_is_not_carried_out(beside: Beside) -> None:
    ticket = opened(beside)
    then_ns = beside.pm.clock.now_ns()
    beside.broker.wait(OLDEST_SEC + 1)
    shown: dict[str, Any] = {"id": "k", "ticket": ticket, "side": "LONG", "lots": 0.1}
    late = beside.answer("close", **shown, at_ns=then_ns)
    assert "the bot was busy or hung until now" in late["error"]
    assert intents(beside) == []
    assert beside.answer("close", **shown, at_ns=beside.pm.clock.now_ns())["ok"]


def test_a_bot_that_ends_before_it_answers_is_told_as_not_known(
    beside: Beside, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticket = opened(beside)
    answer = beside.answer

    def dying(name: str, **fields: Any) -> dict[str, Any]:
        if name in ("close", "closed"):
            raise OutcomeUnknown
        return answer(name, **fields)

    beside.answer = dying  # type: ignore[method-assign]
    monkeypatch.setattr("trueup.runtime.control.line.is_alive", lambda pid: False)
    done = beside.run("close", str(ticket), "--yes")
    assert done.exit_code == 1
    assert f"Not known {ticket} EURUSD LONG 0.10L: The bot, process 4711, has ended." in flat(done)
    assert "Look at the terminal, and at `trueup status`." in flat(done)


# Netting accounts: a close of more lots than the position has would open the other side.


def test_on_a_netting_account_the_resulting_net_is_shown(netting: Beside) -> None:
    ticket = opened(netting, 0.3)
    done = netting.run("close", str(ticket), "--yes")
    assert (done.exit_code, "Then EURUSD flat" in flat(done)) == (0, True)
    assert netting.broker.ledger.positions == {}


def test_on_a_netting_account_a_position_that_shrank_is_not_reversed(netting: Beside) -> None:
    ticket = opened(netting, 0.3)
    netting.broker.person.open("EURUSD", SELL, 0.2)
    done = netting.run("close", str(ticket), said="y\n")
    text = flat(done)
    assert done.exit_code == 1
    assert f"Careful {ticket}: the book has LONG 0.30L, and the broker LONG 0.10L" in text
    assert "Then EURUSD SHORT 0.20L" in text
    assert "Nothing was sent: the book has LONG 0.30L, and the broker LONG 0.10L." in text
    assert intents(netting) == []
    netting.broker.sync()
    assert netting.run("close", str(ticket), "--yes").exit_code == 0
    assert netting.broker.ledger.positions == {}


def test_on_a_netting_account_a_position_that_is_gone_is_not_opened_again(
    netting: Beside,
) -> None:
    ticket = opened(netting, 0.3)
    netting.broker.person.open("EURUSD", SELL, 0.3)
    done = netting.run("close", str(ticket), "--yes")
    assert done.exit_code == 1
    assert "the broker's list does not have it now" in flat(done)
    assert netting.broker.ledger.positions == {}


def test_on_a_netting_account_strategies_that_share_the_position_are_named(
    netting: Beside,
) -> None:
    ticket = opened(netting, 0.3)
    netting.broker.person.open("EURUSD", BUY, 0.1)
    netting.broker.sync()
    done = netting.run("close", str(ticket), said="n\n")
    text = flat(done)
    assert "the position in EURUSD is shared, and all of it is closed: " in text
    assert "0.30L of magic 0, 0.10L of no strategy" in text


def test_on_a_netting_account_that_cannot_be_read_the_danger_is_named(netting: Beside) -> None:
    ticket = opened(netting, 0.3)
    netting.broker.mangle(*[lambda _: b"no JSON"] * 20)
    done = netting.run("close", str(ticket), said="n\n")
    assert "a close of a position that has shrunk since opens the other side" in flat(done)


# Words.


def test_words_of_results_and_of_a_plan_without_figures() -> None:
    row = ClosingRow(7, 7, "EURUSD", "LONG", 0.1, 1.1)
    assert close_sentence(row, CloseResult(7, "waiting", reason="x")) == [
        "Not known  7 EURUSD LONG 0.10L: x."
    ]
    many = [f"pending order {number}" for number in range(20)]
    text = write_close_plan(ClosePlan([row], [], stays=many))
    assert "never read" in text
    assert text.splitlines()[-1] == "Stays      8 more"
    assert "profit" not in text
