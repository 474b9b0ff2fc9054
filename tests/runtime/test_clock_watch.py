"""A leap of the wall clock is told once, with what follows the clock and what to do."""

from __future__ import annotations

import pytest

from trueup.runtime.time.clock import ManualClock
from trueup.runtime.time.clock_watch import ClockWatch


@pytest.mark.parametrize(
    ("leap_sec", "words"),
    [
        (3600.0, "went forward by 3600 s at once: somebody set it, or the machine was asleep"),
        (-3600.0, "went back by 3600 s. "),
        (5.0, "went forward by 5 s"),
        (4.0, ""),
        (-4.0, ""),
    ],
)
def test_a_leap_is_told_once(leap_sec: float, words: str, caplog: pytest.LogCaptureFixture) -> None:
    clock = ManualClock()
    watch = ClockWatch(clock)
    clock.advance(1000)
    watch.look()
    clock.set_date(leap_sec)
    watch.look()
    clock.advance(1000)
    watch.look()
    told = [row.getMessage() for row in caplog.records]
    assert len(told) == bool(words)
    for line in told:
        assert line.startswith("[CLOCK] The clock of this machine ")
        assert words in line
        assert "so does the day of a risk limit" in line
        assert "To do: check that the time is right now" in line


def test_a_machine_that_slept_is_told_like_a_leap(caplog: pytest.LogCaptureFixture) -> None:
    clock = ManualClock()
    watch = ClockWatch(clock)
    clock.suspend(28_800)
    watch.look()
    assert "went forward by 28800 s" in caplog.text


def test_a_time_service_that_slews_the_clock_is_not_told(caplog: pytest.LogCaptureFixture) -> None:
    clock = ManualClock()
    watch = ClockWatch(clock)
    for _ in range(100):
        clock.set_date(0.5)
        watch.look()
    assert caplog.records == []
