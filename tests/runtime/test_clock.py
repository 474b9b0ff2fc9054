"""Three clocks: dates may be set, ages and waiting may not; and what each counts of a sleep."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trueup.core.look.waited import Waited, by_dates
from trueup.runtime.time import machine_time
from trueup.runtime.time.clock import (
    LEAP_NS,
    AgeClock,
    ManualClock,
    Moment,
    SystemClock,
    moment,
    slept_since_ns,
)
from trueup.runtime.time.times import MOST_NOTED, Times

SECOND_NS = 1_000_000_000
DATE_NS = 1_700_000_000 * SECOND_NS


def passed(clock: ManualClock, since: Moment) -> tuple[float, float, float]:
    """Seconds that went by since: by date, by age and by waiting."""
    now = moment(clock)
    return tuple((later - earlier) / 1e9 for later, earlier in zip(now, since, strict=True))  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("happens", "date", "age", "waiting"),
    [
        (lambda clock: clock.advance(5), 5, 5, 5),
        (lambda clock: clock.sleep(5), 5, 5, 5),
        (lambda clock: clock.suspend(3600), 3600, 3600, 0),
        (lambda clock: clock.set_date(-7200), -7200, 0, 0),
        # A virtual machine that was paused finds its wall clock set right: that much is age.
        (lambda clock: clock.set_date(600), 600, 600, 0),
        (lambda clock: clock.set_date(0.9), 0.9, 0, 0),
    ],
)
def test_each_clock_counts_what_it_is_for(
    happens: Callable[[ManualClock], None], date: float, age: float, waiting: float
) -> None:
    clock = ManualClock(DATE_NS)
    since = moment(clock)
    happens(clock)
    assert passed(clock, since) == pytest.approx((date, age, waiting))
    assert slept_since_ns(since, clock) == pytest.approx((age - waiting) * 1e9)


def test_a_wall_clock_that_is_set_back_and_right_again_makes_nothing_younger() -> None:
    """What leaps ahead may have been a pause, so ages are too high then, and never too low."""
    clock = ManualClock(DATE_NS)
    since = moment(clock)
    clock.set_date(-7200)
    clock.advance(10)
    clock.set_date(7200)
    assert passed(clock, since) == (10, 7210, 10)


steps = st.lists(
    st.tuples(st.sampled_from(["advance", "suspend", "set_date"]), st.floats(-100_000, 100_000)),
    max_size=20,
)


@given(steps)
def test_whatever_happens_ages_and_waiting_never_go_back_and_an_age_is_never_too_low(
    story: list[tuple[str, float]],
) -> None:
    clock = ManualClock(DATE_NS)
    began = last = moment(clock)
    awake = real = 0.0
    for what, seconds in story:
        seconds = seconds if what == "set_date" else abs(seconds)
        getattr(clock, what)(seconds)
        awake += seconds if what == "advance" else 0
        real += 0 if what == "set_date" else seconds
        now = moment(clock)
        assert now.age_ns >= last.age_ns
        assert now.waiting_ns >= last.waiting_ns
        # Each step is cut to a whole nanosecond.
        assert (now.waiting_ns - began.waiting_ns) / 1e9 == pytest.approx(awake, abs=20e-9)
        assert (now.age_ns - began.age_ns) / 1e9 >= real - 1e-3
        last = now


# The machine's own.


def test_the_date_is_the_machines_also_when_that_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SystemClock()
    before = moment(clock)
    real = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: real() - 7200 * SECOND_NS)
    after = moment(clock)
    assert -7200 <= (after.date_ns - before.date_ns) / 1e9 < -7100
    assert 0 <= (after.age_ns - before.age_ns) / 1e9 < 100
    assert 0 <= (after.waiting_ns - before.waiting_ns) / 1e9 < 100


def test_a_pause_of_the_machine_shows_in_its_age_when_its_wall_clock_is_set_right() -> None:
    up, date = [100 * SECOND_NS], [DATE_NS]
    ages = AgeClock(lambda: up[0], lambda: date[0])
    first = ages.now_ns()
    date[0] += 600 * SECOND_NS
    assert ages.now_ns() - first == 600 * SECOND_NS
    date[0] -= 3600 * SECOND_NS
    up[0] += SECOND_NS
    assert ages.now_ns() - first == 601 * SECOND_NS
    # Time services slew, and that is no leap.
    date[0] += LEAP_NS
    assert ages.now_ns() - first == 601 * SECOND_NS


def test_a_leap_is_counted_once_whoever_asks() -> None:
    up, date = [100 * SECOND_NS], [DATE_NS]
    ages = AgeClock(lambda: up[0], lambda: date[0])
    first = ages.now_ns()
    date[0] += 600 * SECOND_NS
    found: list[int] = []
    threads = [
        threading.Thread(target=lambda: found.append(ages.now_ns() - first)) for _ in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(found) == {600 * SECOND_NS}


@pytest.mark.parametrize("read_ns", [machine_time.awake_ns, machine_time.uptime_ns])
def test_the_machines_steady_clocks_go_on_at_the_pace_of_time(
    read_ns: Callable[[], int],
) -> None:
    began, steady = read_ns(), time.perf_counter_ns()
    while time.perf_counter_ns() - steady < 60_000_000:
        assert read_ns() >= began
    assert 20_000_000 <= read_ns() - began < 30 * SECOND_NS
    assert read_ns() > 0


# How long ago something dated was.


def test_what_this_process_wrote_is_as_old_as_its_clocks_say_whatever_its_date() -> None:
    clock = ManualClock(DATE_NS)
    times = Times(clock)
    times.note(clock.now_ns())
    clock.suspend(100)
    clock.set_date(-7200)
    clock.advance(5)
    waited = times.at(moment(clock))
    assert (waited.waited_ns(DATE_NS), waited.age_of_ns(DATE_NS)) == (
        5 * SECOND_NS,
        105 * SECOND_NS,
    )
    assert times.age_of_ns(DATE_NS) == 105 * SECOND_NS


def test_what_an_earlier_process_wrote_counts_from_its_date_or_from_our_beginning() -> None:
    clock = ManualClock(DATE_NS)
    times = Times(clock)
    clock.advance(3)
    clock.suspend(7)
    waited = times.at(moment(clock))
    before, later = DATE_NS - 20 * SECOND_NS, DATE_NS + 3600 * SECOND_NS
    assert (waited.waited_ns(before), waited.age_of_ns(before)) == (23e9, 30e9)
    # The wall clock was set back between the two: it is as if it was written when we began.
    assert (waited.waited_ns(later), waited.age_of_ns(later)) == (3e9, 10e9)


def test_the_latest_of_two_that_have_one_date_counts() -> None:
    """A window is not ended by what happened before."""
    clock = ManualClock(DATE_NS)
    times = Times(clock)
    times.note(DATE_NS)
    clock.advance(50)
    clock.set_date(-50)
    times.note(clock.now_ns())
    clock.advance(1)
    assert times.at(moment(clock)).waited_ns(DATE_NS) == SECOND_NS


def test_notes_are_bounded() -> None:
    clock = ManualClock(DATE_NS)
    times = Times(clock)
    for number in range(MOST_NOTED + 10):
        times.note(DATE_NS + number)
    assert len(times.at(moment(clock)).noted) == MOST_NOTED


@given(st.integers(0, 10**12), st.integers(0, 10**12))
def test_without_notes_dates_have_to_do(asked_ns: int, at_ns: int) -> None:
    waited = by_dates(asked_ns)
    assert waited.waited_ns(at_ns) == waited.age_of_ns(at_ns) == max(0, asked_ns - at_ns)
    assert isinstance(waited, Waited)
