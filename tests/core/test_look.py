"""What one look at the broker tells, and how a difference is held: the sentences in full."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.support import make
from trueup.core.book import events
from trueup.core.book.event_ids import step_id
from trueup.core.holds import Hold, HoldKind
from trueup.core.look.outcome import Outcome, broken, late, newer, settling, unread, where_it_broke
from trueup.core.look.settle_window import LONGEST_MS
from trueup.core.look.waited import by_dates
from trueup.core.model import Deal, Entry, History, PastOrder, RowFault, Side, Snapshot
from trueup.core.policy import Action

P = make.position(99, identifier=7, volume=0.2)
ORDER = make.pending(50)
SETTLE_NS = make.SECOND_NS  # what `make.look_at` has


# How long ago we touched it.


@pytest.mark.parametrize(
    ("ago_ns", "is_settling"),
    [(0, True), (SETTLE_NS - 1, True), (SETTLE_NS, False)],
)
def test_it_settles_for_its_window_and_no_longer(ago_ns: int, *, is_settling: bool) -> None:
    assert make.look_at().is_settling(make.NOW_NS - ago_ns) is is_settling


def test_what_we_touched_after_the_question_does_not_settle() -> None:
    """It is newer than the reading, and another rule holds it."""
    later_ns = make.NOW_NS + 1
    waited = msgspec.structs.replace(by_dates(make.NOW_NS), noted={later_ns: (later_ns, later_ns)})
    assert not make.look_at(waited=waited).is_settling(later_ns)


def test_what_we_never_touched_does_not_settle() -> None:
    assert not make.look_at(asked_ns=0, waited=by_dates(0)).is_settling(0)


@pytest.mark.parametrize(
    ("ago_ns", "settle_ns", "is_recent"),
    [
        (LONGEST_MS * 1_000_000 - 1, SETTLE_NS, True),
        (LONGEST_MS * 1_000_000, SETTLE_NS, False),
        (0, SETTLE_NS, True),
        (0, 0, False),
    ],
)
def test_it_is_recent_for_the_longest_time_that_any_broker_takes(
    ago_ns: int, settle_ns: int, *, is_recent: bool
) -> None:
    assert make.look_at(settle_ns=settle_ns).is_recent(make.NOW_NS - ago_ns) is is_recent


# What it knows of deals and orders.

ENTRY = make.deal(1, 7, Side.BUY, 0.2, order=7)


def with_history(*deals: Deal) -> Snapshot:
    return make.proven(history=History(60, deals=deals))


@pytest.mark.parametrize(
    ("seen", "found"),
    [
        (make.proven(deals=(ENTRY,), explained=frozenset({7})), (1,)),
        (make.proven(deals=(ENTRY,)), None),
        (make.proven(explained=frozenset({7})), ()),
        (with_history(ENTRY), (1,)),
        # The history begins within the position: what came before is not known.
        (with_history(make.deal(2, 7, Side.BUY, 0.2, order=8)), None),
        (with_history(make.deal(2, 7, Side.SELL, 0.2, order=7, entry=Entry.OUT)), None),
        (with_history(), None),
        (make.proven(), None),
        (make.snapshot(), None),
    ],
)
def test_deals_are_known_where_they_were_asked_for_or_the_history_has_all(
    seen: Snapshot, found: tuple[int, ...] | None
) -> None:
    history, known = make.look_at(seen).history(7), make.look_at(seen).compare(7)
    assert (history is None) == (known is None) == (found is None)
    if history is not None and known is not None:
        assert tuple(deal.ticket for deal in history.deals) == found
        assert known.history == history


def test_deals_are_compared_with_those_of_the_same_position() -> None:
    book = make.bound_book(make.position(7))
    book.apply(
        events.DealsRecorded(
            at_ns=1, position=make.position(7), deals=(1,), realised_units=5, because="x"
        )
    )
    known = make.look_at(with_history(ENTRY), book=book).compare(7)
    assert known is not None
    assert (known.known.tickets, known.known.realised_units, known.news) == ((1,), 5, ())


def test_without_evidence_nothing_is_known_of_the_account() -> None:
    bare, told = make.look_at(make.snapshot(P)), make.look_at(make.proven(P))
    assert (bare.server_time_msc, bare.money_digits, bare.late_deals) == (0, None, None)
    assert (bare.is_shared, bare.past_order(5)) == (False, None)
    assert (told.server_time_msc, told.money_digits) == (make.NOW_NS // 1_000_000, 2)
    assert (told.late_deals, told.is_shared, told.past_order(5)) == (None, False, None)
    assert make.look_at(with_history(ENTRY)).late_deals == (ENTRY,)
    assert make.look_at(make.proven(account=make.NETTING)).is_shared
    assert bare.listed == told.listed == {7: P}


def test_the_end_of_an_order_is_that_orders() -> None:
    ends = (PastOrder(4, "filled"), PastOrder(5, "canceled"))
    seen = make.look_at(make.proven(past_orders=ends))
    assert (seen.past_order(5), seen.past_order(6)) == (ends[1], None)


def test_an_order_that_stands_in_for_an_unknown_one_is_not_ours() -> None:
    book = make.book_of(make.position(7))
    book.apply(make.created("A", Side.BUY))
    book.apply(make.filled("A", 8, Side.BUY, 0.01, 1.0))
    seen = make.look_at(book=book)
    assert seen.own_order(8) is book.orders["A"]
    assert (seen.own_order(7), seen.own_order(9)) == (None, None)


def test_a_person_lets_go_only_of_what_was_asked_for() -> None:
    approved = {"x": "Mary"}
    assert make.look_at(approved=approved).released_by("x") == "Mary"
    assert make.look_at(approved=approved).released_by("y") == ""
    assert make.look_at(approved=approved, is_final=False).released_by("x") == ""


# A row that cannot be read may be the one that is not in the list.


@pytest.mark.parametrize(
    ("account", "symbol", "ticket", "may_be"),
    [
        (make.ACCOUNT, "EURUSD", 99, True),
        (make.ACCOUNT, "", 0, True),
        (make.ACCOUNT, "EURUSD", 0, True),
        (make.ACCOUNT, "", 99, True),
        (make.ACCOUNT, "EURUSD", 98, False),
        (make.ACCOUNT, "EURUSD", 1, False),
        (make.ACCOUNT, "GBPUSD", 99, False),
        (make.ACCOUNT, "GBPUSD", 0, False),
        # On a netting account the ticket says nothing: it may have changed.
        (make.NETTING, "EURUSD", 98, True),
        (make.NETTING, "", 98, True),
        (make.NETTING, "GBPUSD", 98, False),
    ],
)
def test_a_row_that_cannot_be_read_may_be_this_one(
    account: Any, symbol: str, ticket: int, *, may_be: bool
) -> None:
    fault, other = RowFault("x", symbol, ticket), RowFault("y", "USDJPY", 99)
    seen = msgspec.structs.replace(make.proven(account=account), faults=(other, fault))
    assert make.look_at(seen).may_be_unread(P) == (fault if may_be else None)


def test_what_may_be_unread_waits_for_a_whole_reading() -> None:
    fault = RowFault("row 3: its volume is no number", "EURUSD", 99)
    said = "is not in the part of the list that can be read (row 3: its volume is no number)"
    assert unread(P, fault) == Hold(
        "EURUSD", f"Ticket 99 {said}", "a whole reading", 7, HoldKind.PARTIAL
    )
    assert unread(ORDER, fault) == Hold(
        "EURUSD", f"Ticket 50 {said}", "a whole reading", 50, HoldKind.PARTIAL
    )


# Other holds.


def test_what_settles_says_until_when() -> None:
    hold = settling(P, "it moves", make.NOW_NS - 300_000_000, make.look_at())
    assert hold == Hold(
        "EURUSD",
        "it moves",
        "a reading 1000 ms after we touched it",
        7,
        HoldKind.SETTLING,
        until_ns=make.NOW_NS + 700_000_000,
    )


def test_what_is_newer_here_waits_for_the_next_reading() -> None:
    said = "Ticket 99 changed here after the broker was asked"
    assert newer(P) == Hold("EURUSD", said, "the next reading", 7, HoldKind.NEWER)


def test_a_late_list_waits_for_one_that_agrees() -> None:
    until = "a list that agrees with what we did"
    assert late(P, "it is late") == Hold("EURUSD", "it is late", until, 7, HoldKind.SETTLING)


def outer() -> None:
    inner()


def inner() -> None:
    raise LookupError("no such thing")


def test_what_a_rule_raised_is_told_with_its_place() -> None:
    with pytest.raises(LookupError) as raised:
        outer()
    line = inner.__code__.co_firstlineno + 1
    where = f"LookupError: no such thing (test_look.py line {line})"
    assert where_it_broke(raised.value) == where
    for row, identifier in ((P, 7), (ORDER, 50)):
        assert broken(row, raised.value) == Hold(
            "EURUSD",
            f"Ticket {row.ticket} could not be judged, {where}",
            "a reading that can be judged; please report this line",
            identifier,
            HoldKind.BROKEN,
        )


def test_a_place_on_windows_is_told_by_the_name_of_the_file_too() -> None:
    code = compile("1 / 0", "C:\\some where\\rules.py", "exec")
    with pytest.raises(ZeroDivisionError) as raised:
        exec(code, {})
    assert where_it_broke(raised.value).endswith("division by zero (rules.py line 1)")


def test_an_error_that_was_never_raised_has_no_place() -> None:
    assert where_it_broke(ValueError("x")) == "ValueError: x"


# What differences come to.


def some_outcome(number: int) -> Outcome:
    outcome = Outcome()
    outcome.events.append(events.PositionFound(at_ns=number, position=P))
    outcome.holds.append(late(P, str(number)))
    outcome.questions.append(number)
    outcome.order_questions.append(10 + number)
    outcome.rechecks.append(20 + number)
    return outcome


def told(outcome: Outcome) -> tuple[Any, ...]:
    times = [event.at_ns for event in outcome.events]
    holds = [int(hold.what) if hold.what.isdigit() else hold.what for hold in outcome.holds]
    return times, holds, outcome.questions, outcome.order_questions, outcome.rechecks


def test_outcomes_are_added_in_order() -> None:
    outcome = some_outcome(1)
    outcome.add(some_outcome(2))
    assert told(outcome) == ([1, 2], [1, 2], [1, 2], [11, 12], [21, 22])
    outcome.put_first(some_outcome(3))
    assert told(outcome) == ([3, 1, 2], [3, 1, 2], [1, 2], [11, 12], [21, 22])


def test_the_history_is_wanted_since_the_earliest_time_that_a_rule_names() -> None:
    outcome, other = Outcome(), Outcome()
    outcome.add(other)
    assert outcome.since_msc == 0
    for since_msc, wanted in ((50, 50), (70, 50), (30, 30)):
        outcome.want_history(since_msc)
        assert outcome.since_msc == wanted
    other.want_history(20)
    outcome.add(other)
    assert outcome.since_msc == 20


def test_a_rule_that_breaks_leaves_nothing_but_its_hold() -> None:
    outcome = some_outcome(1)

    def rule() -> None:
        outcome.add(some_outcome(2))
        inner()

    assert outcome.guard(P, rule) is False
    times, holds, *rest = told(outcome)
    assert (times, rest) == ([1], [[1], [11], [21]])
    assert holds[0] == 1
    assert [hold.kind for hold in outcome.holds] == [HoldKind.SETTLING, HoldKind.BROKEN]
    assert outcome.guard(P, lambda: None) is True


CHANGE = events.PositionFound(at_ns=5, position=P)


@pytest.mark.parametrize(
    ("action", "approved", "is_taken"),
    [
        (Action.APPLY, {}, True),
        (Action.ASK, {step_id("drift", P): "Mary"}, True),
        (Action.ASK, {step_id("drift", ORDER): "Mary"}, False),
        (Action.ALERT, {step_id("drift", P): "Mary"}, False),
    ],
)
def test_a_change_is_taken_as_the_policy_and_a_person_say(
    action: Action, approved: dict[str, str], *, is_taken: bool
) -> None:
    outcome = Outcome()
    seen = make.look_at(approved=approved)
    assert outcome.propose("drift", P, action, seen, CHANGE, CHANGE) is is_taken
    assert outcome.events == ([CHANGE, CHANGE] if is_taken else [])
    assert len(outcome.holds) == (not is_taken)


STOPS = msgspec.structs.replace(P, sl=1.05)


@pytest.mark.parametrize(
    ("kind", "row", "figures"),
    [
        ("drift", P, "drift on ticket 99, LONG 0.20L @ 1.0543,"),
        ("pending", ORDER, "pending on ticket 50, BUY LIMIT 0.10L @ 1.05,"),
        (
            "protection",
            STOPS,
            "protection on ticket 99, LONG 0.20L, stop loss 1.05, take profit none,",
        ),
    ],
)
def test_what_waits_for_a_person_says_what_they_would_say_yes_to(
    kind: str, row: Any, figures: str
) -> None:
    identifier, wanted = 50 if row is ORDER else 7, step_id(kind, row)
    outcome = Outcome()
    outcome.propose(kind, row, Action.ASK, make.look_at(), CHANGE)
    outcome.propose(kind, row, Action.ALERT, make.look_at(), CHANGE)
    assert outcome.holds == [
        Hold(
            "EURUSD",
            f"{figures} waits for approval",
            f"trueup approve {wanted}",
            identifier,
            HoldKind.ASK,
            id=wanted,
        ),
        Hold(
            "EURUSD",
            f"{figures} is shown and not corrected, as the policy says",
            "a person",
            identifier,
            HoldKind.ALERT,
        ),
    ]
