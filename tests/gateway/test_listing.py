"""The guide's list of positions where an empty one proves nothing: over real sockets.

Gateways of the guide's family differ in what they make of `"symbol": "*"`, of a question without a
symbol, and of a symbol's name. Whatever they make of it, no position is closed by a list that did
not look for it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from unittest.mock import Mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import make
from tests.support.servers import ZmqServer, until
from trueup.core.account.trust import Reason, Unknown
from trueup.core.model import Snapshot
from trueup.gateway.client.execution_gateway import ExecutionGateway
from trueup.gateway.client.listing import Form, Forms, Own, Steps, ask_for_list
from trueup.gateway.client.zmq_link import ZmqLink
from trueup.protocol import guide
from trueup.runtime.bot.portfolio import PortfolioManager
from trueup.runtime.sync.reconciler import StateReconciler, SyncStatus

TIMEOUT_MS = 10_000
STAR, BARE, EURUSD, GBPUSD = "*", None, "EURUSD", "GBPUSD"

Manner = Callable[[Any, list[dict[str, Any]]], bytes | None]


def listed(rows: list[dict[str, Any]]) -> bytes:
    return make.as_bytes(make.reply(*rows))


def refused(why: str) -> bytes:
    return make.as_bytes({"status": "ERROR", "error": why})


def in_symbol(symbol: object, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row for row in rows if row["symbol"] == symbol]


# What gateways make of the symbol of GET_POSITIONS; None stands for none.


def as_the_guide(symbol: object, rows: list[dict[str, Any]]) -> bytes:
    return listed(rows if symbol in (STAR, BARE) else in_symbol(symbol, rows))


def takes_star_literally(symbol: object, rows: list[dict[str, Any]]) -> bytes:
    return listed(rows if symbol is BARE else in_symbol(symbol, rows))


def wants_a_symbol(symbol: object, rows: list[dict[str, Any]]) -> bytes:
    return refused("symbol is missing") if symbol is BARE else listed(in_symbol(symbol, rows))


def has_a_symbol_of_its_own(symbol: object, rows: list[dict[str, Any]]) -> bytes:
    """Without a symbol it takes EURUSD."""
    return listed(in_symbol(symbol or EURUSD, rows))


def knows_the_star_alone(symbol: object, rows: list[dict[str, Any]]) -> bytes:
    return listed(rows) if symbol == STAR else refused("give *")


def dies_without_a_symbol(symbol: object, rows: list[dict[str, Any]]) -> bytes | None:
    return None if symbol is BARE else listed(in_symbol(symbol, rows))


class Family:
    """A gateway of the guide's wire: its positions, its manner, and what it was asked."""

    def __init__(self, manner: Manner, *rows: dict[str, Any]) -> None:
        self.manner, self.rows = manner, list(rows)
        self.asked: list[object] = []
        self.glitches = 0

    def __call__(self, message: bytes) -> bytes | None:
        request = json.loads(message)
        assert set(request) <= {"action", "symbol"}
        assert request["action"] == "GET_POSITIONS"
        self.asked.append(request.get("symbol"))
        if self.glitches:
            self.glitches -= 1
            return listed([])
        return self.manner(request.get("symbol"), self.rows)

    def asked_since(self, count: int = 0) -> list[object]:
        return self.asked[count:]


class Bot:
    """A book on a clock that stands, in agreement with a gateway on a socket."""

    def __init__(self, port: int, symbol: str = EURUSD, timeout_ms: int = TIMEOUT_MS) -> None:
        self.pm = PortfolioManager(symbol=symbol, clock=make.clock_of(make.portfolio()))
        self.gateway = ExecutionGateway("127.0.0.1", port, timeout_ms)
        self.reconciler = StateReconciler(self.pm, self.gateway, sync_interval_sec=15)

    def __enter__(self) -> Bot:
        return self

    def __exit__(self, *_: object) -> None:
        self.gateway.disconnect()

    @property
    def tickets(self) -> set[int]:
        return set(self.pm.get_local_positions())


def row(ticket: int, symbol: str = EURUSD) -> dict[str, Any]:
    return make.row(ticket, symbol=symbol)


# The list is found in the form that shows it.


@pytest.mark.parametrize(
    ("manner", "asked", "asked_next"),
    [
        (as_the_guide, [STAR], [STAR]),
        (takes_star_literally, [STAR, BARE], [BARE]),
        (wants_a_symbol, [STAR, BARE, EURUSD], [EURUSD]),
        (has_a_symbol_of_its_own, [STAR, BARE], [BARE]),
        (knows_the_star_alone, [STAR], [STAR]),
    ],
)
def test_a_position_is_seen_and_the_form_that_showed_it_is_used_from_then_on(
    manner: Manner, asked: list[object], asked_next: list[object]
) -> None:
    family = Family(manner, row(1))
    with ZmqServer(family) as server, Bot(server.port) as bot:
        assert bot.reconciler.startup_recovery().recovered == 1
        assert family.asked == asked
        assert bot.reconciler.sync_positions().status is SyncStatus.SUCCESS
        assert family.asked_since(len(asked)) == asked_next
        assert bot.tickets == {1}


def test_a_position_in_another_symbol_than_the_gateways_own_is_seen() -> None:
    family = Family(has_a_symbol_of_its_own, row(1, GBPUSD))
    with ZmqServer(family) as server, Bot(server.port, GBPUSD) as bot:
        assert bot.reconciler.startup_recovery().recovered == 1
        assert family.asked == [STAR, BARE, GBPUSD]


def test_a_position_that_opens_later_is_seen() -> None:
    family = Family(takes_star_literally)
    with ZmqServer(family) as server, Bot(server.port) as bot:
        assert bot.reconciler.startup_recovery().status is SyncStatus.SUCCESS
        family.rows.append(row(7))
        assert bot.reconciler.sync_positions().recovered == 1


def test_a_flat_account_costs_one_question_more_until_the_star_has_shown_a_row() -> None:
    family = Family(as_the_guide)
    with ZmqServer(family) as server, Bot(server.port) as bot:
        bot.reconciler.sync_positions()
        first = len(family.asked)
        bot.reconciler.sync_positions()
        assert family.asked_since(first) == [STAR, BARE]
        family.rows.append(row(8, "XAUUSD"))
        bot.reconciler.sync_positions()
        family.rows.clear()
        before = len(family.asked)
        assert bot.reconciler.sync_positions().status is SyncStatus.SUCCESS
        assert family.asked_since(before) == [STAR]


# Nothing is closed by an empty answer that stands alone.


@pytest.mark.parametrize(
    "manner", [as_the_guide, takes_star_literally, wants_a_symbol, knows_the_star_alone]
)
def test_one_empty_answer_closes_nothing(manner: Manner) -> None:
    family = Family(manner, row(1))
    with ZmqServer(family) as server, Bot(server.port) as bot:
        bot.reconciler.startup_recovery()
        family.glitches = 1
        result = bot.reconciler.sync_positions()
        assert (result.status, result.closed) == (SyncStatus.SUCCESS, 0)
        assert bot.tickets == {1}


@pytest.mark.parametrize(
    "manner", [as_the_guide, takes_star_literally, wants_a_symbol, knows_the_star_alone]
)
def test_a_position_that_is_gone_is_closed_by_two_empty_answers(manner: Manner) -> None:
    family = Family(manner, row(1))
    with ZmqServer(family) as server, Bot(server.port) as bot:
        bot.reconciler.startup_recovery()
        family.rows.clear()
        before = len(family.asked)
        assert bot.reconciler.sync_positions().closed == 1
        assert len(family.asked_since(before)) == 2


def test_a_book_that_remembers_a_position_asks_in_every_form_before_it_closes() -> None:
    family = Family(has_a_symbol_of_its_own, row(1, GBPUSD))
    with ZmqServer(family) as server, Bot(server.port, GBPUSD) as bot:
        bot.pm.force_add_position(row(1, GBPUSD))
        assert bot.reconciler.sync_positions().closed == 0
        family.rows.clear()
        assert bot.reconciler.sync_positions().closed == 1


def test_each_list_of_one_symbol_that_would_close_something_is_asked_twice() -> None:
    family = Family(wants_a_symbol, row(1), row(2, GBPUSD))
    with ZmqServer(family) as server, Bot(server.port) as bot:
        both = frozenset({EURUSD, GBPUSD})
        policy = make.policy(*both)
        reconciler = StateReconciler(bot.pm, bot.gateway, policy=policy)
        assert reconciler.startup_recovery().recovered == 2
        family.glitches = 1
        assert reconciler.sync_positions().closed == 0
        del family.rows[0]
        before = len(family.asked)
        assert reconciler.sync_positions().closed == 1
        assert family.asked_since(before) == [EURUSD, EURUSD, GBPUSD]


# A gateway that confirms nothing is not believed, and says why.


def test_a_gateway_that_knows_the_star_alone_is_believed_when_it_says_so_twice() -> None:
    family = Family(knows_the_star_alone)
    with ZmqServer(family) as server, Bot(server.port) as bot:
        assert bot.reconciler.sync_positions().status is SyncStatus.SUCCESS
        bot.pm.force_add_position(row(1))
        family.rows.append(row(1))
        family.glitches = 1
        assert bot.reconciler.sync_positions().closed == 0
        family.rows.clear()
        assert bot.reconciler.sync_positions().closed == 1


@pytest.mark.parametrize("is_held", [False, True])
def test_an_empty_list_while_nobody_can_look_is_not_believed(is_held: bool) -> None:
    """To this gateway `*` is a name, for which nothing is looked up at its terminal."""

    def terminal_is_away(symbol: object, rows: list[dict[str, Any]]) -> bytes:
        if symbol == STAR:
            return listed([])
        return make.as_bytes({"status": "FAILED", "error": "the terminal is away"})

    family = Family(terminal_is_away, row(1))
    with ZmqServer(family) as server, Bot(server.port) as bot:
        if is_held:
            bot.pm.force_add_position(row(1))
        for _ in range(3):
            result = bot.reconciler.sync_positions()
            assert result.status is SyncStatus.DEGRADED
            (said,) = result.errors
            assert said.startswith("The gateway's list for the symbol * is empty, and nothing")
            assert "the terminal is away" in said
        family.manner = takes_star_literally
        assert bot.reconciler.sync_positions().status is SyncStatus.SUCCESS
        assert bot.tickets == {1}


def test_a_second_answer_that_fails_closes_nothing() -> None:
    family = Family(as_the_guide, row(1))
    with ZmqServer(family) as server, Bot(server.port) as bot:
        bot.reconciler.startup_recovery()
        answers = [listed([]), make.as_bytes({"status": "FAILED", "error": "terminal is away"})]
        family.manner = lambda *_: answers.pop(0)
        result = bot.reconciler.sync_positions()
        assert result.status is SyncStatus.DEGRADED
        assert bot.tickets == {1}


def test_a_gateway_that_is_silent_without_a_symbol_is_asked_by_symbol_from_then_on() -> None:
    family = Family(dies_without_a_symbol, row(1))
    with ZmqServer(family) as server, Bot(server.port, timeout_ms=300) as bot:
        assert bot.reconciler.sync_positions().status is SyncStatus.DEGRADED
        result = until(
            lambda: (found := bot.reconciler.sync_positions()).recovered and found  # slow machines
        )
        assert result.recovered == 1
        assert family.asked.count(BARE) == 1


def test_a_new_connection_is_asked_with_the_star_again() -> None:
    family = Family(takes_star_literally, row(1))
    with ZmqServer(family) as server, Bot(server.port) as bot:
        bot.reconciler.startup_recovery()
        bot.gateway.disconnect()
        family.manner = knows_the_star_alone
        before = len(family.asked)
        assert bot.reconciler.sync_positions().status is SyncStatus.SUCCESS
        assert family.asked_since(before) == [STAR]


def test_an_empty_answer_of_a_new_connection_is_asked_again() -> None:
    """After silence another gateway may answer, to which `*` is a symbol's name."""
    family = Family(as_the_guide, row(1))
    with ZmqServer(family) as server, Bot(server.port, timeout_ms=2_000) as bot:
        bot.reconciler.startup_recovery()
        family.manner = lambda *_: None
        assert bot.reconciler.sync_positions().status is SyncStatus.DEGRADED
        family.manner = takes_star_literally
        assert bot.reconciler.sync_positions().closed == 0
        assert bot.tickets == {1}


# Without waiting.


class NeverWaits(ZmqLink):
    """The real link, and whoever would wait for it is told."""

    def send(self, message: bytes, timeout_ms: int) -> None:
        assert timeout_ms == 0, "sync_continuous() waits for a connection"
        super().send(message, timeout_ms)

    def receive(self, timeout_ms: int) -> bytes | None:
        assert timeout_ms == 0, "sync_continuous() waits for an answer"
        return super().receive(timeout_ms)


@pytest.mark.parametrize("manner", [takes_star_literally, wants_a_symbol, has_a_symbol_of_its_own])
def test_sync_continuous_takes_all_these_steps_without_waiting(manner: Manner) -> None:
    family = Family(manner, row(1))
    with ZmqServer(family) as server:
        pm = make.portfolio()
        with ExecutionGateway("127.0.0.1", server.port, TIMEOUT_MS, link=NeverWaits) as gateway:
            reconciler = StateReconciler(pm, gateway, sync_interval_sec=15)
            assert until(reconciler.sync_continuous).recovered == 1
            family.rows.clear()
            make.clock_of(pm).advance(15)
            assert until(reconciler.sync_continuous).closed == 1
            make.clock_of(pm).advance(15)
            assert until(reconciler.sync_continuous).status is SyncStatus.SUCCESS


def test_each_of_the_questions_has_the_whole_timeout() -> None:
    """A gateway that needs 1.5 s for an answer is not given up because it was asked twice."""
    with ZmqServer(lambda _: None) as server:
        pm = make.portfolio()
        with ExecutionGateway("127.0.0.1", server.port, 2_000) as gateway:
            reconciler = StateReconciler(pm, gateway, sync_interval_sec=15)
            for number in range(3):
                until(lambda: reconciler.sync_continuous() or len(server.seen) > number)  # noqa: B023
                # The answer comes at the end of 1.5 s on the bot's clock.
                make.clock_of(pm).advance(1.5)
                assert reconciler.sync_continuous() is None
                server.answer(number, listed([]))
            result = until(reconciler.sync_continuous)
            assert result.status is SyncStatus.SUCCESS


# What is not over the wire is asked once.


def test_an_object_with_get_positions_alone_is_asked_once_and_believed() -> None:
    pm = make.portfolio()
    pm.force_add_position(row(1))
    reconciler = make.reconciler_on(make.reply(), pm=pm)
    assert reconciler.sync_positions().closed == 1
    assert reconciler.gateway.get_positions.call_count == 1


def test_the_guides_own_method_shows_the_list_that_is_not_empty() -> None:
    family = Family(takes_star_literally, row(1), row(2, GBPUSD))
    with ZmqServer(family) as server, Bot(server.port) as bot:
        assert len(bot.gateway.get_positions()["positions"]) == 2
        bot.reconciler.sync_positions()
        before = len(family.asked)
        assert len(bot.gateway.get_positions()["positions"]) == 2
        assert family.asked_since(before) == [BARE]
        family.manner = wants_a_symbol
        bot.gateway.disconnect()
        bot.reconciler.sync_positions()
        assert [p["ticket"] for p in bot.gateway.get_positions()["positions"]] == [1]
        family.rows.clear()
        assert bot.gateway.get_positions() == make.reply()


def test_a_reconciler_whose_gateway_was_replaced_is_asked_as_it_is() -> None:
    gateway = ExecutionGateway("127.0.0.1", 1, 50)
    stand_in = Mock(return_value=make.reply())
    gateway.get_positions = stand_in  # type: ignore[method-assign]
    StateReconciler(make.portfolio(), gateway).sync_positions()
    assert stand_in.call_count == 1


# Every family of answers, without sockets.


@st.composite
def manners(draw: Callable[..., Any]) -> dict[object, str]:
    """What each question gets: all positions, those of the symbol, none, a refusal, or silence."""
    kinds = ("all", "filtered", "none", "refused", "failed", "silence")
    return {form: draw(st.sampled_from(kinds)) for form in (STAR, BARE, EURUSD, GBPUSD)}


def carried_out(
    steps: Steps, answer: Callable[[object], Snapshot | Unknown]
) -> tuple[Snapshot | Unknown, list[object], set[int]]:
    """The reading that the steps come to, what they asked, and the tickets that any answer had."""
    asked: list[object] = []
    seen: set[int] = set()
    message = next(steps)
    while True:
        asked.append(json.loads(message).get("symbol"))
        came = answer(asked[-1])
        if isinstance(came, Snapshot):
            seen |= {position.ticket for position in came.positions}
        try:
            message = steps.send(came)
        except StopIteration as end:
            return end.value, asked, seen


@given(manners(), st.booleans(), st.sets(st.sampled_from([1, 2])), st.booleans())
def test_a_reading_that_is_believed_has_every_position_that_some_question_showed(
    wire: dict[object, str], has_shown: bool, open_now: set[int], is_held: bool
) -> None:
    there = [one for one in (row(1), row(2, GBPUSD)) if one["ticket"] in open_now]
    forms = Forms()
    forms.has_shown_a_row = has_shown and wire[STAR] == "all"
    own = Own((EURUSD, GBPUSD), (EURUSD, GBPUSD) if is_held else ())
    reading, asked, seen = carried_out(
        ask_for_list(forms, own), lambda symbol: _answered(wire[symbol], symbol, there)
    )
    assert len(asked) <= 3 + 2 * 2
    assert max(map(asked.count, asked)) <= 2
    if isinstance(reading, Snapshot):
        assert {position.ticket for position in reading.positions} == seen
        if not seen and is_held:
            assert len(asked) >= 2
        if not seen and not forms.has_shown_a_row and wire[BARE] == "failed":
            # The empty list for `*` alone proves nothing while nobody can look.
            assert {wire[EURUSD], wire[GBPUSD]} & {"all", "filtered", "none"}
        if seen:
            assert forms.form is not Form.STAR or wire[STAR] in ("all", "filtered")


def _answered(kind: str, symbol: object, there: list[dict[str, Any]]) -> Snapshot | Unknown:
    if kind == "silence":
        return Unknown(Reason.OFFLINE, "Gateway offline - no reply")
    if kind in ("refused", "failed"):
        status = {"refused": "ERROR", "failed": "FAILED"}[kind]
        return guide.decode_positions(make.as_bytes({"status": status, "error": "no"}))
    rows = {"all": there, "none": [], "filtered": in_symbol(symbol, there)}[kind]
    return guide.decode_positions(listed(rows))
