"""One sentence for a person, what restricts new orders, and ages that do not stand still."""

from __future__ import annotations

import pytest

from trueup.core.account.health import Restriction, health, restrictions
from trueup.core.account.trust import Reason, Unknown
from trueup.core.holds import BLOCKS_ENTRIES, Hold, HoldKind, age_of

SECOND_NS = 1_000_000_000
NOW_NS = 10_000 * SECOND_NS
BLIND = Unknown(Reason.OFFLINE, "No answer from the gateway", "an answer")


def held(
    kind: HoldKind = HoldKind.MISSING, what: str = "Ticket 7 left the list", since_ns: int = 0
) -> Hold:
    return Hold("EURUSD", what, "its deals", 7, kind, why="no deal yet", since_ns=since_ns)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (-5, "0 s ago"),
        (0, "0 s ago"),
        (1.999, "1 s ago"),
        (119.9, "119 s ago"),
        (120, "2 min ago"),
        (7199, "119 min ago"),
        (7200, "2 h ago"),
        (90_000, "25 h ago"),
    ],
)
def test_an_age_is_told_in_the_largest_unit_that_still_says_something(
    seconds: float, said: str
) -> None:
    assert age_of(NOW_NS, NOW_NS + round(seconds * SECOND_NS)) == said


def test_the_reason_of_a_hold_ages_and_stays_the_same_apart_from_that() -> None:
    hold = held(since_ns=NOW_NS)
    assert hold.reason == "Ticket 7 left the list, no deal yet"
    assert hold.reason_at(NOW_NS + 5 * SECOND_NS) == "Ticket 7 left the list 5 s ago, no deal yet"
    bare = Hold("EURUSD", "Ticket 7 left the list", "", since_ns=NOW_NS)
    assert bare.reason == "Ticket 7 left the list"
    assert bare.reason_at(NOW_NS) == "Ticket 7 left the list 0 s ago"
    # What has no beginning has no age.
    assert held().reason_at(NOW_NS) == held().reason


def test_everything_agrees_and_how_old_that_is() -> None:
    said = health(None, (), NOW_NS, NOW_NS + 2 * SECOND_NS)
    assert said == "Everything agrees (checked 2 s ago)."


def test_nothing_is_claimed_before_the_first_reading() -> None:
    assert health(None, (), None, NOW_NS) == "Not checked yet: no sync has been made."
    assert health(BLIND, (), None, NOW_NS) == (
        "Degraded: No answer from the gateway; the book is unchanged (last never checked)."
    )


def test_what_cannot_be_believed_comes_before_what_is_held() -> None:
    assert health(BLIND, (held(),), NOW_NS, NOW_NS + 3 * SECOND_NS) == (
        "Degraded: No answer from the gateway; the book is unchanged (last checked 3 s ago)."
    )


def test_the_first_hold_is_told_with_its_age_as_of_now_and_the_others_are_counted() -> None:
    now_ns = NOW_NS + 4 * SECOND_NS
    said = "EURUSD held: Ticket 7 left the list 4 s ago, no deal yet"
    rest = "everything else agrees (checked 4 s ago)."
    first = held(since_ns=NOW_NS)
    assert health(None, (first,), NOW_NS, now_ns) == f"{said}; {rest}"
    assert health(None, (first, held()), NOW_NS, now_ns) == f"{said}; 1 more held; {rest}"
    assert health(None, (first, *[held()] * 2), NOW_NS, now_ns) == f"{said}; 2 more held; {rest}"


# What restricts new orders.


@pytest.mark.parametrize("kind", HoldKind)
def test_what_could_double_a_position_or_come_to_nothing_restricts_its_symbol_alone(
    kind: HoldKind,
) -> None:
    found = restrictions(None, (held(kind),), (), NOW_NS)
    reason = "Ticket 7 left the list, no deal yet"
    of_gateway = kind is HoldKind.NO_SYMBOL
    wanted = (Restriction("EURUSD", reason, NOW_NS, "its deals", of_gateway),)
    assert found == (wanted if kind in BLOCKS_ENTRIES else ())


def test_a_reading_that_is_not_believed_restricts_the_whole_account_and_comes_first() -> None:
    account, symbol = restrictions(BLIND, (held(),), (), NOW_NS)
    assert account == Restriction("", "No answer from the gateway", NOW_NS, "an answer")
    assert symbol.symbol == "EURUSD"


def test_what_goes_on_keeps_the_moment_it_began() -> None:
    before = restrictions(BLIND, (held(),), (), NOW_NS)
    later = restrictions(BLIND, (held(what="Ticket 7 is still gone"),), before, NOW_NS + 5)
    assert [restriction.since_ns for restriction in later] == [NOW_NS, NOW_NS]
    assert later[1].reason == "Ticket 7 is still gone, no deal yet"
    # Another end, or another symbol, is another restriction.
    other = Hold("EURUSD", "x", "another end", kind=HoldKind.HALT)
    elsewhere = Hold("GBPUSD", "x", "its deals", kind=HoldKind.HALT)
    again = restrictions(None, (other, elsewhere), before, NOW_NS + 5)
    assert [restriction.since_ns for restriction in again] == [NOW_NS + 5, NOW_NS + 5]
