"""How long ago something was, by clocks that nobody sets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trueup.core.look.waited import Waited, by_dates

# A process that began at date 1000 with its clocks at 50 (ages) and 30 (waiting). Meanwhile 400
# have passed, 100 of them asleep: the clock for waiting leaves those out.
NOW = Waited(
    age_ns=450,
    waiting_ns=330,
    began_date_ns=1_000,
    began=(50, 30),
    noted={1_100: (150, 130), 9_000: (250, 230)},
)


@pytest.mark.parametrize(
    ("at_ns", "age_ns", "waited_ns"),
    [
        pytest.param(1_100, 300, 200, id="what was noted, by the clocks beside its date"),
        pytest.param(9_000, 200, 100, id="a date of a wall clock that was wrong then"),
        pytest.param(700, 700, 600, id="of an earlier process: until our beginning by its date"),
        pytest.param(1_000, 400, 300, id="at our beginning"),
        pytest.param(5_000, 400, 300, id="dated after our beginning: counts from there"),
    ],
)
def test_age_counts_sleep_and_waiting_does_not(at_ns: int, age_ns: int, waited_ns: int) -> None:
    assert (NOW.age_of_ns(at_ns), NOW.waited_ns(at_ns)) == (age_ns, waited_ns)


@given(st.integers(0, 10**19), st.integers(0, 10**19))
def test_by_dates_alone_it_is_the_difference_and_never_less_than_nothing(
    asked_ns: int, at_ns: int
) -> None:
    dates = by_dates(asked_ns)
    expected = max(0, asked_ns - at_ns)
    assert (dates.age_of_ns(at_ns), dates.waited_ns(at_ns)) == (expected, expected)
