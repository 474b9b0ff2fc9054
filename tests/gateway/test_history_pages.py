"""HISTORY: all deals of an account, page by page, each once, whatever the span and the page."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.desk_world import BUY, OTHER, SELL, DeskLink, DeskWorld
from tests.support.manners import GuideGateway
from tests.support.servers import ZmqServer, until
from trueup.core.account.trust import Reason, Unknown
from trueup.core.model import Deal
from trueup.gateway.client.execution_gateway import ExecutionGateway
from trueup.gateway.client.history_reader import HistoryReader
from trueup.gateway.client.reader import Question
from trueup.gateway.reading import history
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.protocol.history import PastDeals, Span, decode_history
from trueup.sim.terminal.terminal_faults import Fails

DAY_SEC = 86_400
TIMEOUT_MS = 60_000
ALL = Span()


def ask(world: DeskWorld, **fields: object) -> dict[str, Any]:
    message = json.dumps({"action": "HISTORY", "id": 1, **fields}).encode()
    reply: dict[str, Any] = json.loads(world.desk.handle(message))
    return reply


def reader_of(world: DeskWorld) -> HistoryReader:
    return HistoryReader(DeskLink(world.desk.handle), "gateway", 1_000)


def tickets(found: PastDeals | Unknown) -> list[int]:
    assert isinstance(found, PastDeals), found
    return [deal.ticket for deal in found.deals]


def traded(world: DeskWorld) -> list[int]:
    """The deals of positions that the server's own ledger has, in the order they were made."""
    deals = [deal for deal in world.ledger.deals.values() if deal.position_id]
    return [deal.ticket for deal in sorted(deals, key=lambda d: (d.time_msc, d.ticket))]


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(history, "PAGE_DEALS", 3)
    return 3


def test_a_page_has_the_account_and_the_deals_of_positions() -> None:
    world = DeskWorld()
    ticket = world.person.open("EURUSD", BUY, 0.2)
    world.wait(5)
    world.person.close(ticket)
    reply = ask(world, id=7, since_msc=world.clock.now_ns() // 1_000_000 - DAY_SEC * 1000)
    assert (reply["status"], reply["id"]) == ("SUCCESS", 7)
    assert (reply["login"], reply["server"]) == (5_000_001, "Simulated-Demo")
    assert [deal["position"] for deal in reply["deals"]] == [ticket, ticket]
    assert "next" not in reply, "there is one page"
    # The balance that the account began with is a deal of no position.
    assert len(world.ledger.deals) == 3


@given(
    st.lists(st.tuples(st.integers(0, 40 * DAY_SEC), st.booleans()), max_size=25),
    st.integers(1, 6),
    st.data(),
)
def test_every_deal_of_a_span_comes_once_and_in_its_order(
    trades: list[tuple[int, bool]], page: int, data: st.DataObject
) -> None:
    world = DeskWorld()
    for pause_sec, is_other in trades:
        world.wait(pause_sec)
        world.quote(1.1)
        world.person.open("GBPUSD" if is_other else "EURUSD", BUY, 0.1)
    made = sorted(
        (deal for deal in world.ledger.deals.values() if deal.position_id),
        key=lambda deal: (deal.time_msc, deal.ticket),
    )
    moments = st.sampled_from([0, *(deal.time_msc + d for deal in made for d in (-1, 0, 1))])
    span = Span(*sorted([data.draw(moments), data.draw(moments)]))
    symbols = data.draw(st.sampled_from([(), ("EURUSD",), ("GBPUSD", "EURUSD"), ("XAUUSD",)]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(history, "PAGE_DEALS", page)
        found = reader_of(world).read(span, symbols)
    wanted = [
        deal.ticket
        for deal in made
        if span.has(deal.time_msc) and (not symbols or deal.symbol in symbols)
    ]
    assert tickets(found) == wanted


def test_deals_of_one_millisecond_are_told_apart_by_their_tickets(small_pages: int) -> None:
    world = DeskWorld()
    for _ in range(8):
        world.person.open("EURUSD", BUY, 0.1)
    assert len({deal.time_msc for deal in world.ledger.deals.values() if deal.position_id}) == 1
    assert tickets(reader_of(world).read(ALL)) == traded(world)
    assert len(traded(world)) == 8


def test_a_history_that_a_terminal_shows_twice_and_in_disorder_is_read(small_pages: int) -> None:
    world = DeskWorld(deal_order="shuffled")
    world.terminal.faults.duplicate_deals(3)
    for _ in range(7):
        world.wait(3_600)
        world.quote(1.1)
        world.person.open("EURUSD", SELL, 0.1)
    assert tickets(reader_of(world).read(ALL)) == traded(world)


def test_a_gap_of_years_costs_few_questions() -> None:
    world = DeskWorld()
    world.person.open("EURUSD", BUY, 0.1)
    asked: list[bytes] = []
    world.clock.advance(3 * 365 * DAY_SEC)
    world.quote(1.1)
    world.person.open("EURUSD", BUY, 0.1)

    def answer(message: bytes) -> bytes:
        asked.append(message)
        return world.desk.handle(message)

    first_msc = min(deal.time_msc for deal in world.ledger.deals.values() if deal.position_id)
    found = HistoryReader(DeskLink(answer), "gateway", 1_000).read(Span(first_msc))
    assert tickets(found) == traded(world)
    assert len(asked) < 15


# What is asked wrongly, and what cannot be read.


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"since_msc": -1}, "since_msc=-1 is not valid"),
        ({"until_msc": 2**64}, "until_msc=18446744073709551616 is not valid"),
        ({"after": "tomorrow"}, "after='tomorrow' is not valid: give `next` of the page before"),
        ({"after": "1:2:3"}, "after='1:2:3' is not valid"),
        ({"symbols": [f"S{n}" for n in range(501)]}, "symbols has 501 entries: give at most 500"),
    ],
)
def test_a_question_that_cannot_be_answered_is_refused(asked: dict[str, Any], words: str) -> None:
    reply = ask(DeskWorld(), **asked)
    assert reply["status"] == "ERROR"
    assert words in reply["error"]
    assert "deals" not in reply


@pytest.mark.parametrize("function", ["history_deals_get", "account_info", "terminal_info"])
def test_a_history_that_cannot_be_read_is_failed_and_never_empty(function: str) -> None:
    world = DeskWorld()
    world.person.open("EURUSD", BUY, 0.1)
    world.terminal.faults.next_call(function, Fails(code=mt5.RES_E_FAIL))
    found = reader_of(world).read(ALL)
    assert isinstance(found, Unknown)
    assert found.reason is Reason.UNREADABLE
    assert found.sentence.startswith("The broker's history could not be read: ")
    assert f"{function} failed: (-1," in found.sentence
    assert len(tickets(reader_of(world).read(ALL))) == 1


def test_a_terminal_without_its_trade_server_shows_no_history() -> None:
    world = DeskWorld()
    world.terminal.disconnect()
    reply = ask(world)
    assert reply == {
        "status": "FAILED",
        "error": "the terminal has no connection to its trade server",
    }


def test_a_span_in_which_the_terminal_found_nothing_is_empty() -> None:
    """For a span without history the module answers None and -4, and not an empty tuple."""
    world = DeskWorld()
    world.person.open("EURUSD", BUY, 0.1)
    world.terminal.faults.next_call("history_deals_get", Fails(code=mt5.RES_E_NOT_FOUND))
    since_msc = world.clock.now_ns() // 1_000_000 - 300 * DAY_SEC * 1000
    assert len(tickets(reader_of(world).read(Span(since_msc)))) == 1


def test_an_account_that_changes_between_two_pages_makes_the_whole_unknown(
    small_pages: int,
) -> None:
    world = DeskWorld(others=(OTHER,))
    for _ in range(5):
        world.person.open("EURUSD", BUY, 0.1)
    count = 0

    def answer(message: bytes) -> bytes:
        nonlocal count
        count += 1
        if count == 2:
            assert world.terminal.login(OTHER.login, password=OTHER.password, server=OTHER.server)
        return world.desk.handle(message)

    found = HistoryReader(DeskLink(answer), "gateway", 1_000).read(ALL)
    assert isinstance(found, Unknown)
    assert "the terminal's account changed while its history was read" in found.sentence


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"id": 99}, "the reply answers question 99, not 1"),
        ({"version": 2}, "version 2 of the protocol"),
        ({"deals": "none"}, "a page does not have its shape"),
        ({"status": "FAILED", "error": None}, "the gateway gave no reason"),
        ({"status": "ERROR", "error": "action='HISTORY' is not known"}, "is not known"),
    ],
)
def test_a_page_that_is_not_the_one_asked_for_is_unknown(
    change: dict[str, Any], words: str
) -> None:
    reply = ask(DeskWorld()) | change
    found = decode_history(json.dumps(reply).encode(), 1)
    assert isinstance(found, Unknown)
    assert words in found.sentence


def test_pages_that_go_round_in_a_circle_end() -> None:
    world = DeskWorld()

    def answer(message: bytes) -> bytes:
        reply = json.loads(world.desk.handle(message))
        return json.dumps(reply | {"next": "5:5"}).encode()

    found = HistoryReader(DeskLink(answer), "gateway", 1_000).read(ALL)
    assert isinstance(found, Unknown)
    assert "the page after '5:5' came twice" in found.sentence


# Over a socket, waiting and not.


def test_a_gateway_object_reads_the_history_of_a_gateway_that_serves_one(
    small_pages: int,
) -> None:
    world = DeskWorld()
    for _ in range(7):
        world.person.open("EURUSD", BUY, 0.1)
    with (
        ZmqServer(world.desk.handle) as server,
        ExecutionGateway("127.0.0.1", server.port, TIMEOUT_MS) as gateway,
    ):
        assert not gateway.serves_history, "it has not been asked yet"
        assert tickets(gateway.read_history(ALL)) == traded(world)
        gateway.read()
        assert gateway.serves_history
        gateway.ask_history(ALL, ("EURUSD",))
        found = until(lambda: gateway.poll_history(world.clock.now_ns()))
        assert tickets(found) == traded(world)
        assert gateway.poll_history(world.clock.now_ns()) is None


def test_a_gateway_of_the_guide_has_no_deals_and_is_not_asked_for_them() -> None:
    asked: list[bytes] = []
    with GuideGateway() as server:

        def listen(message: bytes) -> bytes:
            asked.append(message)
            return server.as_the_guide_says(message)

        server.answer = listen
        with ExecutionGateway("127.0.0.1", server.port, TIMEOUT_MS) as gateway:
            found = gateway.read_history(ALL)
    assert isinstance(found, Unknown)
    assert found.reason is Reason.NO_EVIDENCE
    assert "has no deals to compare with" in found.sentence
    assert {json.loads(message)["action"] for message in asked} == {"GET_POSITIONS"}


def test_a_gateway_that_is_away_and_one_that_is_silent_are_given_up() -> None:
    with (
        ZmqServer(lambda _: None) as server,
        ExecutionGateway("127.0.0.1", server.port, 200) as gateway,
    ):
        gateway.ask_history(ALL)
        until(lambda: gateway.poll_history(0) is None and server.seen)
        found = gateway.poll_history(200_000_000)
        assert isinstance(found, Unknown)
        assert found.reason is Reason.OFFLINE
        assert "gave no reply within 200 ms" in found.sentence
        assert gateway.poll_history(0) is None, "it is given up"


def test_deals_are_written_and_read_as_they_are() -> None:
    world = DeskWorld()
    ticket = world.person.open("EURUSD", BUY, 0.2)
    world.wait(5)
    world.person.close(ticket, 0.1)
    found = reader_of(world).read(ALL)
    assert isinstance(found, PastDeals)
    snapshot = world.gateway.read(Question(symbols=("EURUSD",), explain=(ticket,)))
    assert not isinstance(snapshot, Unknown)
    assert snapshot.evidence is not None
    by_ticket: dict[int, Deal] = {deal.ticket: deal for deal in snapshot.evidence.deals}
    assert {deal.ticket: deal for deal in found.deals} == by_ticket
