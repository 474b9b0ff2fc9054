"""When the broker is asked next: by the interval; soon, then ever later, for what is to come."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import make
from trueup.core.book import events
from trueup.core.holds import Hold, HoldKind
from trueup.core.sync.plan import Plan
from trueup.runtime.sync.schedule import LATE_NS, SyncSchedule

SECOND = 1_000_000_000
INTERVAL_SEC = 3_600.0
QUIET = Plan()
AWAITS = Plan(questions=(7,))
NEWS = Plan(events=(events.PositionFound(at_ns=0, position=make.position(8)),), questions=(7,))


def looks(
    found: Plan, count: int, table: SyncSchedule, interval_sec: float = INTERVAL_SEC
) -> list[float]:
    """Look when it is due, `count` times; return the seconds from each look to the next."""
    gaps = []
    for _ in range(count):
        asked_ns = table.due_ns
        table.believed(asked_ns, interval_sec, found)
        gaps.append((table.due_ns - asked_ns) / SECOND)
    return gaps


def test_when_nothing_is_awaited_it_is_the_interval() -> None:
    assert looks(QUIET, 3, SyncSchedule(0), 15.0) == [15.0] * 3


def test_what_never_comes_is_asked_for_every_second_at_first_and_then_ever_less() -> None:
    gaps = looks(AWAITS, 60, SyncSchedule(0))
    assert gaps[:10] == [1.0] * 10
    assert gaps[10:14] == [10.0, 20.0, 40.0, 60.0]
    assert set(gaps[13:]) == {60.0}


def test_the_interval_is_never_exceeded_for_what_is_awaited() -> None:
    assert max(looks(AWAITS, 30, SyncSchedule(0), 15.0)) == 15.0
    assert max(looks(AWAITS, 30, SyncSchedule(0), 0.5)) == 0.5


@pytest.mark.parametrize(("interval_sec", "gaps"), [(15.0, [15, 30, 60, 60]), (300.0, [300, 300])])
def test_failures_are_asked_again_ever_later_and_never_sooner_than_the_interval(
    interval_sec: float, gaps: list[float]
) -> None:
    table = SyncSchedule(0)
    for gap in gaps:
        now_ns = table.due_ns
        table.failed(now_ns, interval_sec)
        assert (table.due_ns - now_ns) / SECOND == gap


@pytest.mark.parametrize(
    "found", [NEWS, Plan(questions=(7, 9)), Plan(order_questions=(7,), questions=(8,))]
)
def test_anything_new_begins_it_anew(found: Plan) -> None:
    table = SyncSchedule(0)
    assert looks(AWAITS, 20, table)[-1] == 60.0
    assert looks(found, 1, table) == [1.0]
    assert looks(AWAITS, 2, table) == [1.0, 1.0]


def test_a_gateway_that_is_back_begins_it_anew() -> None:
    table = SyncSchedule(0)
    looks(AWAITS, 20, table)
    table.failed(table.due_ns, INTERVAL_SEC)
    assert looks(AWAITS, 1, table) == [1.0]


def test_what_has_come_is_awaited_no_more_and_begins_anew_when_it_is_awaited_again() -> None:
    table = SyncSchedule(0)
    looks(AWAITS, 20, table)
    assert looks(QUIET, 1, table) == [INTERVAL_SEC]
    assert table.awaited == {}
    assert looks(AWAITS, 1, table) == [1.0]


@pytest.mark.parametrize("kind", [HoldKind.MISSING, HoldKind.SETTLING])
def test_a_hold_without_an_end_is_awaited_too_and_one_with_an_end_ends_then(kind: HoldKind) -> None:
    table = SyncSchedule(0)
    looks(Plan(holds=(Hold("EURUSD", "", "", 5, kind),)), 1, table)
    assert table.awaited == {5: 0}
    table = SyncSchedule(0)
    ends = Hold("EURUSD", "", "", 5, kind, until_ns=SECOND // 4)
    assert looks(Plan(holds=(ends,)), 1, table) == [0.25]
    assert table.awaited == {}


def test_what_is_overdue_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    table = SyncSchedule(0)
    looks(AWAITS, 10, table)
    assert (table.overdue(LATE_NS - 1), caplog.messages) == ({}, [])
    looks(AWAITS, 50, table)
    assert table.overdue(table.due_ns) == {7: 0}
    (line,) = caplog.messages
    assert line.startswith("[WAITING] Ticket 7: the broker has not shown its deals for 10 s;")
    assert caplog.records[0].levelno == logging.WARNING
    # Another one is news of its own, and one that comes back is late anew.
    looks(QUIET, 1, table)
    looks(AWAITS, 20, table)
    assert len(caplog.messages) == 2


@given(st.lists(st.sampled_from([QUIET, AWAITS, NEWS]), min_size=1), st.floats(0.1, 1e6))
def test_a_look_is_always_due_within_the_interval_and_never_at_once(
    plans: list[Plan], interval_sec: float
) -> None:
    table = SyncSchedule(0)
    for found in plans:
        (gap,) = looks(found, 1, table, interval_sec)
        assert min(1.0, interval_sec) <= gap + 1e-6
        assert gap <= interval_sec + 1e-6


def test_a_clock_that_was_set_back_does_not_stop_it() -> None:
    table = SyncSchedule(100 * SECOND)
    looks(AWAITS, 20, table)
    table.believed(0, INTERVAL_SEC, AWAITS)
    assert 0 < table.due_ns <= INTERVAL_SEC * SECOND


def test_failures_double_the_interval_up_to_a_minute() -> None:
    table, gaps = SyncSchedule(0), []
    for _ in range(8):
        now_ns = table.due_ns
        table.failed(now_ns, 1.0)
        gaps.append((table.due_ns - now_ns) / SECOND)
        assert not table.takes_hints(now_ns)
        assert table.takes_hints(now_ns + SECOND)
    assert gaps == [1, 2, 4, 8, 16, 32, 60, 60]


def test_an_interval_of_nothing_is_due_at_once_and_backs_off_all_the_same() -> None:
    table, gaps = SyncSchedule(0), []
    (gap,) = looks(QUIET, 1, table, 0.0)
    assert gap == 0
    for _ in range(12):
        now_ns = table.due_ns
        table.failed(now_ns, 0.0)
        gaps.append((table.due_ns - now_ns) / SECOND)
    assert gaps[:4] == [0.1, 0.2, 0.4, 0.8]
    assert gaps[-1] == 60
    now_ns = table.due_ns
    table.failed(now_ns, 0.0, is_soon=True)
    assert table.due_ns > now_ns
