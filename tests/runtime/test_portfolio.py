"""The guide's portfolio, promise by promise."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import make
from trueup.core.book.events import OrderKind
from trueup.core.book.lifecycle import OrderStatus
from trueup.core.book.terms import Terms
from trueup.core.dates import iso
from trueup.core.limits.modes import UNTIL_RESUMED
from trueup.core.model import Side
from trueup.errors import JournalError
from trueup.runtime.bot.identity import Identity
from trueup.runtime.bot.order_message import message_of
from trueup.runtime.bot.portfolio import PortfolioManager
from trueup.runtime.bot.risk import Target, target_of
from trueup.runtime.bot.views import OrderRow
from trueup.runtime.time.clock import SystemClock


def long() -> PortfolioManager:
    pm = make.portfolio()
    assert pm.force_add_position(make.row(1, volume=0.03))
    return pm


def short() -> PortfolioManager:
    pm = make.portfolio()
    assert pm.force_add_position(make.row(1, type="sell", volume=0.03))
    return pm


def hedged() -> PortfolioManager:
    pm = long()
    assert pm.force_add_position(make.row(2, type="sell", volume=0.03))
    return pm


def doubtful(signal: int, pm: PortfolioManager | None = None) -> PortfolioManager:
    """With an order whose answer never came."""
    pm = pm or make.portfolio()
    order = pm.create_order(signal, 1.05, 0.01)
    assert order is not None
    assert pm.on_fill(make.filling(order.order_id, None, status="UNKNOWN", error="no reply"))
    assert order.status is OrderStatus.IN_DOUBT
    return pm


def held(pm: PortfolioManager) -> tuple[float, float] | None:
    """Net volume and average price, or None when flat."""
    return (pm.position.net_volume, pm.position.avg_entry_price) if pm.position else None


def test_flat_has_no_position() -> None:
    pm = PortfolioManager(symbol="EURUSD")
    assert pm.symbol == "EURUSD"
    assert pm.position is None
    assert not pm.orders
    assert pm.get_local_positions() == {}
    assert pm.get_position_summary()["status"] == "FLAT"
    assert pm.get_order_history() == []


def test_the_symbol_of_the_guide_is_the_default() -> None:
    assert PortfolioManager().symbol == "EURUSD"


@pytest.mark.parametrize("symbol", ["", " "])
def test_a_symbol_that_is_none_is_refused(symbol: str) -> None:
    with pytest.raises(ValueError, match="symbol="):
        PortfolioManager(symbol=symbol)


@pytest.mark.parametrize(
    ("make_pm", "passes"),
    [
        (make.portfolio, {1, -1}),
        (long, {-1}),
        (short, {1}),
        (hedged, {1, -1}),
    ],
)
def test_risk_passes_what_the_guide_says(make_pm: Any, passes: set[int]) -> None:
    pm = make_pm()
    assert {signal for signal in (1, -1, 0, 2, -2) if pm.check_risk(signal)} == passes


@pytest.mark.parametrize("signal", [0, 2, "1", None])
def test_a_hold_never_makes_an_order(signal: Any) -> None:
    pm = make.portfolio()
    assert pm.create_order(signal, 1.05, 0.01) is None
    assert not pm.orders


def test_an_order_has_what_was_asked_for() -> None:
    pm = make.portfolio()
    order = pm.create_order(1, 1.05, 0.02)
    assert order is not None
    assert (order.symbol, order.action, order.volume) == ("EURUSD", "BUY", 0.02)
    assert (order.entry_price, order.status) == (1.05, OrderStatus.PENDING)
    assert order.entry_time.timestamp() == make.NOW_NS / 1e9
    assert (order.ticket, order.fill_price, order.fill_time) == (None, None, None)
    assert pm.orders == {order.order_id: order}
    assert pm.position is None


def test_an_order_that_risk_refuses_is_none_and_leaves_no_trace() -> None:
    pm = long()
    before = pm.book.state()
    assert pm.create_order(1, 1.05, 0.01) is None
    assert pm.book.state() == before


@pytest.mark.parametrize("bad", [0, -0.01, math.nan, math.inf, None, "0.01", True])
@pytest.mark.parametrize("name", ["price", "volume"])
def test_an_order_that_cannot_be_is_refused_with_the_name(name: str, bad: Any) -> None:
    pm = make.portfolio()
    with pytest.raises(ValueError, match=f"{name}="):
        pm.create_order(1, **({"price": 1.05, "volume": 0.01} | {name: bad}))
    assert not pm.orders


@pytest.mark.parametrize("bad", [10**400, 1e305], ids=["beyond floats", "beyond accounts"])
def test_a_volume_that_no_account_has_is_refused_and_leaves_no_order(bad: float) -> None:
    pm = make.portfolio()
    with pytest.raises(ValueError, match="volume="):
        pm.create_order(1, 1.05, bad)
    assert not pm.orders


def test_the_position_has_what_the_guide_names() -> None:
    pm = short()
    position = pm.position
    assert position is not None
    assert (position.symbol, position.net_volume) == ("EURUSD", -0.03)
    assert (position.avg_entry_price, position.current_price) == (1.0543, 1.0543)
    assert position.unrealized_pnl == 0.0
    assert [order.ticket for order in position.orders] == [1]
    summary = pm.get_position_summary()
    assert summary["status"] == "OPEN"
    assert summary["direction"] == "SHORT"
    assert summary["net_volume"] == -0.03
    assert summary["avg_entry_price"] == 1.0543
    assert summary["orders_count"] == 1


def test_the_average_price_is_weighted_by_volume() -> None:
    pm = make.portfolio()
    pm.force_add_position(make.row(1, volume=0.01, price_open=1.10))
    pm.force_add_position(make.row(2, volume=0.03, price_open=1.20))
    assert pm.position is not None
    assert pm.position.net_volume == 0.04
    assert pm.position.avg_entry_price == pytest.approx(1.175)


def test_volumes_are_added_without_float_dust() -> None:
    pm = make.portfolio()
    pm.force_add_position(make.row(1, volume=0.1))
    pm.force_add_position(make.row(2, volume=0.2))
    assert pm.position is not None
    assert pm.position.net_volume == 0.3


def test_even_sides_are_a_position_and_not_flat() -> None:
    pm = hedged()
    assert pm.position is not None
    assert pm.position.net_volume == 0
    assert pm.get_position_summary()["direction"] == "HEDGED"
    assert set(pm.get_local_positions()) == {1, 2}


def test_local_positions_are_each_tickets_own() -> None:
    pm = hedged()
    positions = pm.get_local_positions()
    assert (positions[1].net_volume, positions[2].net_volume) == (0.03, -0.03)


def test_a_round_trip_of_orders_ends_flat() -> None:
    pm = make.portfolio()
    bought = pm.create_order(1, 1.05, 0.02)
    assert bought is not None
    assert pm.on_fill(make.filling(bought.order_id, 7, filled_volume=0.02, filled_price=1.0501))
    assert held(pm) == (0.02, 1.0501)
    sold = pm.create_order(-1, 1.06, 0.01)
    assert sold is not None
    assert pm.on_fill(make.filling(sold.order_id, 8, filled_price=1.0601))
    assert held(pm) == (0.01, 1.0501)
    rest = pm.create_order(-1, 1.06, 0.01)
    assert rest is not None
    assert pm.on_fill(make.filling(rest.order_id, 9))
    assert held(pm) is None
    assert [order["status"] for order in pm.get_order_history()] == ["FILLED"] * 3


def test_the_order_history_is_plain_and_oldest_first() -> None:
    pm = make.portfolio()
    order = pm.create_order(1, 1.05, 0.02)
    assert order is not None
    pm.on_fill(make.filling(order.order_id, 7, filled_volume=0.02))
    pm.create_order(-1, 1.06, 0.02)
    first, second = pm.get_order_history()
    assert (first["order_id"], first["action"], first["status"]) == (
        order.order_id,
        "BUY",
        "FILLED",
    )
    assert (first["ticket"], first["fill_price"], first["filled_volume"]) == (7, 1.0543, 0.02)
    assert set(first) == set(second) == set(OrderRow.__annotations__)
    assert (second["action"], second["status"]) == ("SELL", "PENDING")


def test_an_order_is_found_by_its_ticket() -> None:
    pm = make.portfolio()
    order = pm.create_order(1, 1.05, 0.01)
    assert order is not None
    assert pm.find_order_by_ticket(7) is None
    pm.on_fill(make.filling(order.order_id, 7))
    assert pm.find_order_by_ticket(7) is order
    assert pm.find_order_by_ticket(8) is None


def test_a_ticket_of_an_order_that_closed_a_position_does_not_hide_the_one_that_opened_it() -> None:
    """Settling a close by the position it closed must not rename the opening order."""
    pm = make.portfolio()
    bought = pm.create_order(1, 1.05, 0.02)
    assert bought is not None
    pm.on_fill(make.filling(bought.order_id, 7, filled_volume=0.02))
    sold = pm.create_order(-1, 1.06, 0.01)
    assert sold is not None
    pm.on_fill(make.filling(sold.order_id, None, status="UNKNOWN"))
    make.reconciler_on(make.reply(make.row(7, volume=0.01)), pm=pm).sync_positions()
    assert sold.status is OrderStatus.FILLED
    assert pm.find_order_by_ticket(7) is bought


@given(st.lists(st.sampled_from([1, -1]), min_size=1, max_size=30))
def test_order_ids_never_repeat_within_a_portfolio(signals: list[int]) -> None:
    pm = make.portfolio()
    for signal in signals:
        pm.create_order(signal, 1.05, 0.01)
    assert len(pm.orders) == len(signals)


def test_order_ids_never_repeat_between_portfolios_of_one_process() -> None:
    """A gateway answers an id that it knows with its first outcome."""
    clock = SystemClock()
    managers = [PortfolioManager(symbol, clock=clock) for symbol in ("EURUSD", "GBPUSD") * 10]
    orders = [pm.create_order(1, 1.05, 0.01) for pm in managers]
    assert len({order.order_id for order in orders if order is not None}) == len(managers)


def test_order_ids_never_repeat_an_id_of_the_journal() -> None:
    """Also when the machine's clock was set back to the moment of the last start."""
    journal = make.RefusingJournal()
    pm = make.portfolio(journal)
    first = pm.create_order(1, 1.05, 0.01)
    assert first is not None
    assert pm.on_fill(make.filling(first.order_id, None, status="REJECTED"))
    second = make.portfolio(journal).create_order(1, 1.05, 0.01)
    assert second is not None
    assert first.order_id != second.order_id


# An order in doubt.


def test_in_doubt_no_entry_passes() -> None:
    pm = doubtful(1)
    assert not pm.check_risk(1)
    assert not pm.check_risk(-1)
    assert pm.create_order(-1, 1.05, 0.01) is None


def test_in_doubt_a_known_position_may_still_be_closed() -> None:
    pm = doubtful(1)
    pm.force_add_position(make.row(5, volume=0.02))
    assert pm.check_risk(-1)
    assert pm.create_order(-1, 1.06, 0.02) is not None


def test_in_doubt_a_close_may_not_turn_into_an_entry() -> None:
    pm = doubtful(1)
    pm.force_add_position(make.row(5, volume=0.02))
    assert pm.create_order(-1, 1.06, 0.50) is None


def test_a_close_in_doubt_is_not_asked_for_again() -> None:
    pm = doubtful(-1, long())
    assert not pm.check_risk(-1)
    assert not pm.check_risk(1)


def test_after_a_sync_has_settled_it_entries_pass_again() -> None:
    pm = doubtful(1)
    reconciler = make.reconciler_on(make.reply(), pm=pm)
    for _ in range(3):
        assert not pm.check_risk(1)
        make.clock_of(pm).advance(60)
        reconciler.sync_positions()
    assert pm.check_risk(1)
    assert pm.check_risk(-1)


def test_the_refusal_says_why(caplog: pytest.LogCaptureFixture) -> None:
    pm = doubtful(1)
    assert not pm.check_risk(1)
    assert "in doubt" in caplog.text
    assert next(iter(pm.orders)) in caplog.text


# By force.


def test_force_add_takes_a_position_as_the_broker_has_it() -> None:
    pm = make.portfolio()
    assert pm.force_add_position(make.row(7, type="sell", volume=0.05, profit=-2.5))
    assert pm.position is not None
    assert (pm.position.net_volume, pm.position.unrealized_pnl) == (-0.05, -2.5)
    order = pm.find_order_by_ticket(7)
    assert order is not None
    assert order.status is OrderStatus.FILLED


@pytest.mark.parametrize(
    "bad",
    [
        {},
        make.row(None),
        make.row(volume=-1),
        make.row(volume=math.nan),
        make.row(type="hold"),
        make.row(symbol="GBPUSD"),
        make.row(1),
        "row",
        None,
    ],
)
def test_force_add_refuses_what_cannot_be_believed_and_says_so(
    bad: Any, caplog: pytest.LogCaptureFixture
) -> None:
    pm = long()
    before = pm.book.state()
    caplog.clear()
    assert pm.force_add_position(bad) is False
    assert pm.book.state() == before
    assert "[RECONCILE]" in caplog.text


def test_force_close_takes_a_ticket_out() -> None:
    pm = hedged()
    assert pm.force_close_position(1)
    assert set(pm.get_local_positions()) == {2}
    assert pm.force_close_position(1) is False
    assert pm.force_close_position(99) is False


def test_force_update_sets_what_is_given_and_keeps_the_rest() -> None:
    pm = long()
    assert pm.force_update_position(1, {"volume": 0.05})
    assert pm.force_update_position(1, {"price_open": 1.2})
    assert pm.force_update_position(1, {"type": "sell"})
    assert make.positions_of(pm.book) == {1: ("sell", 0.05, 1.2)}


def test_force_update_keeps_every_field_it_was_not_given() -> None:
    pm = make.portfolio()
    full = {"sl": 1.0, "tp": 1.2, "magic": 42, "swap": -0.5, "price_current": 1.07, "comment": "x"}
    pm.force_add_position(make.row(1, **full))
    assert pm.force_update_position(1, {"volume": 0.05})
    kept = pm.book.holdings[1].position
    assert {name: getattr(kept, name) for name in full} == full
    assert pm.position is not None
    assert pm.position.current_price == 1.07


@pytest.mark.parametrize(
    "bad",
    [{"volume": -1}, {"volume": math.nan}, {"type": "?"}, {"ticket": 9}, {"symbol": "GBPUSD"}],
)
def test_force_update_refuses_what_cannot_be_believed(bad: dict[str, Any]) -> None:
    pm = long()
    before = pm.book.state()
    assert pm.force_update_position(1, bad) is False
    assert pm.force_update_position(99, {"volume": 0.05}) is False
    assert pm.book.state() == before


@pytest.mark.parametrize(
    "change",
    [
        lambda pm: pm.create_order(-1, 1.05, 0.01),
        lambda pm: pm.force_add_position(make.row(9)),
        lambda pm: pm.force_close_position(1),
        lambda pm: pm.force_update_position(1, {"volume": 0.05}),
    ],
)
def test_what_the_journal_refuses_does_not_happen(change: Any) -> None:
    journal = make.RefusingJournal()
    pm = make.portfolio(journal)
    pm.force_add_position(make.row(1, volume=0.03))
    before = pm.book.state()
    journal.refuse = JournalError("disk full")
    with pytest.raises(JournalError):
        change(pm)
    assert pm.book.state() == before
    assert list(pm.get_local_positions()) == [1]


def test_orders_cannot_be_changed_from_outside() -> None:
    with pytest.raises(TypeError):
        make.portfolio().orders["A"] = "order"  # type: ignore[index]


def test_a_with_block_lets_go_of_the_journal(tmp_path: Path) -> None:
    for _ in range(2):
        with PortfolioManager("EURUSD", journal=tmp_path / "bot.db") as pm:
            assert pm.keeps_journal


def test_after_a_restart_a_callers_own_order_may_have_left(tmp_path: Path) -> None:
    """Who sends by himself may have died between the sending and `on_fill`: nobody knows."""
    with PortfolioManager("EURUSD", journal=tmp_path / "bot.db") as pm:
        order = pm.create_order(1, 1.1, 0.1)
        assert order is not None
    with PortfolioManager("EURUSD", journal=tmp_path / "bot.db") as pm:
        assert pm.orders[order.order_id].status is OrderStatus.IN_DOUBT
        assert "before an answer was recorded" in (pm.orders[order.order_id].error or "")
        assert not pm.check_risk(1)


# Names, messages and tables.


def test_the_names_of_a_book() -> None:
    for wrong in ("", "  "):
        with pytest.raises(ValueError, match="is not valid") as refused:
            Identity(wrong, 0, magic_token=False, stream=None, run="r")
        assert str(refused.value) == (
            f"symbol={wrong!r} is not valid: give a symbol's name, as 'EURUSD'."
        )
    whole = Identity("EURUSD", 7, magic_token=False, stream="mine", run="r")
    assert (whole.symbol, whole.magic, whole.stream) == ("EURUSD", 7, "mine")
    assert (whole.book_name, whole.run) == ("mine, magic 7", "r")
    plain = Identity("EURUSD", 0, magic_token=False, stream=None, run="r")
    assert (plain.stream, plain.book_name) == ("EURUSD", "EURUSD")
    # A part has the book's name and its order ids.
    part = whole.of_part("GOLD", 8)
    assert (part.symbol, part.magic, part.stream, part.book_name) == (
        *("GOLD", 8, "mine", "mine, magic 7"),
    )
    assert [one.next_order_id() for one in (whole, part, whole)] == [
        "ORD_0_r",
        "ORD_1_r",
        "ORD_2_r",
    ]
    assert whole.order_count == part.order_count == 3


MESSAGE = {
    "order_id": "A",
    "symbol": "EURUSD",
    "action": "BUY",
    "comment": make.TOKEN,
    "magic": 3,
    "login": 1,
}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"entry_price": 0.0, "sl": 1.0, "tp": 1.2, "position": 70},
            {
                "type": "market",
                "volume": 0.1,
                "position": 7,
                "sl": 1.0,
                "tp": 1.2,
                "confidence": 1.0,
            },
        ),
        (
            {"kind": OrderKind.STOP_LIMIT, "stoplimit": 1.04, "terms": Terms(3, "FOK", "DAY")},
            {
                "price": 1.05,
                "stoplimit": 1.04,
                "type": "stop_limit",
                "volume": 0.1,
                "position": 0,
                "sl": 0.0,
                "tp": 0.0,
                "confidence": 1.0,
                **Terms(3, "FOK", "DAY").wire,
            },
        ),
        ({"kind": OrderKind.CANCEL, "target": 9}, {"action": "CANCEL", "order": 9}),
        (
            {"kind": OrderKind.CLOSE_BY, "position": 70, "position_by": 80},
            {"action": "CLOSE_BY", "position": 7, "position_by": 80, "volume": 0.1},
        ),
        (
            {
                "kind": OrderKind.MODIFY_ORDER,
                "target": 9,
                "stoplimit": 1.04,
                "sl": 1.0,
                "tp": 1.2,
                "terms": Terms(None, None, "GTC"),
            },
            {
                "action": "MODIFY_ORDER",
                "order": 9,
                "price": 1.05,
                "stoplimit": 1.04,
                "sl": 1.0,
                "tp": 1.2,
                **Terms(None, None, "GTC").wire,
            },
        ),
        (
            {"kind": OrderKind.MODIFY, "position": 70, "sl": 1.0, "tp": 1.2},
            {"action": "MODIFY", "position": 7, "sl": 1.0, "tp": 1.2},
        ),
        # Of a position that is not in the book the order itself has the ticket.
        (
            {
                "kind": OrderKind.MODIFY,
                "position": 90,
                "sl": 1.0,
                "foreign": (make.position(9, identifier=90),),
            },
            {"action": "MODIFY", "position": 9, "sl": 1.0, "tp": 0.0, "foreign": True},
        ),
    ],
)
def test_an_order_is_sent_field_by_field(fields: dict[str, Any], message: dict[str, Any]) -> None:
    # The broker has changed the ticket of this position.
    book = make.book_of(make.position(7, identifier=70))
    order = make.sent("A", **{"wire_magic": 3, **fields})
    assert message_of(order, book, {"login": 1}) == {**MESSAGE, **message}


def test_a_notebook_shows_what_is_open_and_under_way() -> None:
    pm = long()
    html = pm._repr_html_()
    assert "Book EURUSD: 1 positions, realised 0.00" in html
    heads = ("ticket", "symbol", "volume", "entry", "price", "profit")
    assert "".join(f"<th>{head}</th>" for head in heads) in html
    assert "<td>1</td><td>EURUSD</td><td>LONG 0.03L</td>" in html
    assert "Orders under way" not in html
    doubtful(-1, pm)
    (order,) = pm.book.in_doubt.values()
    html = pm._repr_html_()
    assert "Orders under way" in html
    more = ("order", "symbol", "side", "status", "why")
    assert "".join(f"<th>{head}</th>" for head in more) in html
    assert (
        f"<td>{order.order_id}</td><td>EURUSD</td><td>SELL</td><td>IN_DOUBT</td><td>no reply</td>"
        in html
    )


def test_a_misspelt_term_of_an_order_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(TypeError) as refused:
        make.portfolio().submit("buy", 0.1, sll=1.0, zone="x")  # type: ignore[call-arg]
    assert str(refused.value) == (
        "An order has no sll: give limit, stop, stoplimit, sl, tp, magic, key, why, price, "
        "comment, symbol, deviation, filling, expires, who."
    )


def test_what_a_person_told_the_strategy_is_in_the_log_and_in_memory(
    caplog: pytest.LogCaptureFixture,
) -> None:
    journal = make.RefusingJournal()
    pm = make.portfolio(journal)
    journal.refuse = JournalError("the disk is full")
    told = pm.pause("  ", why=" lunch ")
    assert (told.by, told.why) == ("a person", "lunch")
    assert (caplog.messages[-1], caplog.records[-1].levelname) == (
        "[PERSON] trading is paused by a person: lunch; kept in memory: the disk is full",
        "ERROR",
    )
    # To let more orders pass waits for the journal.
    with pytest.raises(JournalError):
        pm.close_only("Ada")
    assert pm.paused == told
    journal.refuse = None
    pm.desk.record_owed()
    assert pm.book.paused == told
    caplog.clear()
    again = PortfolioManager("EURUSD", journal=journal)
    since = iso(told.at_ns)
    assert caplog.messages[0] == (
        f"[PERSON] As before the restart, trading is paused by a person: lunch since {since} "
        f"(until {UNTIL_RESUMED})"
    )
    assert again.paused == told


def test_rows_that_are_forced_in_and_out_are_logged_with_their_figures(
    caplog: pytest.LogCaptureFixture,
) -> None:
    pm = make.portfolio()
    assert pm.force_add_position(make.row(1, volume=0.03))
    assert caplog.messages[-1] == "[RECONCILE] Added ticket 1, LONG 0.03L @ 1.0543"
    assert not pm.force_add_position(make.row(1, volume=0.03))
    assert caplog.messages[-1] == "[RECONCILE] Ticket 1 is in the book already"
    assert not pm.force_add_position(make.row(2, symbol="GOLD"))
    assert caplog.messages[-1] == "[RECONCILE] Refused: GOLD is not EURUSD"
    assert not pm.force_close_position(9)
    assert caplog.messages[-1] == "[RECONCILE] No position with ticket 9 to close"
    assert pm.force_close_position(1)
    assert caplog.messages[-1] == "[RECONCILE] Closed ticket 1, LONG 0.03L"


@pytest.mark.parametrize(
    ("oldest", "younger", "is_fifo", "target"),
    [
        # One order closes what is large enough, the oldest first.
        (0.2, 0.2, False, Target(1, 0.1)),
        (0.05, 0.2, False, Target(2, 0.1)),
        # An account may refuse a close of a younger position.
        (0.05, 0.2, True, Target(1, 0.05)),
        (0.05, 0.05, False, Target(1, 0.05)),
    ],
)
def test_an_order_against_several_positions_closes_one_and_opens_nothing(
    oldest: float, younger: float, is_fifo: bool, target: Target
) -> None:
    book = make.bound_book(
        make.position(1, identifier=1, volume=oldest, time_msc=1),
        make.position(2, identifier=2, volume=younger, time_msc=2),
    )
    assert book.account is not None
    book.account = msgspec.structs.replace(book.account, fifo_close=is_fifo)
    assert target_of(book, Side.SELL, 0.1, "EURUSD") == target
    assert target_of(book, Side.BUY, 0.1, "EURUSD") == Target(0, 0.1)
