"""What a bot is told when the terminal misbehaves: not sent, refused, or not known.

A table: what befalls the terminal, what the reply to an order says, and what the broker has. The
last column is read from the broker's own books, so a reply that claims more than is known shows.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import pytest

from tests.support.desk_world import BUY, OTHER, DeskWorld
from trueup.gateway.desk.desk import Desk
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.gateway.terminal.one_account import OneAccount
from trueup.sim.broker.broker import Broker
from trueup.sim.market import structs
from trueup.sim.market.switches import DealTicketMeans, DownSend, ListAnswer, OptionOff, Switches
from trueup.sim.market.symbols import EURUSD, AccountSetup, SymbolSetup
from trueup.sim.terminal.terminal import SimulatedTerminal
from trueup.sim.terminal.terminal_faults import (
    Answered,
    AnswerLost,
    AnswersEmpty,
    DoneWithoutDeal,
    Fails,
    Partial,
    PlacedLater,
    TimedOut,
)

NOTHING, ALL, PART, LATER = "nothing", "all", "part", "later"
LOTS = 0.2


class Case(NamedTuple):
    """What befalls the terminal; what the reply has; what the broker has in the end."""

    befalls: Callable[[DeskWorld], object]
    status: str
    retcode: int | None
    says: str
    has: str


def switch(name: str, value: object) -> Callable[[DeskWorld], None]:
    return lambda world: setattr(world.terminal.switches, name, value)


def sends(fault: Any) -> Callable[[DeskWorld], None]:
    return lambda world: world.terminal.faults.next_send(fault)


def calls(function: str, fault: Any) -> Callable[[DeskWorld], None]:
    return lambda world: world.terminal.faults.next_call(function, fault)


def sets(name: str, value: object) -> Callable[[DeskWorld], None]:
    return lambda world: setattr(world.terminal, name, value)


def both(*parts: Callable[[DeskWorld], object]) -> Callable[[DeskWorld], None]:
    return lambda world: [part(world) for part in parts].clear()


def restart(world: DeskWorld) -> None:
    world.terminal.restart()
    assert world.terminal.initialize()


def takes_parts(world: DeskWorld) -> None:
    """Only immediate-or-cancel is allowed; by default the desk asks for all or nothing."""
    world.terminal.market.change("EURUSD", filling_mode=mt5.SYMBOL_FILLING_IOC)


CASES = {
    # The terminal cannot be reached: nothing can have left.
    "never initialised": Case(
        lambda world: world.terminal.shutdown(),
        *("REJECTED", None, "not sent: account_info failed: (-10004, 'No IPC", NOTHING),
    ),
    "pipe broken before the order": Case(
        lambda world: world.terminal.break_pipe(), "REJECTED", None, "not sent: ", NOTHING
    ),
    "terminal restarts, not yet synchronised": Case(
        restart,
        *("UNKNOWN", 10031, "no connection to the trade server", NOTHING),
    ),
    # It left and no answer came, or one that says nothing.
    "answer lost, executed": Case(
        sends(AnswerLost(executed=True)), "UNKNOWN", None, "-10002 IPC recv failed", ALL
    ),
    "answer lost, not executed": Case(
        sends(AnswerLost(executed=False)), "UNKNOWN", None, "-10002 IPC recv failed", NOTHING
    ),
    "pipe breaks in writing": Case(
        sends(AnswerLost(executed=False, code=-10001)), "UNKNOWN", None, "-10001", NOTHING
    ),
    "terminal fails at a stage not known": Case(
        sends(AnswerLost(executed=True, code=-1, pipe_breaks=False)),
        *("UNKNOWN", None, "-1 Terminal: Call failed", ALL),
    ),
    "server times out, filled late": Case(
        sends(TimedOut(fill_after_ms=900)), "UNKNOWN", 10012, "a late fill is possible", LATER
    ),
    "server times out, never filled": Case(sends(TimedOut()), "UNKNOWN", 10012, "", NOTHING),
    "processing error": Case(
        sends(Answered(10011, executed=True)), "UNKNOWN", 10011, "processing error", ALL
    ),
    "placed, filled later": Case(
        sends(PlacedLater(500)), "UNKNOWN", 10008, "placed, not yet executed", LATER
    ),
    "a code that nobody knows": Case(
        sends(Answered(19_999, executed=True)), "UNKNOWN", 19_999, "a code not known", ALL
    ),
    "no link to the trade server": Case(
        lambda world: world.terminal.disconnect(), "UNKNOWN", 10031, "no connection", NOTHING
    ),
    "no link, executed when it is back": Case(
        both(
            switch("disconnected_send", DownSend.EXECUTED_LATER),
            lambda world: world.terminal.disconnect(),
        ),
        *("UNKNOWN", 10031, "no connection", LATER),
    ),
    # Refused: by the terminal, then by the server.
    "algorithmic trading off": Case(
        sets("algo_trading", False), "REJECTED", 10027, "disabled in the terminal", NOTHING
    ),
    "trading through Python off": Case(
        sets("python_trading_disabled", True),
        *("REJECTED", None, "not sent: trading through Python is switched off (-8", NOTHING),
    ),
    "trading through Python off, as the book has it": Case(
        both(
            switch("python_option_off", OptionOff.RETCODE_10027),
            sets("python_trading_disabled", True),
        ),
        *("REJECTED", 10027, "disabled in the terminal", NOTHING),
    ),
    "read-only login": Case(
        sets("investor", True), "REJECTED", 10017, "trading is disabled", NOTHING
    ),
    "requote": Case(
        sends(Answered(10004)), "REJECTED", 10004, "the price is no longer valid", NOTHING
    ),
    "rejected by the dealer": Case(sends(Answered(10006)), "REJECTED", 10006, "", NOTHING),
    "no money": Case(sends(Answered(10019)), "REJECTED", 10019, "not enough money", NOTHING),
    "too many requests": Case(sends(Answered(10024)), "REJECTED", 10024, "", NOTHING),
    # The account is another.
    "another account is logged in": Case(
        lambda world: world.terminal.switch_account(OTHER.login),
        *("REJECTED", None, "not sent: the terminal is not authorised (-6", NOTHING),
    ),
    "the account cannot be looked at": Case(
        calls("account_info", Fails()),
        *("REJECTED", None, "not sent: account_info failed: (-1, 'Terminal: Call failed", NOTHING),
    ),
    # Done.
    "nothing befalls": Case(lambda _: None, "FILLED", 10009, "", ALL),
    "filled in part": Case(both(takes_parts, sends(Partial(0.1))), "FILLED", 10010, "", PART),
    "less in the market, all or nothing": Case(
        sends(Partial(0.1)), "REJECTED", 10006, "rejected by the server", NOTHING
    ),
    "done before its deal is known": Case(
        sends(DoneWithoutDeal()), "UNKNOWN", 10009, "its price is not known yet", ALL
    ),
}


class DeskAlone:
    """The desk on one account, and the broker's books."""

    def __init__(self, *specs: SymbolSetup, **switches: Any) -> None:
        self.world = DeskWorld(others=(OTHER,), specs=specs or (EURUSD,), **switches)
        terminal = OneAccount(self.world.terminal)
        assert terminal.initialize(login=self.world.terminal.home_login)
        self.desk = Desk(terminal, "boot", self.world.clock.now_ns)

    def ask(self, **fields: Any) -> dict[str, Any]:
        reply = json.loads(self.desk.handle(json.dumps(fields).encode()))
        assert isinstance(reply, dict)
        return reply

    def order(self, volume: float = LOTS, **fields: Any) -> dict[str, Any]:
        return self.ask(
            **{"action": "BUY", "order_id": "A", "symbol": "EURUSD", "volume": volume, **fields}
        )

    def lots(self) -> float:
        """What the broker has, whatever anybody says."""
        ledger = self.world.ledger
        return sum(ledger.lots(row.symbol, row.steps) for row in ledger.positions.values())


@pytest.mark.parametrize("name", CASES)
def test_an_order_is_told_what_is_known_about_its_effect(name: str) -> None:
    case, alone = CASES[name], DeskAlone()
    case.befalls(alone.world)
    reply = alone.order()
    assert reply["status"] == case.status, reply
    assert reply["retcode"] == case.retcode
    assert case.says in (reply["error"] or "")
    at_once = alone.lots()
    if case.has == LATER and not alone.world.terminal.is_connected:
        alone.world.terminal.reconnect()
    alone.world.wait(60)
    in_the_end = alone.lots()
    assert in_the_end == pytest.approx({NOTHING: 0.0, PART: LOTS / 2}.get(case.has, LOTS))
    assert (at_once == in_the_end) == (case.has != LATER)


def test_only_what_had_no_effect_is_called_rejected() -> None:
    """The rule behind the table."""
    assert {case.has for case in CASES.values() if case.status == "REJECTED"} == {NOTHING}
    assert {case.status for case in CASES.values() if case.has == LATER} == {"UNKNOWN"}


def test_a_partial_fill_tells_how_much() -> None:
    alone = DeskAlone()
    takes_parts(alone.world)
    alone.world.terminal.faults.next_send(Partial(0.1))
    assert alone.order()["filled_volume"] == pytest.approx(0.1)


# -- the symbol --------------------------------------------------------------------------------


def test_a_closed_market_refuses() -> None:
    alone = DeskAlone()
    alone.world.terminal.market.set_open("EURUSD", False)
    reply = alone.order()
    assert (reply["status"], reply["retcode"]) == ("REJECTED", 10018)


def test_a_symbol_that_is_not_selected_is_selected_and_traded() -> None:
    alone = DeskAlone(dataclasses.replace(EURUSD, selected=False))
    assert alone.world.terminal.symbol_info_tick("EURUSD").bid == 0.0  # type: ignore[union-attr]
    assert alone.order()["status"] == "FILLED"


def test_an_unknown_symbol_is_not_sent() -> None:
    reply = DeskAlone().order(symbol="NO.SUCH")
    assert reply["status"] == "REJECTED"
    assert reply["error"] == "not sent: the broker does not have the symbol NO.SUCH"


def test_a_symbol_without_quotes_is_not_sent() -> None:
    alone = DeskAlone()
    alone.world.terminal.market.clear_quote("EURUSD")
    reply = alone.order()
    assert reply["status"] == "REJECTED"
    assert reply["error"].startswith("not sent: no quotes for EURUSD")


@pytest.mark.parametrize(
    "execution",
    [
        mt5.SYMBOL_TRADE_EXECUTION_REQUEST,
        mt5.SYMBOL_TRADE_EXECUTION_INSTANT,
        mt5.SYMBOL_TRADE_EXECUTION_MARKET,
        mt5.SYMBOL_TRADE_EXECUTION_EXCHANGE,
    ],
)
@pytest.mark.parametrize("modes", [1, 2, 3])
def test_a_filling_mode_is_chosen_that_the_symbol_takes(execution: int, modes: int) -> None:
    alone = DeskAlone(dataclasses.replace(EURUSD, execution=execution, filling_mode=modes))
    # An exchange answers that the order is placed, whatever becomes of it.
    is_placed = execution == mt5.SYMBOL_TRADE_EXECUTION_EXCHANGE
    assert alone.order()["status"] == ("UNKNOWN" if is_placed else "FILLED")
    assert alone.lots() == pytest.approx(LOTS)


@pytest.mark.parametrize(
    ("volume", "retcode"), [(0.015, 10014), (0.001, 10014), (1e6, 10014), (0.1 + 0.2, 10009)]
)
def test_a_volume_that_is_no_multiple_of_the_step_is_refused_and_never_rounded(
    volume: float, retcode: int
) -> None:
    alone = DeskAlone()
    assert alone.order(volume)["retcode"] == retcode
    assert alone.lots() == pytest.approx(volume if retcode == 10009 else 0.0)


def test_a_requote_is_the_bots_to_answer() -> None:
    """The gateway never sends an order a second time."""
    alone = DeskAlone()
    alone.world.terminal.faults.next_send(Answered(10004))
    assert alone.order()["retcode"] == 10004
    assert alone.world.terminal.faults.pending == 0
    assert alone.lots() == 0.0


class EarlyAnswers:
    """A desk whose terminal answers with the number of a deal and no price, for our order.

    Somebody's was there before. Orders and deals are numbered apart, so that the number of our
    deal can be that of his order, or the number of our order that of his deal.
    """

    # The fields that are not known yet when the answer comes.
    unknown: ClassVar[dict[str, float]] = {"volume": 0.0, "price": 0.0}

    def __init__(self, means: DealTicketMeans, first_order: int, first_deal: int) -> None:
        self.broker = Broker(
            accounts=(AccountSetup(),),
            symbols=(EURUSD,),
            now_msc=lambda: 1_700_000_000_000,
            switches=Switches(deal_ticket_means=means),
            first_order=first_order,
            first_deal=first_deal,
        )
        self.terminal = SimulatedTerminal(broker=self.broker)
        assert self.terminal.initialize()
        self.terminal.quote("EURUSD", 1.1, 1.1001)
        self.terminal.person.open("EURUSD", BUY, 0.1)
        self.terminal.quote("EURUSD", 1.2, 1.2001)
        self._send = self.terminal.order_send
        self.terminal.order_send = self._early  # type: ignore[method-assign, assignment]
        self._desk = Desk(self.terminal, "boot", lambda: 1_700_000_000_000_000_000)

    def _early(self, request: dict[str, Any]) -> structs.OrderSendResult:
        result = self._send(request)
        assert result is not None
        fields = {**result._asdict(), **self.unknown}
        return structs.OrderSendResult(list(fields.values()))

    def order(self) -> dict[str, Any]:
        raw = b'{"action":"BUY","order_id":"A","symbol":"EURUSD","volume":0.2}'
        reply: dict[str, Any] = json.loads(self._desk.handle(raw))
        his, ours = self.terminal.ledger.order_history
        assert reply["ticket"] == ours
        *_, of_his, of_ours = self.terminal.ledger.deals
        assert his == of_ours or ours == of_his
        return reply


NUMBERS = pytest.mark.parametrize(
    ("means", "first_order", "first_deal"),
    [(DealTicketMeans.DEAL, 2, 2), (DealTicketMeans.ORDER, 3, 1)],
)


@NUMBERS
def test_a_price_that_comes_with_the_deal_is_that_of_the_same_deal(
    means: DealTicketMeans, first_order: int, first_deal: int
) -> None:
    reply = EarlyAnswers(means, first_order, first_deal).order()
    assert (reply["status"], reply["filled_price"]) == ("FILLED", pytest.approx(1.2001))
    assert reply["filled_volume"] == pytest.approx(LOTS)


@pytest.mark.parametrize("lacking", ["volume", "price"])
def test_an_answer_that_lacks_one_of_both_takes_both_from_the_deal(
    lacking: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(EarlyAnswers, "unknown", {lacking: 0.0})
    reply = EarlyAnswers(DealTicketMeans.DEAL, 2, 2).order()
    assert (reply["status"], reply["filled_price"]) == ("FILLED", pytest.approx(1.2001))
    assert reply["filled_volume"] == pytest.approx(LOTS)


@NUMBERS
def test_until_its_own_deal_is_there_an_order_without_a_price_is_unknown(
    means: DealTicketMeans, first_order: int, first_deal: int
) -> None:
    early = EarlyAnswers(means, first_order, first_deal)
    early.terminal.faults.next_deal_lags(60_000)
    reply = early.order()
    assert (reply["status"], reply["filled_price"]) == ("UNKNOWN", None)


# -- reading -----------------------------------------------------------------------------------

UNREADABLE: dict[str, tuple[Callable[[DeskWorld], object], str]] = {
    "never initialised": (lambda world: world.terminal.shutdown(), "-10004"),
    "lost pipe": (lambda world: world.terminal.break_pipe(), "-10002"),
    "a call that fails": (calls("positions_get", Fails(-1)), "-1, 'Terminal: Call failed'"),
    "a count that fails": (calls("positions_total", Fails(-1)), "the list has 1 of None"),
    "an empty list for a while": (calls("positions_get", AnswersEmpty()), "the list has 0 of 1"),
    "empty, and counted so": (
        both(
            calls("positions_get", AnswersEmpty()),
            calls("positions_total", AnswersEmpty()),
        ),
        "the list is empty and the account has 110.01 of margin",
    ),
    # At some exchanges a pending order has a margin too, so margin proves nothing beside one.
    "empty, and counted so, with a pending order": (
        both(
            lambda world: world.person.place("EURUSD", mt5.ORDER_TYPE_BUY_LIMIT, 0.1, 1.05),
            calls("positions_get", AnswersEmpty()),
            calls("positions_total", AnswersEmpty()),
        ),
        "the list is empty and the account has a floating result of -1.00",
    ),
    "no link": (lambda world: world.terminal.disconnect(), "no link to its trade server"),
    "no link, lists nothing": (
        both(
            switch("disconnected_list", ListAnswer.EMPTY),
            lambda world: world.terminal.disconnect(),
        ),
        "no link to its trade server",
    ),
    "another account": (
        lambda world: world.terminal.switch_account(OTHER.login),
        "account 5000002 is logged in, and this gateway serves 5000001 alone",
    ),
}


@pytest.mark.parametrize("name", UNREADABLE)
@pytest.mark.parametrize("action", ["GET_POSITIONS", "SNAPSHOT"])
def test_what_cannot_be_read_is_failed_and_never_empty(name: str, action: str) -> None:
    befalls, says = UNREADABLE[name]
    alone = DeskAlone()
    alone.world.person.open("EURUSD", 0, 0.1)
    befalls(alone.world)
    reply = alone.ask(action=action, session="s", id=1)
    if action == "SNAPSHOT" and reply["status"] == "SUCCESS":
        # It carries its evidence instead, and the bot does not believe it.
        seen = reply["terminal"]["connected"], len(reply["positions"])
        assert seen != (True, 0)
        return
    assert reply["status"] == "FAILED", reply
    if action == "GET_POSITIONS":
        assert says in reply["error"]
        causes = {"no link": "no link", "another account": "other account"}
        assert reply["cause"] == causes.get(name.partition(",")[0], "terminal")


def test_an_empty_account_is_empty() -> None:
    reply = DeskAlone().ask(action="GET_POSITIONS")
    assert (reply["status"], reply["positions"]) == ("SUCCESS", [])


def test_a_list_comes_back_with_its_terminal() -> None:
    alone = DeskAlone()
    alone.world.person.open("EURUSD", 0, 0.1)
    alone.world.terminal.switch_account(OTHER.login)
    assert alone.ask(action="GET_POSITIONS")["status"] == "FAILED"
    alone.world.terminal.switch_account(alone.world.terminal.home_login)
    alone.world.wait(60)
    assert len(alone.ask(action="GET_POSITIONS")["positions"]) == 1
