"""One id, one execution: requests that come again, changed, late, or never."""

from __future__ import annotations

import dataclasses
import json
import logging
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support.order_world import WrongClock
from tests.support.posix_limits import files_limited_to, posix_only
from trueup.core.gateway_record import RecordMark, RequestInDoubt, RequestState, RequestStatus
from trueup.core.policy import GRACE_SEC
from trueup.core.retcodes import LAST_ERRORS, RETCODES, Effect
from trueup.errors import OutcomeUnknown
from trueup.gateway.access.allow_file import Access
from trueup.gateway.desk.desk import Desk
from trueup.gateway.record.at_most_once import GatewayPoint
from trueup.gateway.record.store import Entry, RequestStore, StoreTrouble
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.protocol.orders import decode_outcome
from trueup.protocol.requests import Request, decode_request
from trueup.protocol.snapshot import CAPABILITIES, UNJOURNALLED, VERSION
from trueup.runtime.time.clock import ManualClock
from trueup.sim.market.switches import Switches
from trueup.sim.market.symbols import DEFAULT_SYMBOLS, EURUSD, AccountSetup, SymbolSetup
from trueup.sim.terminal.person import Person
from trueup.sim.terminal.terminal import SimulatedTerminal
from trueup.sim.terminal.terminal_faults import (
    Answered,
    AnswerLost,
    DoneWithoutDeal,
    Fails,
    Partial,
    PlacedLater,
    TimedOut,
)

BUY: dict[str, Any] = {
    "action": "BUY",
    "order_id": "A",
    "symbol": "EURUSD",
    "volume": 0.1,
    "price": 1.1,
}
HEDGING = AccountSetup()
NETTING = AccountSetup(margin_mode=mt5.ACCOUNT_MARGIN_MODE_RETAIL_NETTING)
OTHER = AccountSetup(login=5_000_002)
IOC_ONLY = dataclasses.replace(EURUSD, filling_mode=mt5.SYMBOL_FILLING_IOC)
# The grace period, half of it again for another look, and looks that come ever more rarely.
SETTLED_SEC = 2 * GRACE_SEC


class Killed(BaseException):
    """The gateway is no more."""


class Gateway:
    """A terminal that stays, and a desk that is killed and started again on one file, or none."""

    def __init__(
        self,
        path: Path | None = None,
        account: AccountSetup = HEDGING,
        *,
        specs: tuple[SymbolSetup, ...] = DEFAULT_SYMBOLS,
        **switches: Any,
    ) -> None:
        self.clock = ManualClock(1_700_000_000_000_000_000)
        self.terminal = SimulatedTerminal(
            account=account,
            other_accounts=(OTHER,),
            symbols=specs,
            now_msc=lambda: self.clock.now_ns() // 1_000_000,
            switches=Switches(**switches),
        )
        assert self.terminal.initialize()
        self.login = self.account.login
        self.terminal.quote("EURUSD", 1.1, 1.1001)
        self.path, self.boots = path, 0
        self.ahead_sec = 0
        """By how much the clock of the gateway's machine is wrong, as of its next start."""
        self.dies_at: GatewayPoint | None = None
        self.start()

    @property
    def account(self) -> Any:
        return self.terminal.account_info()

    def start(self) -> None:
        """Start the gateway; the one before it has let go of its file by dying."""
        if self.boots:
            self.store.close()
        self.boots += 1
        boot = f"boot{self.boots}"
        now_ns = WrongClock(self.clock, self.ahead_sec).now_ns
        self.store: RequestStore = RequestStore(self.path, boot, now_ns)
        self.desk = Desk(self.terminal, boot, now_ns, store=self.store, crash=self._pass)

    def _pass(self, point: GatewayPoint) -> None:
        if point is self.dies_at:
            self.dies_at = None
            raise Killed

    def ask(self, **request: Any) -> dict[str, Any]:
        reply: dict[str, Any] = json.loads(self.desk.handle(json.dumps(request).encode()))
        return reply

    def kill_at(self, point: GatewayPoint, **request: Any) -> None:
        """Kill the gateway while it carries a request out, and start it again."""
        self.dies_at = point
        with pytest.raises(Killed):
            self.ask(**request)
        self.start()

    def wait(self, seconds: float) -> None:
        """Let time pass, in a market in which quotations go on."""
        self.clock.advance(seconds)
        last = self.terminal.broker.market.quotes["EURUSD"]
        self.terminal.quote("EURUSD", last.bid, last.ask)
        self.terminal.settle()

    def tend(self, seconds: float, *, every_sec: float = 1) -> None:
        """Let time pass, with the gateway at its work."""
        for _ in range(round(seconds / every_sec)):
            self.wait(every_sec)
            self.desk.tend()

    def status(self, order_id: str = "A") -> RequestStatus:
        reply = self.ask(action="REQUEST_STATUS", order_id=order_id)
        assert reply["status"] == "SUCCESS", reply
        return msgspec.convert(reply["request"], RequestStatus)

    def doubts(
        self, *order_ids: str, since: RecordMark | None = None
    ) -> tuple[list[RequestStatus], RecordMark | None]:
        asked = msgspec.to_builtins([RequestInDoubt(name, since) for name in order_ids])
        reply = self.ask(action="SNAPSHOT", id=1, session="s", in_doubt=asked)
        assert reply["status"] == "SUCCESS", reply
        said = msgspec.convert(reply.get("requests", []), list[RequestStatus])
        return said, msgspec.convert(reply.get("record"), RecordMark | None)

    def executions(self) -> list[str]:
        """The comments of the orders that were executed or placed, from the broker's own ledger."""
        ledger = self.terminal.ledger
        orders = [*ledger.orders.values(), *ledger.order_history.values()]
        return [order.comment for order in orders if order.state != mt5.ORDER_STATE_REJECTED]


@pytest.fixture(params=["file", "memory"])
def gateway(request: pytest.FixtureRequest, tmp_path: Path) -> Gateway:
    return Gateway(tmp_path / "requests.db" if request.param == "file" else None)


@pytest.fixture
def kept(tmp_path: Path) -> Gateway:
    return Gateway(tmp_path / "requests.db")


# The same id again.


def test_the_same_request_again_gets_the_first_outcome_and_nothing_is_sent(
    gateway: Gateway,
) -> None:
    first = gateway.ask(**BUY)
    assert first["status"] == "FILLED"
    assert "repeated" not in first
    gateway.terminal.quote("EURUSD", 1.2, 1.2001)
    for _ in range(3):
        assert gateway.ask(**BUY) == {**first, "repeated": True}
    assert gateway.executions() == ["A"]


def test_the_same_request_in_other_bytes_is_the_same_request(gateway: Gateway) -> None:
    first = gateway.ask(**BUY, confidence=0.7)
    again = gateway.ask(**{**BUY, "volume": 0.10}, sl=0, uuid="u-2", confidence=0.9)
    assert again == {**first, "repeated": True, "uuid": "u-2"}


def test_a_repetition_after_a_restart_gets_the_first_outcome(kept: Gateway) -> None:
    first = kept.ask(**BUY)
    kept.start()
    assert kept.ask(**BUY) == {**first, "repeated": True}
    assert kept.executions() == ["A"]


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("volume", 0.2, "volume=0.1, and comes again with 0.2"),
        ("action", "SELL", "action='BUY', and comes again with 'SELL'"),
        ("sl", 1.05, "sl='none', and comes again with 1.05"),
        ("magic", 2**64 - 1, "magic='none', and comes again with 18446744073709551615"),
        ("position", 7, "position='none', and comes again with 7"),
        ("type", "limit", "type='none', and comes again with 'limit'"),
        ("price", 1.2, "price=1.1, and comes again with 1.2"),
    ],
)
def test_the_same_id_with_other_parameters_is_refused_and_says_what_differs(
    gateway: Gateway, name: str, value: object, said: str
) -> None:
    gateway.ask(**BUY)
    reply = gateway.ask(**{**BUY, name: value})
    assert reply["status"] == "REJECTED"
    assert reply["error"].startswith("not sent: order_id='A' was used before with ")
    assert said in reply["error"]
    assert gateway.executions() == ["A"]
    # The first is still what it was.
    assert gateway.status().status == "FILLED"


def test_a_refusal_is_an_outcome_and_is_not_tried_again(gateway: Gateway) -> None:
    gateway.terminal.faults.next_send(Answered(mt5.TRADE_RETCODE_REQUOTE))
    first = gateway.ask(**BUY)
    assert (first["status"], first["retcode"]) == ("REJECTED", mt5.TRADE_RETCODE_REQUOTE)
    assert gateway.ask(**BUY) == {**first, "repeated": True}
    assert gateway.executions() == []


def test_what_was_refused_before_it_was_sent_is_an_outcome_too(gateway: Gateway) -> None:
    """Somebody was told that it did not happen; a second copy must not make that untrue."""
    gateway.terminal.faults.next_call("symbol_info", Fails())
    first = gateway.ask(**BUY, stream="s", journal="j")
    assert first["status"] == "REJECTED"
    assert gateway.ask(**BUY) == {**first, "repeated": True}
    assert gateway.executions() == []
    # It is an order of its account, and of its book.
    status = gateway.status()
    assert (status.login, status.server) == (gateway.login, gateway.account.server)
    told = gateway.ask(action="SNAPSHOT", id=1, session="s", book={"stream": "s"})["sent"]
    assert [one["order_id"] for one in told["orders"]] == ["A"]


def test_an_id_is_one_request_whatever_the_account(gateway: Gateway) -> None:
    gateway.ask(**BUY)
    assert gateway.terminal.login(OTHER.login, OTHER.password, OTHER.server)
    gateway.terminal.quote("EURUSD", 1.1, 1.1001)
    reply = gateway.ask(**BUY)
    assert reply["status"] == "REJECTED"
    assert f"account {gateway.login}@" in reply["error"]
    assert f"logged in to {OTHER.login}@" in reply["error"]
    assert not gateway.terminal.broker.ledger(OTHER.login).positions
    assert gateway.status().login == gateway.login


def test_an_id_of_the_same_number_at_another_server_is_not_answered_from_there(
    gateway: Gateway,
) -> None:
    """Servers number their accounts by themselves: the number alone names none."""
    gateway.ask(**BUY)
    ledger = gateway.terminal.broker.ledger(gateway.login)
    ledger.setup = dataclasses.replace(ledger.setup, server="Elsewhere-Demo")
    reply = gateway.ask(**BUY)
    assert (reply["status"], reply["ticket"]) == ("REJECTED", None)
    assert f"logged in to {gateway.login}@Elsewhere-Demo now" in reply["error"]


def test_an_order_is_not_sent_when_the_account_cannot_be_read(gateway: Gateway) -> None:
    gateway.terminal.faults.next_call("account_info", Fails())
    reply = gateway.ask(**BUY)
    assert reply["status"] == "REJECTED"
    assert reply["error"].startswith("not sent: ")
    # Its sender was told so, and has gone on: a copy that comes now is refused too.
    assert gateway.ask(**BUY) == {**reply, "repeated": True}
    assert gateway.ask(**{**BUY, "order_id": "another"})["status"] == "FILLED"


def test_the_other_dialect_goes_the_same_way(gateway: Gateway) -> None:
    order = {"action": "OPEN", "uuid": "u-1", "symbol": "EURUSD", "type": "BUY", "volume": 0.1}
    first = gateway.ask(**order)
    assert first["status"] == "FILLED"
    again = gateway.ask(**order)
    assert (again["ticket"], again["status"]) == (first["ticket"], "FILLED")
    close = {"action": "CLOSE", "uuid": "u-2", "ticket": first["ticket"]}
    closed = gateway.ask(**close)
    assert closed["status"] == "FILLED"
    assert gateway.ask(**close)["ticket"] == closed["ticket"]
    assert len(gateway.terminal.ledger.order_history) == 2
    assert gateway.status("u-2").status == "FILLED"


@pytest.mark.parametrize("order_id", ["x" * 129, ""])
def test_an_id_that_nobody_can_keep_is_refused(gateway: Gateway, order_id: str) -> None:
    reply = gateway.ask(**{**BUY, "order_id": order_id})
    assert reply["status"] in ("REJECTED", "ERROR")
    assert "order_id" in reply["error"]
    assert gateway.executions() == []


# What the record says.


def test_the_status_of_a_request_is_what_became_of_it(gateway: Gateway) -> None:
    assert gateway.status("B").state is RequestState.NEVER_SEEN
    filled = gateway.ask(**BUY)
    assert gateway.status() == RequestStatus(
        "A",
        RequestState.SETTLED,
        gateway.login,
        gateway.account.server,
        "FILLED",
        filled["ticket"],
        0.1,
        filled["filled_price"],
        mt5.TRADE_RETCODE_DONE,
    )
    gateway.terminal.faults.next_send(TimedOut())
    gateway.ask(**{**BUY, "order_id": "C"})
    assert gateway.status("C").state is RequestState.UNKNOWN
    # Asking is not withdrawing.
    assert gateway.ask(**{**BUY, "order_id": "B"})["status"] == "FILLED"


def test_while_it_is_carried_out_it_is_prepared(gateway: Gateway) -> None:
    seen = []

    def look(function: str) -> None:
        seen.append((function, gateway.status().state))

    gateway._pass = lambda point: look(point.value)  # type: ignore[method-assign]
    gateway.start()
    gateway.ask(**BUY)
    assert seen == [
        ("before record", RequestState.NEVER_SEEN),
        ("after record", RequestState.PREPARED),
        ("after send", RequestState.PREPARED),
        ("after outcome", RequestState.SETTLED),
    ]


def test_what_never_came_is_withdrawn_when_its_sender_is_in_doubt(gateway: Gateway) -> None:
    gateway.ask(**{**BUY, "order_id": "B"})
    said, mark = gateway.doubts("A", "B")
    assert [one.state for one in said] == [RequestState.WITHDRAWN, RequestState.SETTLED]
    assert mark is not None
    assert mark.last == 2
    # It comes all the same, from the depth of some buffer.
    reply = gateway.ask(**BUY)
    assert reply["status"] == "REJECTED"
    assert reply["error"] == (
        "not sent: its sender asked about it before it arrived, so it was withdrawn"
    )
    assert gateway.executions() == ["B"]
    assert gateway.status().state is RequestState.WITHDRAWN


def test_a_withdrawal_outlives_the_gateway(kept: Gateway) -> None:
    kept.doubts("A")
    kept.start()
    assert kept.ask(**BUY)["status"] == "REJECTED"
    assert kept.executions() == []


def test_a_record_covers_what_came_since_a_mark_of_its_own_and_no_other(kept: Gateway) -> None:
    marks = []
    for number in range(3):
        _, mark = kept.doubts()
        assert mark is not None
        marks.append(mark)
        kept.ask(**{**BUY, "order_id": f"B{number}"})
        kept.wait(1)
    assert [mark.last for mark in marks] == [0, 1, 2]
    kept.start()
    assert all(kept.doubts("A", since=mark)[0][0].covered for mark in marks)
    # No mark, a number that was never given, another record's, and that of another time.
    strange = [
        None,
        RecordMark(marks[0].id, 99),
        RecordMark("other", 2, marks[2].came_ns),
        RecordMark(marks[0].id, 2, marks[1].came_ns),
    ]
    assert not any(kept.doubts("A", since=mark)[0][0].covered for mark in strange)


def test_a_record_that_was_deleted_covers_nothing(kept: Gateway) -> None:
    _, mark = kept.doubts()
    kept.store.close()
    assert kept.path is not None
    kept.path.unlink()
    kept.start()
    assert not kept.doubts("A", since=mark)[0][0].covered


# Killed in between.


@pytest.mark.parametrize("point", list(GatewayPoint))
def test_a_gateway_that_dies_at_any_point_sends_once_and_finds_out(
    kept: Gateway, point: GatewayPoint
) -> None:
    sent = point in (GatewayPoint.AFTER_SEND, GatewayPoint.AFTER_OUTCOME)
    kept.kill_at(point, **BUY)
    assert kept.executions() == ["A"] * sent
    if point is GatewayPoint.BEFORE_RECORD:
        assert kept.status().state is RequestState.NEVER_SEEN
        return
    # It says UNKNOWN until it knows.
    expected = RequestState.SETTLED if point is GatewayPoint.AFTER_OUTCOME else RequestState.UNKNOWN
    assert kept.status().state is expected
    if not sent:
        reply = kept.ask(**BUY)
        assert (reply["status"], reply["repeated"]) == ("UNKNOWN", True)
        kept.tend(GRACE_SEC - 2)
        assert kept.status().state is RequestState.UNKNOWN
    kept.tend(SETTLED_SEC)
    reply = kept.ask(**BUY)
    assert reply["status"] == ("FILLED" if sent else "REJECTED")
    assert kept.executions() == ["A"] * sent
    if sent:
        (ticket,) = kept.terminal.ledger.positions
        assert (reply["ticket"], reply["filled_volume"]) == (ticket, 0.1)


CHANGES: dict[str, dict[str, Any]] = {
    "limit": {"action": "BUY", "type": "limit", "price": 1.05, "volume": 0.1},
    "stop": {"action": "SELL", "type": "stop", "price": 1.05, "volume": 0.1},
    "stop_limit": {
        "action": "BUY",
        "type": "stop_limit",
        "price": 1.12,
        "stoplimit": 1.115,
        "volume": 0.1,
    },
    "close": {"action": "SELL", "volume": 0.1, "position": "opened"},
    "part": {"action": "SELL", "volume": 0.05, "position": "opened"},
    "modify": {"action": "MODIFY", "sl": 1.05, "tp": 1.2, "position": "opened"},
    "cancel": {"action": "CANCEL", "order": "placed"},
    "modify_order": {"action": "MODIFY_ORDER", "order": "placed", "price": 1.06},
    "close_by": {"action": "CLOSE_BY", "position": "opened", "position_by": "opposite"},
}


@pytest.mark.parametrize("kind", CHANGES)
@pytest.mark.parametrize("account", [HEDGING, NETTING], ids=["hedging", "netting"])
@pytest.mark.parametrize("is_sent", [True, False], ids=["sent", "not sent"])
def test_every_kind_of_order_is_settled_by_what_the_terminal_shows(
    tmp_path: Path, kind: str, account: AccountSetup, is_sent: bool
) -> None:
    kept = Gateway(tmp_path / "requests.db", account)
    opened = kept.ask(**{**BUY, "order_id": "first"})["ticket"]
    placed = kept.ask(**{**BUY, "order_id": "second"}, type="limit")["ticket"]
    tickets = {"opened": opened, "placed": placed}
    if kind == "close_by":
        if account is NETTING:
            pytest.skip("a netting account has no two positions in a symbol")
        sold = kept.ask(**{**BUY, "action": "SELL", "order_id": "third"})
        tickets["opposite"] = sold["ticket"]
    order = {k: tickets.get(v, v) for k, v in CHANGES[kind].items()}
    order |= {"order_id": "A", "symbol": "EURUSD"}
    kept.kill_at(GatewayPoint.AFTER_SEND if is_sent else GatewayPoint.AFTER_RECORD, **order)
    kept.tend(SETTLED_SEC)
    reply = kept.ask(**order)
    done = dict.fromkeys(("limit", "stop", "stop_limit"), "PLACED")
    done |= dict.fromkeys(("modify", "cancel", "modify_order"), "DONE")
    assert reply["status"] == (done.get(kind, "FILLED") if is_sent else "REJECTED")
    assert reply["repeated"]


def test_a_terminal_that_cannot_be_believed_settles_nothing(kept: Gateway) -> None:
    """Absence in a history that cannot be read, or at a terminal without a server, is none."""
    kept.kill_at(GatewayPoint.AFTER_RECORD, **BUY)
    kept.terminal.faults.next_call("history_orders_get", *[Fails()] * 20)
    kept.tend(20)
    assert kept.status().state is RequestState.UNKNOWN
    kept.terminal.faults.clear()
    kept.terminal.disconnect()
    kept.tend(2 * SETTLED_SEC)
    assert kept.status().state is RequestState.UNKNOWN
    kept.terminal.reconnect()
    kept.tend(2 * SETTLED_SEC)
    assert kept.status().status == "REJECTED"


def test_a_terminal_that_heard_nothing_since_settles_nothing(tmp_path: Path) -> None:
    """Its link is dead, and it does not know yet: what it shows is of before."""
    kept = Gateway(tmp_path / "requests.db", connected_flag_lag_ms=600_000)
    kept.terminal.faults.next_send(TimedOut(fill_after_ms=500))
    assert kept.ask(**BUY)["status"] == "UNKNOWN"
    kept.terminal.disconnect()
    kept.tend(3 * SETTLED_SEC)
    assert kept.status().state is RequestState.UNKNOWN
    kept.terminal.reconnect()
    kept.tend(3 * SETTLED_SEC)
    assert kept.status().status == "FILLED"


def test_a_change_that_a_terminal_did_not_hear_of_is_not_called_undone(tmp_path: Path) -> None:
    kept = Gateway(tmp_path / "requests.db", connected_flag_lag_ms=600_000)
    ticket = kept.ask(**{**BUY, "order_id": "first"})["ticket"]
    kept.terminal.faults.next_send(TimedOut(fill_after_ms=500))
    change = {"action": "MODIFY", "order_id": "A", "position": ticket, "sl": 1.05, "tp": 0.0}
    assert kept.ask(**change, symbol="EURUSD")["status"] == "UNKNOWN"
    kept.terminal.disconnect()
    kept.tend(3 * SETTLED_SEC)
    assert kept.terminal.ledger.positions[ticket].sl == 1.05
    assert kept.status().state is RequestState.UNKNOWN
    kept.terminal.reconnect()
    kept.tend(3 * SETTLED_SEC)
    assert kept.status().status == "DONE"


def test_a_close_by_a_ticket_that_a_reversal_gave_is_found(tmp_path: Path) -> None:
    """Seed 6015865: the position ended, and nothing but its history knew it by that ticket."""
    kept = Gateway(tmp_path / "requests.db", NETTING, comment_replaced_by="")
    first = kept.ask(**{**BUY, "order_id": "first"})["ticket"]
    turned = kept.ask(**{**BUY, "action": "SELL", "volume": 0.2, "order_id": "second"})["ticket"]
    (held,) = kept.terminal.positions_get() or ()
    assert (held.ticket, held.identifier) == (turned, first)
    kept.kill_at(GatewayPoint.AFTER_SEND, **BUY, position=turned)
    assert kept.terminal.positions_get() == ()
    kept.tend(3 * SETTLED_SEC)
    assert kept.status().status == "FILLED"


@pytest.mark.parametrize(
    ("ahead_sec", "status"), [(95, "FILLED"), (-3 * 3_600, "FILLED"), (3 * 3_600, "UNKNOWN")]
)
def test_a_request_that_came_while_the_clock_was_wrong_is_not_called_absent(
    tmp_path: Path, ahead_sec: int, status: str
) -> None:
    """By that clock its order is older than the request, and further back than what is read.

    Three hours ahead, the neighbour that shows what the broker does to comments is too far away.
    """
    kept = Gateway(tmp_path / "requests.db", comment_replaced_by="")
    kept.ask(**{**BUY, "order_id": "shows what the broker does to comments"})
    kept.terminal.faults.next_send(AnswerLost(executed=True, pipe_breaks=False))
    kept.ahead_sec = ahead_sec
    kept.start()
    assert kept.ask(**BUY)["status"] == "UNKNOWN"
    kept.ahead_sec = 0
    kept.start()
    kept.tend(max(0, ahead_sec), every_sec=5)
    kept.tend(3 * SETTLED_SEC)
    assert kept.status().status == status


def test_on_another_account_nothing_is_settled(kept: Gateway) -> None:
    kept.kill_at(GatewayPoint.AFTER_RECORD, **BUY)
    assert kept.terminal.login(OTHER.login, OTHER.password, OTHER.server)
    kept.tend(2 * SETTLED_SEC)
    assert kept.status().state is RequestState.UNKNOWN


def test_the_grace_period_runs_in_the_process_that_looks(kept: Gateway) -> None:
    """The machine was off for an hour: the terminal has only begun to load its past."""
    kept.kill_at(GatewayPoint.AFTER_RECORD, **BUY)
    kept.wait(3_600)
    kept.tend(GRACE_SEC - 1)
    assert kept.status().state is RequestState.UNKNOWN
    kept.tend(SETTLED_SEC)
    assert kept.status().status == "REJECTED"


@pytest.mark.parametrize("what", ["nothing", "no history"])
def test_after_a_terminal_that_could_not_be_read_the_grace_period_begins_anew(
    kept: Gateway, what: str
) -> None:
    kept.kill_at(GatewayPoint.AFTER_RECORD, **BUY)
    kept.tend(GRACE_SEC - 1)
    if what == "nothing":
        kept.terminal.disconnect()
    else:
        kept.terminal.faults.next_call("history_orders_get", *[Fails()] * 10)
    # By now a look comes every six seconds.
    kept.tend(7)
    kept.terminal.reconnect()
    kept.terminal.faults.clear()
    kept.tend(GRACE_SEC - 1)
    assert kept.status().state is RequestState.UNKNOWN
    # The last look before it is no part of the two looks that prove an absence.
    kept.tend(4)
    assert kept.status().state is RequestState.UNKNOWN
    kept.tend(SETTLED_SEC)
    assert kept.status().status == "REJECTED"


def test_after_another_account_the_grace_period_begins_anew(kept: Gateway) -> None:
    kept.kill_at(GatewayPoint.AFTER_RECORD, **BUY)
    kept.tend(GRACE_SEC - 1)
    for account in (OTHER, HEDGING):
        assert kept.terminal.login(account.login, account.password, account.server)
        kept.terminal.quote("EURUSD", 1.1, 1.1001)
        kept.tend(GRACE_SEC - 1)
        assert kept.status().state is RequestState.UNKNOWN
    kept.tend(SETTLED_SEC)
    assert kept.status().status == "REJECTED"


def test_the_grace_period_begins_when_a_slow_order_has_its_answer(
    kept: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer "timed out" (10012) took long itself, and the broker fills the order after it."""
    kept.kill_at(GatewayPoint.AFTER_RECORD, **BUY)
    kept.tend(2 * SETTLED_SEC)
    assert kept.status().status == "REJECTED"
    send = kept.terminal.order_send

    def slow(message: dict[str, Any]) -> Any:
        kept.wait(2 * GRACE_SEC)
        return send(message)

    monkeypatch.setattr(kept.terminal, "order_send", slow)
    kept.terminal.faults.next_send(TimedOut(fill_after_ms=(GRACE_SEC - 2) * 1_000))
    assert kept.ask(**{**BUY, "order_id": "B"})["status"] == "UNKNOWN"
    kept.tend(GRACE_SEC - 3)
    assert kept.status("B").state is RequestState.UNKNOWN
    kept.tend(3)
    assert kept.status("B").status == "FILLED"


@pytest.mark.parametrize("kind", [TypeError, ValueError, OverflowError, SystemError])
@pytest.mark.parametrize(
    ("function", "status"), [("symbol_info", "REJECTED"), ("order_send", "UNKNOWN")]
)
def test_a_module_that_raises_ends_nothing_and_what_was_sent_stays_open(
    gateway: Gateway,
    monkeypatch: pytest.MonkeyPatch,
    function: str,
    status: str,
    kind: type[Exception],
    caplog: pytest.LogCaptureFixture,
) -> None:
    def breaks(*args: Any, **named: Any) -> None:
        raise kind("a value that it does not take")

    with monkeypatch.context() as broken:
        broken.setattr(gateway.terminal, function, breaks)
        reply = gateway.ask(**BUY)
    assert reply["status"] == status
    assert "a value that it does not take" in reply["error"]
    # What was sent is no failure of the request: the record finds out about it.
    assert caplog.messages == ["[DESK] BUY failed"] * (function == "symbol_info")
    assert gateway.ask(action="GET_POSITIONS")["status"] == "SUCCESS"
    assert gateway.executions() == []


def test_what_stays_open_is_looked_for_ever_more_rarely_and_at_once_when_asked(
    kept: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept.kill_at(GatewayPoint.AFTER_RECORD, **BUY)
    looks: list[int] = []
    read = kept.terminal.history_orders_get

    def noted(*dates: Any, **named: Any) -> Any:
        looks.append(kept.clock.now_ns())
        return read(*dates, **named)

    monkeypatch.setattr(kept.terminal, "history_orders_get", noted)
    assert kept.terminal.login(OTHER.login, OTHER.password, OTHER.server)
    kept.terminal.quote("EURUSD", 1.1, 1.1001)
    kept.tend(20)
    assert len(looks) >= 15
    looks.clear()
    for _ in range(72):
        kept.wait(600)
        kept.desk.tend()
    assert 60 < len(looks) <= 72
    kept.tend(300)
    assert len(looks) <= 74
    kept.doubts("A")
    kept.wait(1)
    looks.clear()
    kept.doubts("A")
    assert len(looks) == 1


@pytest.mark.parametrize("comment", ["", "mine", "ORD_1"])
def test_an_order_that_looks_the_same_and_is_older_is_not_it(kept: Gateway, comment: str) -> None:
    robot = Person(kept.terminal.broker, kept.login, mt5.ORDER_REASON_EXPERT, magic=7)
    robot.open("EURUSD", mt5.ORDER_TYPE_BUY, 0.1, comment=comment)
    robot.place("EURUSD", mt5.ORDER_TYPE_BUY_LIMIT, 0.1, 1.05)
    kept.wait(5)
    kept.terminal.quote("EURUSD", 1.1, 1.1001)
    order = {**BUY, "order_id": "ORD_10", "comment": comment, "magic": 7}
    kept.kill_at(GatewayPoint.AFTER_RECORD, **order)
    pending = {**order, "order_id": "ORD_11", "type": "limit", "price": 1.05}
    kept.kill_at(GatewayPoint.AFTER_RECORD, **pending)
    kept.tend(2 * SETTLED_SEC)
    assert kept.status("ORD_10").status == "REJECTED"
    assert kept.status("ORD_11").status == "REJECTED"


@pytest.mark.parametrize("replaced", [None, ""], ids=["kept", "emptied"])
def test_two_that_look_the_same_are_never_taken_for_each_other(
    tmp_path: Path, replaced: str | None
) -> None:
    """The same wish under two ids, one sent and one not, with a comment that both have."""
    gateway = Gateway(tmp_path / "requests.db", comment_replaced_by=replaced)
    sent = {**BUY, "order_id": "B", "comment": "both", "magic": 7}
    gateway.kill_at(GatewayPoint.AFTER_SEND, **sent)
    gateway.kill_at(GatewayPoint.AFTER_RECORD, **{**sent, "order_id": "A"})
    gateway.tend(2 * SETTLED_SEC)
    found = {gateway.status(name).status for name in "AB"}
    # Nobody can say which of the two it was.
    assert found == {""}
    assert gateway.status("A").state is RequestState.UNKNOWN


def test_one_is_found_without_any_comment_where_only_one_fits(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path / "requests.db", comment_replaced_by="")
    known = gateway.ask(**{**BUY, "order_id": "B", "magic": 7})
    gateway.kill_at(GatewayPoint.AFTER_SEND, **BUY, magic=7)
    gateway.tend(SETTLED_SEC)
    found = gateway.status()
    assert found.status == "FILLED"
    assert found.ticket != known["ticket"]


@pytest.mark.parametrize("kind", ["limit", "stop", "stop_limit"])
def test_a_pending_order_is_found_without_its_comment_by_all_of_its_prices(
    tmp_path: Path, kind: str
) -> None:
    gateway = Gateway(tmp_path / "requests.db", comment_replaced_by="")
    gateway.ask(**{**BUY, "order_id": "shows what the broker does to comments"})
    placed = {"order_id": "A", "symbol": "EURUSD", **CHANGES[kind]}
    gateway.kill_at(GatewayPoint.AFTER_SEND, **placed)
    gateway.tend(SETTLED_SEC)
    (order,) = gateway.terminal.orders_get() or ()
    assert (gateway.status().status, gateway.status().ticket) == ("PLACED", order.ticket)


# Answers that leave it open.

OPEN: dict[str, tuple[Any, str]] = {
    "10012, then filled": (TimedOut(fill_after_ms=4_000), "FILLED"),
    "10012, never": (TimedOut(), "REJECTED"),
    "10008, then filled": (PlacedLater(4_000), "FILLED"),
    "10008, then cancelled": (PlacedLater(4_000, fill=False), "REJECTED"),
    "10009 without figures": (DoneWithoutDeal(), "FILLED"),
    "10031, done": (Answered(mt5.TRADE_RETCODE_CONNECTION, executed=True), "FILLED"),
    "10031, not done": (Answered(mt5.TRADE_RETCODE_CONNECTION), "REJECTED"),
    "answer lost, done": (AnswerLost(executed=True, pipe_breaks=False), "FILLED"),
    "answer lost, not done": (AnswerLost(executed=False, pipe_breaks=False), "REJECTED"),
}


@pytest.mark.parametrize("outcome", OPEN)
def test_an_answer_that_leaves_it_open_is_unknown_until_the_terminal_shows(
    gateway: Gateway, outcome: str, caplog: pytest.LogCaptureFixture
) -> None:
    fault, becomes = OPEN[outcome]
    gateway.terminal.faults.next_send(fault)
    reply = gateway.ask(**BUY)
    if outcome != "10009 without figures":
        assert reply["status"] == "UNKNOWN"
        assert gateway.status().state is RequestState.UNKNOWN
    gateway.tend(2 * SETTLED_SEC)
    found = gateway.status()
    assert (found.state, found.status) == (RequestState.SETTLED, becomes)
    if outcome != "10009 without figures":
        words = found.error or f"ticket {found.ticket}"
        assert f"[RECORD] Order A: {becomes}, {words}" in caplog.messages
        assert bool(found.error) == (becomes == "REJECTED")
    assert gateway.ask(**BUY)["status"] == becomes
    executed = gateway.terminal.ledger.positions.values()
    assert len(executed) == (becomes == "FILLED")


@pytest.mark.parametrize("retcode", [*RETCODES, 12345])
def test_every_return_code_is_kept_as_what_it_says_of_the_effect(retcode: int) -> None:
    gateway = Gateway()
    gateway.terminal.faults.next_send(Answered(retcode))
    reply = gateway.ask(**BUY)
    effect = RETCODES[retcode].effect if retcode in RETCODES else Effect.UNKNOWN
    # Done without deal, volume and price is known to be done, and not yet what was.
    is_open = effect in (Effect.UNKNOWN, Effect.PLACED, Effect.DONE, Effect.DONE_PART)
    assert reply["status"] == ("UNKNOWN" if is_open else "REJECTED")
    assert reply["retcode"] == retcode
    assert reply["error"]
    state = RequestState.UNKNOWN if is_open else RequestState.SETTLED
    assert (gateway.status().state, gateway.status().retcode) == (state, retcode)
    assert gateway.ask(**BUY) == {**reply, "repeated": True}


@pytest.mark.parametrize("code", [*LAST_ERRORS, 1])
def test_every_last_error_is_kept_as_what_it_says_of_the_effect(code: int) -> None:
    gateway = Gateway()
    gateway.terminal.faults.next_send(AnswerLost(executed=False, code=code, pipe_breaks=False))
    reply = gateway.ask(**BUY)
    is_refused = code in LAST_ERRORS and LAST_ERRORS[code].effect is Effect.REFUSED
    assert reply["status"] == ("REJECTED" if is_refused else "UNKNOWN")
    state = RequestState.SETTLED if is_refused else RequestState.UNKNOWN
    assert gateway.status().state is state


@pytest.mark.parametrize("end", ["filled", "canceled"])
def test_an_order_whose_rest_works_is_settled_when_the_rest_is_over(
    end: str, tmp_path: Path
) -> None:
    """With RETURN filling the rest of an order that is filled in part works on."""
    listed = dataclasses.replace(EURUSD, execution=mt5.SYMBOL_TRADE_EXECUTION_EXCHANGE)
    path = tmp_path / "requests.db"
    gateway = Gateway(path, specs=(listed,), exchange_answers_placed=False)
    gateway.terminal.broker.supply("EURUSD", 0.04)
    reply = gateway.ask(**BUY)
    part = (reply["status"], reply["filled_volume"], reply["rest_works"])
    assert part == ("FILLED", 0.04, True)
    gateway.tend(2 * SETTLED_SEC)
    assert gateway.ask(**BUY) == {**reply, "repeated": True}
    # Lots and price of a part are not those of the order.
    known = gateway.status()
    assert (known.state, known.status) == (RequestState.UNKNOWN, "UNKNOWN")
    assert (known.ticket, known.volume, known.price) == (reply["ticket"], 0.0, None)
    if end == "filled":
        gateway.terminal.quote("EURUSD", 1.2, 1.2001)
        gateway.terminal.broker.supply("EURUSD", None)
    else:
        Person(gateway.terminal.broker, gateway.terminal.home_login).cancel(reply["ticket"])
    gateway.tend(2 * SETTLED_SEC)
    known = gateway.status()
    assert (known.state, known.status) == (RequestState.SETTLED, "FILLED")
    lots = 0.1 if end == "filled" else 0.04
    assert (known.ticket, known.volume) == (reply["ticket"], lots)
    deals = gateway.terminal.ledger.deals_of(reply["ticket"])
    worth = sum(deal.price * deal.steps for deal in deals)
    assert known.price == pytest.approx(worth / sum(deal.steps for deal in deals), abs=1e-8)
    again = gateway.ask(**BUY)
    assert (again["filled_volume"], "rest_works" in again) == (lots, False)


def test_a_partial_fill_says_how_much() -> None:
    gateway = Gateway(None, specs=(IOC_ONLY,))
    gateway.terminal.faults.next_send(Partial(0.04))
    reply = gateway.ask(**BUY)
    assert (reply["status"], reply["filled_volume"]) == ("FILLED", 0.04)
    assert gateway.status().volume == 0.04


# A store that cannot be written.


@posix_only
def test_when_the_disk_is_full_no_order_is_sent_and_reading_goes_on(kept: Gateway) -> None:
    kept.ask(**{**BUY, "order_id": "first"})
    with files_limited_to(40 * 1024):
        numbers = iter(range(10_000))
        while True:
            name = f"B{next(numbers)}"
            reply = kept.ask(**{**BUY, "order_id": name})
            if reply["status"] != "FILLED":
                break
        assert reply["status"] == "REJECTED"
        assert reply["error"].startswith("not sent: the gateway cannot record it: ")
        assert "the disk failed" in reply["error"]
        assert name not in kept.executions()
        assert kept.ask(action="GET_POSITIONS")["status"] == "SUCCESS"
        assert kept.status("first").status == "FILLED"
        # What is known is answered all the same.
        assert kept.ask(**{**BUY, "order_id": "first"})["status"] == "FILLED"
    assert kept.ask(**{**BUY, "order_id": "another"})["status"] == "FILLED"
    # What was refused meanwhile stays refused, whoever is asked: by now it is on the disk.
    assert kept.ask(**{**BUY, "order_id": name}) == {**reply, "repeated": True}
    assert kept.status(name).status == "REJECTED"
    assert name not in kept.executions()


class FullDisk:
    """A store that takes no outcomes, and no requests, for as long as it is full."""

    def __init__(self, store: RequestStore, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_full = self.takes_requests = True
        self._end, self._add = store.end, store.add
        monkeypatch.setattr(store, "end", self.end)
        monkeypatch.setattr(store, "add", self.add)

    def end(self, order_id: str, state: str, reply: bytes) -> None:
        if self.is_full:
            raise StoreTrouble("requests.db: the disk is full.")
        self._end(order_id, state, reply)

    def add(self, entry: Entry) -> bool:
        if self.is_full and not self.takes_requests:
            raise StoreTrouble("requests.db: the disk is full.")
        return self._add(entry)


def test_an_outcome_that_the_disk_did_not_take_is_known_all_the_same(
    kept: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = FullDisk(kept.store, monkeypatch)
    first = kept.ask(**BUY)
    assert first["status"] == "FILLED"
    disk.takes_requests = False
    # The first came through, so it is no lie to say so; a new one is not sent.
    assert kept.ask(**BUY) == {**first, "repeated": True}
    assert kept.ask(**{**BUY, "volume": 0.2})["status"] == "REJECTED"
    assert (kept.status().state, kept.status().status) == (RequestState.SETTLED, "FILLED")
    other = kept.ask(**{**BUY, "order_id": "B"})
    assert other["error"].startswith("not sent: the gateway cannot record it: ")
    said, _ = kept.doubts("A")
    assert [one.status for one in said] == ["FILLED"]
    # What could not be withdrawn is not said to be.
    assert kept.doubts("C")[0] == []
    monkeypatch.setattr(kept.store, "find", unreadable)
    assert kept.ask(**BUY) == {**first, "repeated": True}
    monkeypatch.undo()
    assert kept.ask(**{**BUY, "order_id": "B"}) == {**other, "repeated": True}
    assert kept.ask(**{**BUY, "order_id": "D"})["status"] == "FILLED"
    kept.start()
    assert kept.ask(**BUY) == {**first, "repeated": True}
    assert kept.executions() == ["A", "D"]


@pytest.mark.parametrize("asked", ["with_key", "fence", "claims"])
def test_an_order_whose_right_to_be_sent_cannot_be_read_is_refused_for_good(
    kept: Gateway, monkeypatch: pytest.MonkeyPatch, asked: str
) -> None:
    named = {**BUY, "stream": "s", "journal": "j", "key": "k", "token": 5, "claim": "c"}

    def unread(*_: object) -> None:
        raise StoreTrouble("requests.db: the disk failed.")

    with monkeypatch.context() as disk:
        disk.setattr(kept.store, asked, unread)
        refused = kept.ask(**named)
    assert (refused["status"], refused["error"]) == (
        "REJECTED",
        "not sent: the gateway cannot record it: requests.db: the disk failed.",
    )
    assert kept.ask(**named) == {**refused, "repeated": True}
    assert kept.executions() == []


def test_a_refusal_that_the_disk_did_not_take_outlives_further_tries_to_write_it(
    kept: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    FullDisk(kept.store, monkeypatch).takes_requests = False
    refused = kept.ask(**BUY)
    assert refused["error"].startswith("not sent: the gateway cannot record it: ")
    kept.tend(3)
    monkeypatch.undo()
    assert kept.ask(**BUY) == {**refused, "repeated": True}
    assert kept.executions() == []


def test_a_repetition_is_logged_and_told_that_the_outcome_is_not_known_yet(
    kept: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    kept.kill_at(GatewayPoint.AFTER_RECORD, **BUY)
    with caplog.at_level(logging.WARNING, logger="trueup.record"):
        reply = kept.ask(**BUY)
    assert (reply["order_id"], reply["status"], reply["repeated"]) == ("A", "UNKNOWN", True)
    error = "the gateway ended while it was sent, and its outcome is not known yet"
    assert reply["error"] == error
    assert "[RECORD] Order A came again; it is answered from the record" in caplog.messages


def test_a_copy_that_comes_while_the_first_is_carried_out_is_told_so(kept: Gateway) -> None:
    said: list[dict[str, Any]] = []

    def ask_again(point: GatewayPoint) -> None:
        if point is GatewayPoint.AFTER_RECORD and not said:
            said.append(kept.ask(**BUY))

    kept.desk._record._crash = ask_again
    assert kept.ask(**BUY)["status"] == "FILLED"
    (reply,) = said
    assert (reply["order_id"], reply["status"], reply["repeated"], reply["error"]) == (
        "A",
        "UNKNOWN",
        True,
        "it came before, and is being carried out",
    )
    assert kept.executions() == ["A"]


def test_an_id_that_came_between_two_looks_is_answered_from_the_record(
    kept: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, find, looks = kept.ask(**BUY), kept.store.find, list[str]()

    def late(order_id: str) -> Entry | None:
        looks.append(order_id)
        return find(order_id) if len(looks) > 1 else None

    monkeypatch.setattr(kept.store, "find", late)
    assert kept.ask(**BUY) == {**first, "repeated": True}
    assert kept.executions() == ["A"]


def test_who_may_not_see_an_account_learns_nothing_of_its_orders(kept: Gateway) -> None:
    kept.ask(**BUY)
    request = decode_request(json.dumps(BUY).encode())
    reply = kept.desk._record.once(
        request,
        "not known",
        lambda: pytest.fail("is not made"),
        lambda _: pytest.fail("is not sent"),
        lambda _: False,
    )
    assert (reply.status, reply.ticket) == ("REJECTED", None)
    assert reply.error == (
        "not sent: order_id='A' was used before, on an account that this key is not for"
    )


def test_a_row_whose_order_is_damaged_is_named_and_no_list_is_given(
    kept: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    """A list without it would let the book take its key for a new one."""
    kept.ask(**BUY, stream="s", journal="j")
    assert kept.path is not None
    kept.store.close()
    with closing(sqlite3.connect(kept.path)) as record:
        record.execute("""UPDATE requests SET parameters = '{"volume": "much"}'""")
        record.commit()
    kept.start()
    for number in (1, 2):
        reply = kept.ask(action="SNAPSHOT", id=number, session="s", book={"stream": "s"})
        assert (reply["status"], reply.get("sent")) == ("SUCCESS", None)
    (line,) = [text for text in caplog.messages if "damaged" in text]
    assert line == (
        "[RECORD] the record of request 'A' is damaged (Expected `float`, got `str` - at "
        "`$.volume`)"
    )


def test_an_outcome_that_cannot_be_written_is_told_and_so_is_its_loss_at_the_end(
    kept: Gateway, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    FullDisk(kept.store, monkeypatch)
    assert kept.ask(**BUY)["status"] == "FILLED"
    # A trouble that goes on is told once.
    kept.tend(3)
    full = "requests.db: the disk is full."
    assert [text for text in caplog.messages if "full" in text] == [
        f"[RECORD] The outcome of A is kept in memory: {full}",
        f"[RECORD] {full}",
    ]
    caplog.clear()
    kept.desk.close()
    assert caplog.messages == [f"[RECORD] {full}"]


def test_each_step_of_an_order_is_in_the_log_with_its_facts(
    gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, "trueup.desk"):
        filled = gateway.ask(**BUY, magic=7)
        gateway.ask(**BUY, magic=7)
    order = {"order_id": "A", "action": "BUY", "symbol": "EURUSD", "volume": 0.1, "magic": 7}
    outcome = {
        **{name: filled[name] for name in ("ticket", "deal", "filled_price", "retcode")},
        "error": None,
    }
    steps = [
        ("[DESK] Order A: came", {"event": "gateway.order", **order}),
        (
            "[DESK] Order A: FILLED",
            {"event": "gateway.outcome", **order, **outcome, "repeated": None},
        ),
        ("[DESK] Order A: came", {"event": "gateway.order", **order}),
        (
            "[DESK] Order A: FILLED",
            {"event": "gateway.outcome", **order, **outcome, "repeated": True},
        ),
    ]
    told = [one for one in caplog.records if one.name == "trueup.desk"]
    assert [one.getMessage() for one in told] == [words for words, _ in steps]
    for one, (_, facts) in zip(told, steps, strict=True):
        assert {name: one.__dict__.get(name, "is missing") for name in facts} == facts
    assert "ticket" not in told[0].__dict__


def test_the_gateway_says_who_it_is_and_what_the_asking_key_may(gateway: Gateway) -> None:
    durable = [UNJOURNALLED] if gateway.path else []
    said = gateway.ask(action="HELLO", uuid="u")
    assert said == {
        "status": "SUCCESS",
        "server": "trueup",
        "version": VERSION,
        "capabilities": [*CAPABILITIES, *durable],
        "epoch": "boot1",
        "role": "trade",
        "accounts": None,
        "uuid": "u",
    }
    request = gateway.desk.read(b'{"action": "HELLO"}')
    assert isinstance(request, Request)
    reader = Access("screen", "", may_trade=False, accounts=frozenset({9, 7}))
    reply = json.loads(gateway.desk.answer(request, access=reader))
    assert (reply["role"], reply["accounts"]) == ("read", [7, 9])


def test_a_quotation_and_a_missing_one_are_told_whole(gateway: Gateway) -> None:
    assert gateway.ask(action="TICK", symbol="EURUSD", uuid=1) == {
        "status": "SUCCESS",
        "symbol": "EURUSD",
        "bid": 1.1,
        "ask": 1.1001,
        "time_msc": 1_700_007_200_000,
        "error": None,
        "uuid": 1,
    }
    assert gateway.ask(action="TICK", symbol="NOPE") == {
        "status": "FAILED",
        "symbol": "NOPE",
        "bid": None,
        "ask": None,
        "time_msc": None,
        "error": "no quotes for NOPE: (-4, 'Terminal: Not found')",
    }


@pytest.mark.parametrize(
    ("action", "kind", "price", "stoplimit"),
    [
        ("BUY", "limit", 1.05, 0.0),
        ("SELL", "limit", 1.15, 0.0),
        ("BUY", "stop", 1.15, 0.0),
        ("SELL", "stop", 1.05, 0.0),
        ("BUY", "stop_limit", 1.12, 1.115),
        ("SELL", "stop_limit", 1.08, 1.085),
    ],
)
def test_each_kind_of_pending_order_is_placed_as_it_is(
    gateway: Gateway, action: str, kind: str, price: float, stoplimit: float
) -> None:
    wanted = {"action": action, "type": kind, "price": price, "stoplimit": stoplimit}
    reply = gateway.ask(**{**BUY, **wanted})
    (order,) = gateway.terminal.orders_get() or ()
    assert (reply["status"], reply["ticket"]) == ("PLACED", order.ticket)
    assert order.type == getattr(mt5, f"ORDER_TYPE_{action}_{kind.upper()}")
    assert (order.price_open, order.price_stoplimit) == (price, stoplimit)
    assert (order.type_time, order.type_filling) == (
        mt5.ORDER_TIME_GTC,
        mt5.ORDER_FILLING_RETURN,
    )


@pytest.mark.parametrize(("sl", "tp"), [(1.05, 1.2), (0.0, 1.2), (1.05, 0.0), (0.0, 0.0)])
def test_a_change_of_stops_sets_both(gateway: Gateway, sl: float, tp: float) -> None:
    ticket = gateway.ask(**BUY, sl=1.04, tp=1.3)["ticket"]
    change = {"action": "MODIFY", "symbol": "EURUSD", "position": ticket, "sl": sl, "tp": tp}
    assert gateway.ask(order_id="B", **change)["status"] == "DONE"
    (position,) = gateway.terminal.positions_get() or ()
    assert (position.sl, position.tp) == (sl, tp)


def test_a_damaged_row_is_logged_once_and_hinders_no_other(
    kept: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    kept.ask(**BUY, stream="s", journal="j")
    kept.ask(**{**BUY, "order_id": "B"}, stream="s", journal="j")
    damaged = kept.store.find("A")
    assert damaged is not None
    damaged = damaged._replace(parameters=b"{")
    whole = kept.store.find("B")

    def sent_by(*_: object) -> tuple[int, list[Entry]]:
        assert whole is not None
        return 2, [damaged, whole]

    with pytest.MonkeyPatch.context() as disk:
        disk.setattr(kept.store, "sent_by", sent_by)
        for number in (1, 2):
            told = kept.ask(action="SNAPSHOT", id=number, session="s", book={"stream": "s"})["sent"]
            assert [one["order_id"] for one in told["orders"]] == ["B"]
    (line,) = [text for text in caplog.messages if "damaged" in text]
    assert line.startswith("[RECORD] the record of request 'A' is damaged (")
    assert line.endswith("; its outcome is not known")


def test_a_book_is_told_of_a_refusal_that_the_disk_did_not_take(
    kept: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seed 9004877: a journal that lacked the order used the order's key again."""
    named = {**BUY, "stream": "s", "journal": "j", "key": "k"}
    assert kept.ask(**{**named, "order_id": "first", "key": "f"})["status"] == "FILLED"
    FullDisk(kept.store, monkeypatch).takes_requests = False
    refused = kept.ask(**named)
    # The disk is asked first whether it takes the refusals that wait.
    kept.ask(**{**named, "order_id": "second", "key": "k2"})
    kept.ask(**{**named, "order_id": "other", "key": "o", "stream": "s2", "journal": "j2"})
    kept.ask(**{**named, "order_id": "plain", "key": "p", "stream": "s", "journal": ""})
    for asked in ({"stream": "s", "journal": "j"}, {"stream": "s"}):
        told = kept.ask(action="SNAPSHOT", id=1, session="s", book=asked)["sent"]
        assert [(one["order_id"], one["key"]) for one in told["orders"]] == [
            ("first", "f"),
            ("A", "k"),
            ("second", "k2"),
        ]
        assert told["count"] == 3
    # Its outcome is known too, and nothing is withdrawn.
    (said,) = kept.doubts("A")[0]
    assert (said.status, said.error) == ("REJECTED", refused["error"])


def test_an_order_is_not_called_absent_when_the_trade_servers_clock_is_set_back(
    tmp_path: Path,
) -> None:
    """Seed 9020044: by that clock its order is an hour older than the quotation before it."""
    kept = Gateway(tmp_path / "requests.db")
    kept.terminal.switches.server_offset_minutes = 180
    kept.tend(2)
    opened = kept.ask(**{**BUY, "order_id": "opened"})
    kept.terminal.switches.server_offset_minutes = 120
    kept.terminal.faults.next_send(AnswerLost(executed=True, pipe_breaks=False))
    close = {**BUY, "action": "SELL", "position": opened["ticket"]}
    assert kept.ask(**close)["status"] == "UNKNOWN"
    kept.tend(2 * SETTLED_SEC)
    assert kept.status().status == "FILLED"


def test_an_order_is_absent_only_by_looks_without_a_gap(kept: Gateway) -> None:
    kept.terminal.faults.next_send(AnswerLost(executed=False, pipe_breaks=False))
    assert kept.ask(**BUY)["status"] == "UNKNOWN"
    # Shorter than an absence takes, and again as long without the terminal's link.
    kept.tend(0.7 * GRACE_SEC)
    kept.terminal.disconnect()
    kept.tend(0.7 * GRACE_SEC)
    kept.terminal.reconnect()
    # Looks are rare by now; what came back may not have its past yet, so the wait begins anew.
    kept.tend(1.5 * GRACE_SEC)
    assert kept.status().status != "REJECTED"
    kept.tend(2 * GRACE_SEC)
    assert kept.status().status == "REJECTED"


def unreadable(order_id: str) -> None:
    raise StoreTrouble("requests.db: the disk failed.")


def test_while_nobody_can_read_whether_an_order_came_before_it_is_unknown_and_never_sent(
    kept: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = kept.ask(**BUY)
    kept.start()
    new = {**BUY, "order_id": "new"}
    with monkeypatch.context() as disk:
        disk.setattr(kept.store, "find", unreadable)
        for order in (BUY, new):
            reply = kept.ask(**order)
            assert (reply["order_id"], reply["status"]) == (order["order_id"], "UNKNOWN")
            assert "it cannot be read whether it came before" in reply["error"]
            with pytest.raises(OutcomeUnknown):
                decode_outcome(json.dumps(reply).encode(), order)
    assert kept.ask(**BUY) == {**first, "repeated": True}
    # By now it is known that this one did not come before, and it was not sent then.
    again = kept.ask(**new)
    assert (again["status"], again["repeated"]) == ("REJECTED", True)
    kept.tend(2)
    assert kept.status().status == "FILLED"
    assert kept.status("new").status == "REJECTED"
    assert kept.executions() == ["A"]


def test_a_repetition_that_is_not_begun_is_unknown_while_the_record_cannot_be_read(
    kept: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept.ask(**BUY)
    monkeypatch.setattr(kept.store, "find", unreadable)
    request = kept.desk.read(json.dumps(BUY).encode())
    assert isinstance(request, Request)
    reply = kept.desk.refuse(request, "busy", came_before=kept.desk.came_before(request))
    assert json.loads(reply)["status"] == "UNKNOWN"


def test_a_clock_that_goes_back_does_not_keep_the_gateway_from_looking(
    kept: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept.tend(3)
    hour_ns = 3_600 * 1_000_000_000
    monkeypatch.setattr(kept.desk._record, "_now_ns", lambda: kept.clock.now_ns() - hour_ns)
    kept.terminal.faults.next_send(AnswerLost(executed=True, pipe_breaks=False))
    assert kept.ask(**BUY)["status"] == "UNKNOWN"
    kept.tend(3)
    assert kept.status().status == "FILLED"


def test_a_clock_that_is_set_back_does_not_begin_the_grace_period_anew(
    kept: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Waiting is measured by a clock that nobody sets."""
    kept.kill_at(GatewayPoint.AFTER_RECORD, **BUY)
    kept.tend(GRACE_SEC - 2)
    hour_ns = 3_600 * 1_000_000_000
    monkeypatch.setattr(kept.desk._record, "_now_ns", lambda: kept.clock.now_ns() - hour_ns)
    kept.tend(GRACE_SEC)
    assert kept.status().status == "REJECTED"


# An account is a login at a server.


@pytest.mark.parametrize("field", ["login", "server"])
def test_an_order_for_another_account_is_not_sent_and_stays_refused(
    gateway: Gateway, field: str
) -> None:
    """Two servers may have accounts of one number."""
    account = gateway.account
    meant = {"login": account.login, "server": account.server}
    other = meant | {field: account.login + 1 if field == "login" else "Elsewhere-Live"}
    said = gateway.ask(**BUY, **other)
    assert said["status"] == "REJECTED"
    assert f"it is for account {other['login']}@{other['server']}" in said["error"]
    assert f"logged in to {account.login}@{account.server}" in said["error"]
    assert gateway.ask(**BUY, **other)["status"] == "REJECTED"
    assert gateway.terminal.positions_get() == ()
    assert gateway.ask(**(BUY | {"order_id": "B"}), **meant)["status"] == "FILLED"


@pytest.mark.parametrize("named", [("login",), ("server",), ()])
def test_an_order_that_names_less_is_for_any_account_that_fits(
    gateway: Gateway, named: tuple[str, ...]
) -> None:
    account = {"login": gateway.account.login, "server": gateway.account.server}
    said = gateway.ask(**BUY, **{name: account[name] for name in named})
    assert said["status"] == "FILLED"


@pytest.mark.parametrize("first", [True, False])
def test_the_same_order_from_before_servers_were_named_is_answered_from_the_record(
    gateway: Gateway, first: bool
) -> None:
    """A bot, or the gateway, was updated in between."""
    with_server = BUY | {"server": gateway.account.server}
    once, again = (with_server, BUY) if first else (BUY, with_server)
    ticket = gateway.ask(**once)["ticket"]
    said = gateway.ask(**again)
    assert (said["status"], said["ticket"], said["repeated"]) == ("FILLED", ticket, True)
    other = gateway.ask(**(BUY | {"server": "Elsewhere-Live"}))
    assert other["status"] == "REJECTED"
    assert "comes again with 'Elsewhere-Live'" in other["error"]
