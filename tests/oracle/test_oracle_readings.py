"""What a bot believes, and what a strategy is told, are judged by what was true of the terminal."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.oracle.histories import LOGIN, LOT, SCOPE, SEC, History, held, opened
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.lab.facts import facts

ROWS = ((100, 0.1),)


def read(history: History, number: int, epoch: str = "g1", **fields: Any) -> History:
    """Serve a reading, and let it come to the bot."""
    known = {"login": LOGIN, "rows": ROWS, "digest": "d", "server_time_msc": 1_000 * number}
    reading = ("A1", epoch, number)
    history.tell(facts.Served, reading=reading, **{**known, **fields})
    return history.tell(facts.Heard, bot="A", reading=reading)


def believed(history: History, number: int, epoch: str = "g1", **fields: Any) -> list[str]:
    """Let the bot believe a reading, and return what is said."""
    asked = {"asked_ns": history.now_ns - 2 * SEC, "reading": ("A1", epoch, number), "rows": ROWS}
    history.synced(**{**asked, **fields})
    return [said for number, said in history.judged() if number == 3]


def bound() -> History:
    """A bot that is bound to its account, and has heard a reading."""
    return read(History().start().row("AccountBound", login=LOGIN), 1)


def test_a_true_reading_is_rightly_believed() -> None:
    assert believed(read(bound(), 2), 2) == []


@pytest.mark.parametrize(
    ("served", "word"),
    [
        ({"login": 1}, "of the account 1"),
        ({"says_connected": False}, "no connection"),
        ({"rows": ()}, "and the terminal listed"),
        ({"contradicts": True}, "figures"),
        ({"server_time_msc": -600}, "went back"),
        ({"epoch": "g2", "catches_up": True, "digest": "e"}, "not caught up"),
    ],
)
def test_a_reading_that_was_not_true_is_wrongly_believed(served: dict[str, Any], word: str) -> None:
    (said,) = believed(read(bound(), 2, **served), 2, served.get("epoch", "g1"))
    assert word in said


@pytest.mark.parametrize(("is_heard", "is_wrong"), [(True, True), (False, False)])
def test_an_outage_that_only_a_lost_reply_told_of_is_not_known(
    *, is_heard: bool, is_wrong: bool
) -> None:
    """Seed 9046959: the network was cut, and the terminal lost its trade server meanwhile."""
    history = bound()
    if is_heard:
        read(history, 2, says_connected=False, outages=1)
    else:
        facts_of = {"login": LOGIN, "rows": ROWS, "digest": "d", "server_time_msc": 2_000}
        history.tell(
            facts.Served, reading=("A1", "g1", 2), says_connected=False, outages=1, **facts_of
        )
    read(history, 3, catches_up=True, outages=1)
    assert bool(believed(history, 3)) is is_wrong


def test_an_old_list_that_no_figure_contradicts_may_be_believed() -> None:
    """It is as long as the true list, and comes to the account's own result."""
    other = ((101, 0.1),)
    assert believed(read(bound(), 2, rows=other, fits=True), 2) == []
    assert believed(read(bound(), 2, rows=other), 2) != []


@pytest.mark.parametrize("first", [{"says_connected": False}, {"epoch": "g0"}, {"outages": 0}])
def test_what_was_listed_while_the_terminal_was_away_confirms_nothing(
    first: dict[str, Any],
) -> None:
    """However much the first list after it is like the last one before."""
    history = read(History().start().row("AccountBound", login=LOGIN), 1, **first)
    (said,) = believed(read(history, 2, catches_up=True, outages=1), 2)
    assert "not caught up" in said


def test_a_terminal_that_catches_up_is_believed_when_two_readings_are_alike() -> None:
    history = read(bound(), 1, "g2", catches_up=True, digest="e")
    assert believed(read(history, 2, "g2", catches_up=True, digest="e"), 2, "g2") == []


def test_a_reading_that_is_older_than_another_one_is_wrongly_believed() -> None:
    history = bound()
    old = ("A1", "g1", 1)
    read(history, 2)
    history.tell(facts.Heard, bot="A", reading=old)
    (said,) = believed(history, 1, asked_ns=0)
    assert "older" in said


def test_a_reading_of_before_its_question_is_wrongly_believed() -> None:
    history = read(bound(), 2)
    (said,) = believed(history, 2, asked_ns=history.now_ns)
    assert "before it had asked" in said


def test_a_reading_that_proves_nothing_is_wrongly_believed_by_a_bound_book() -> None:
    assert believed(bound(), 2, reading=None) != []
    assert believed(History().start(), 2, reading=None) == []


def told(history: History, **fields: Any) -> list[str]:
    """Tell the strategy something, and return what is said."""
    history.hand_out(**{"flat": False, "current": False, **fields})
    return [said for number, said in history.judged() if number == 10]


def test_nothing_may_be_opened_before_a_look_was_believed() -> None:
    assert told(bound(), may_open=True) != []
    assert told(bound(), may_open=False) == []
    assert told(bound().synced(), may_open=True) == []


def test_nothing_may_be_opened_after_a_look_that_was_not_believed() -> None:
    assert told(bound().synced().synced(believed=False), may_open=True) != []


def test_nothing_may_be_opened_while_a_trade_is_in_doubt() -> None:
    def doubt(**fields: Any) -> History:
        history = bound().synced().intent(**fields)
        return history.row("OrderInDoubt", order_id="O1", error="no reply")

    assert told(doubt(), may_open=True) != []
    assert told(doubt(kind="modify", position=100), may_open=True) == []
    assert told(doubt(), may_open=True, symbol="EURUSD") != []
    assert told(doubt(), may_open=True, symbol="GBPUSD") == []


def test_an_age_counts_from_when_the_terminal_was_truly_read() -> None:
    history = read(bound(), 2)
    history.synced(asked_ns=history.now_ns, reading=("A1", "g1", 2), rows=ROWS)
    assert told(history, current=True, max_age_ns=2 * SEC) != []
    assert told(history, current=True, max_age_ns=9 * SEC)[1:] == []


def flat_after(
    *between: int, kind: str = "SUSPENDED_LONG", history: History | None = None
) -> list[str]:
    """Let our order close a position that the broker opens again, and call the book flat.

    A fault strikes after the close, and looks follow after these seconds.
    """
    history = (history or opened()).intent("O2", position=100, side="sell")
    sold: dict[str, Any] = {"symbol": "EURUSD", "side": "sell", "volume": 0.1, "price": 1.1}
    history.row("OrderFilled", order_id="O2", ticket=100, **sold)
    history.tell(facts.Faulted, kind=kind, what="the machine sleeps")
    for seconds in between:
        history.now_ns += seconds * SEC
        history.synced(asked_ns=history.now_ns)
    return told(history, flat=True, current=True)


def test_a_bot_that_slept_has_its_time_for_the_list_to_follow_awake() -> None:
    assert flat_after(120) == []
    assert flat_after(120, kind="PARTITION") != []
    # Once awake, the bot has no more time than any other.
    assert flat_after(120, 20) != []


def test_a_sleep_after_the_close_counts_also_when_no_look_came_after_the_sleep_before() -> None:
    """Seed 9057456: the machine slept, the bot closed its position, and the machine slept again."""
    history = opened()
    assert flat_after(history=history) == []
    history.now_ns += 8 * SEC
    assert flat_after(120, history=history) == []
    history.now_ns += 20 * SEC
    history.synced(asked_ns=history.now_ns)
    assert told(history, flat=True, current=True) != []


@pytest.mark.parametrize(("rows", "is_wrong"), [(ROWS, True), ((), False)])
def test_a_bot_is_flat_by_a_list_that_has_nothing_at_all(
    rows: tuple[tuple[int, float], ...], *, is_wrong: bool
) -> None:
    """Seed 9044022: the terminal had lost its link unnoticed, and what was missing was filled."""
    history = bound()
    history.tell(facts.PositionShown, login=LOGIN, position=held())
    history.now_ns += 120 * SEC
    read(history, 2, rows=rows)
    history.synced(asked_ns=history.now_ns - SEC, reading=("A1", "g1", 2), rows=rows)
    said = [one for one in told(history, flat=True, current=True) if "flat" in one]
    assert bool(said) is is_wrong


def shown(history: History, sl: float, tp: float) -> History:
    """Let the broker show the position with other stops."""
    return history.tell(facts.PositionShown, login=LOGIN, position=held(sl=sl, tp=tp))


def stops_set(sl: float = 1.0, tp: float = 1.2) -> list[str]:
    """Let the broker set stops where 1.0 and 1.2 were meant, and the book record that."""
    history = opened().intent("O2", kind="modify", position=100, sl=1.0, tp=1.2)
    shown(history, sl, tp).requested(0, "", action=6, position=100, sl=sl, tp=tp)
    history.row("OrderApplied", order_id="O2")
    return [said for number, said in history.judged() if number == 2]


def test_stops_that_were_meant_are_rightly_set_and_others_are_not() -> None:
    assert stops_set() == []
    other, never = stops_set(tp=0.0)
    assert "none meant that" in other
    assert "never had the stops" in never


@pytest.mark.parametrize("is_lost", [True, False])
def test_an_order_of_the_record_may_name_a_position_by_the_ticket_that_it_had(
    *, is_lost: bool
) -> None:
    """Seed 21038926: an earlier copy of the journal was put back, and the position has ended."""
    history = opened()
    copied = history.position
    again = held(ticket=101, sl=1.0, tp=1.2)
    history.tell(facts.PositionShown, login=LOGIN, position=again)
    history.stopped()
    change: dict[str, Any] = {"kind": "modify", "sl": 1.0, "tp": 1.2, "token": ""}
    if is_lost:
        history.intent("O2", position=100, **change)
        history.position = copied
        history.tell(facts.JournalLost, position=copied, put_back=True)
    history.intent("O2", position=101, **change)
    history.row("OrderApplied", order_id="O2")
    said = [one for _, one in history.judged() if "never had the stops" in one]
    assert bool(said) is not is_lost


def stops_after_a_stop(
    *, netting: bool = True, is_known: bool = False, symbol: str = "EURUSD"
) -> list[str]:
    """Let our fill open a position after a stop closed the first, and set stops of the first.

    The book takes the fill for a reversal, unless the journal has the end of the first position.
    """
    history = opened().stopped()
    if is_known:
        history.closed()
    history.intent("O2", side="buy", token="tbcdefghi").send("O2").execute(200, "tbcdefghi")
    history.filled("O2", 200)
    history.intent("O3", kind="modify", position=100, sl=1.0, tp=1.2)
    second = held(200, sl=1.0, tp=1.2, symbol=symbol)
    history.tell(facts.PositionShown, login=LOGIN, position=second)
    history.requested(0, "", action=6, position=200, sl=1.0, tp=1.2)
    history.row("OrderApplied", order_id="O3")
    scope = msgspec.structs.replace(SCOPE, netting=netting)
    return [said for number, said in history.judged(scope=scope) if number == 2]


def test_stops_of_a_position_that_a_stop_closed_unseen_are_those_of_the_next_one() -> None:
    assert stops_after_a_stop() == []


@pytest.mark.parametrize("other", [{"netting": False}, {"is_known": True}, {"symbol": "GBPUSD"}])
def test_stops_of_another_position_are_wrongly_set(other: dict[str, Any]) -> None:
    assert any("none meant that" in said for said in stops_after_a_stop(**other))


@pytest.mark.parametrize(("named", "is_known"), [(200, True), (201, True), (202, False)])
def test_on_a_netting_account_a_position_may_be_named_by_any_fill_of_ours_that_turned_it(
    named: int, is_known: bool
) -> None:
    """A pending order opened the position unseen, and the bot knows it by its first own fill."""
    history = History().start().synced()
    for ticket, token in ((200, "tbcdefghi"), (201, "tcdefghij")):
        order_id = f"O{ticket}"
        history.intent(order_id, side="buy", token=token).send(order_id).execute(ticket, token)
        history.filled(order_id, ticket)
        turned = held(100, ticket=ticket)
        history.tell(facts.PositionShown, login=LOGIN, position=turned)
    history.intent("O9", kind="modify", position=named, sl=1.0, tp=1.2)
    turned = held(100, ticket=201, sl=1.0, tp=1.2)
    history.tell(facts.PositionShown, login=LOGIN, position=turned)
    history.requested(0, "", action=6, position=201, sl=1.0, tp=1.2)
    said = history.judged(scope=msgspec.structs.replace(SCOPE, netting=True))
    assert any("none meant that" in one for _, one in said) is not is_known


@pytest.mark.parametrize(("symbol", "is_known"), [("EURUSD", True), ("GBPUSD", False)])
def test_on_a_netting_account_a_position_may_be_named_by_our_fill_that_closed_the_one_before(
    symbol: str, *, is_known: bool
) -> None:
    """Seed 9048338: the book did not have the position that our fill closed."""
    history = History().start().synced()
    history.tell(facts.PositionShown, login=LOGIN, position=held(100))
    for ticket, token in ((200, "tbcdefghi"), (201, "tcdefghij")):
        order_id = f"O{ticket}"
        history.intent(order_id, side="sell", token=token).send(order_id)
        history.requested(ticket, token, buys=False)
        history.deal(3_000 + ticket, ticket, closes=100 if ticket == 200 else 201)
        history.filled(order_id, ticket, side="sell")
    history.tell(facts.PositionLeft, login=LOGIN, identifier=100)
    history.intent("O9", kind="modify", position=200, sl=1.0, tp=1.2)
    opened_next = held(201, sl=1.0, tp=1.2, symbol=symbol)
    history.tell(facts.PositionShown, login=LOGIN, position=opened_next)
    history.requested(0, "", action=6, position=201, sl=1.0, tp=1.2)
    said = history.judged(scope=msgspec.structs.replace(SCOPE, netting=True))
    assert any("none meant that" in one for _, one in said) is not is_known


def fill(price: float) -> list[str]:
    """Record the fill of an order that was filled at 1.1."""
    history = History().start().synced().intent().send().execute().filled(price=price)
    return [said for number, said in history.judged() if number == 2]


def test_a_fill_is_recorded_at_the_price_of_its_deals() -> None:
    assert fill(1.1) == []
    assert len(fill(1.1001)) == 1


def exit_told(**told: Any) -> list[str]:
    """Explain an exit that one deal made, 0.1 lots at 1.1 by a stop loss."""
    ended = {"price": 1.1, "volume": 0.1, "reason": "by its stop loss", "deals": [2_100]}
    history = opened().stopped().closed(ended={**ended, **told})
    return [said for number, said in history.judged() if number == 7]


def test_price_lots_and_reason_of_an_exit_are_those_of_its_deals() -> None:
    assert exit_told() == []
    assert len(exit_told(price=1.2)) == 1
    assert len(exit_told(volume=0.2)) == 1
    assert len(exit_told(reason="by a program")) == 1


def left_by_a_fill(reason: int, looks: int = 0) -> list[str]:
    """A deal makes the position larger, and an order then closes the lots that the book had."""
    history = opened()
    deal: dict[str, Any] = {"login": LOGIN, "ticket": 950, "order": 151, "identifier": 100}
    deal |= {"symbol": "EURUSD", "buys": True, "units": LOT, "price": 1.1, "entry": 0}
    history.tell(facts.DealBooked, **deal, reason=reason, result_units=0)
    for _ in range(looks):
        history.look()
    history.filled(ticket=152, side="sell").book = []
    return [said for number, said in history.look().judged() if number == 3]


def test_our_close_of_a_position_split_unseen_leaves_the_rest_to_the_next_reading() -> None:
    left = ["position 100 left A's book, and it is open at the broker"]
    assert left_by_a_fill(mt5.DEAL_REASON_SPLIT) == []
    assert left_by_a_fill(mt5.DEAL_REASON_SPLIT, looks=1) == left
    assert left_by_a_fill(mt5.DEAL_REASON_EXPERT) == left
