"""When an order that shows nowhere is absent."""

from __future__ import annotations

import pytest

from trueup.core.look.absence import Absence, update_absence

SECOND_NS, GRACE_MS = 1_000_000_000, 10_000
FIRST = Absence(100 * SECOND_NS, 100_000)
AGAIN = Absence(100 * SECOND_NS, 100_000, 110_000)


def looked(before: Absence | None, at_sec: float, server_sec: float) -> Absence:
    """One more look, by our clock and by the server's."""
    return update_absence(before, round(at_sec * SECOND_NS), round(server_sec * 1000), GRACE_MS)


def test_the_first_look_begins_it() -> None:
    assert looked(None, 100, 100) == FIRST


@pytest.mark.parametrize(
    ("at_sec", "server_sec", "again"),
    [(110, 110, True), (109.999, 110, False), (110, 109.999, False), (200, 100, False)],
)
def test_the_grace_period_passes_by_both_clocks(
    at_sec: float, server_sec: float, again: bool
) -> None:
    after = looked(FIRST, at_sec, server_sec)
    assert (after.again_msc is not None) is again
    assert (after.since_ns, after.since_msc, after.is_settled) == (100 * SECOND_NS, 100_000, False)


def test_one_more_look_half_a_grace_period_of_prices_later_settles_it() -> None:
    assert looked(AGAIN, 200, 114.999).is_settled is False
    assert looked(AGAIN, 200, 115).is_settled is True


@pytest.mark.parametrize(("at_sec", "server_sec"), [(99, 200), (200, 99)])
@pytest.mark.parametrize("before", [FIRST, AGAIN])
def test_a_clock_that_was_set_back_begins_it_anew(
    before: Absence, at_sec: float, server_sec: float
) -> None:
    assert looked(before, at_sec, server_sec) == looked(None, at_sec, server_sec)


def test_without_quotations_our_own_clock_has_to_do() -> None:
    first = looked(None, 100, 0)
    assert looked(first, 109, 0).again_msc is None
    again = looked(first, 110, 0)
    assert again.again_msc == 0
    assert looked(again, 111, 0).is_settled


def test_a_time_that_is_not_told_is_no_time() -> None:
    """A symbol that is taken off the market has no quotation, and its time is 0."""
    untold = looked(None, 100, 0)
    # The first quotation is no proof that as long has passed as since 1970.
    assert looked(untold, 110, 110) == looked(None, 110, 110)
    assert looked(looked(untold, 110, 0), 200, 200) == looked(None, 200, 200)
    # And when quotations are gone, nothing is proven until they are back.
    assert looked(FIRST, 200, 0) == FIRST
    assert looked(AGAIN, 200, 0) == AGAIN
    assert looked(looked(FIRST, 200, 0), 200, 115).again_msc == 115_000


def test_two_looks_at_one_moment_do_not_begin_it_anew() -> None:
    """A clock that ticks every 15 ms shows the same time twice."""
    after = looked(FIRST, 100, 101)
    assert (after.since_ns, after.since_msc, after.again_msc) == (FIRST.since_ns, 100_000, None)
    assert looked(AGAIN, 100, 115).is_settled


def test_who_waits_for_nothing_has_it_at_once_from_that_look_on() -> None:
    at_once = Absence(since_ns=100, since_msc=7, again_msc=7, is_settled=True)
    assert update_absence(None, 100, 7, 0) == at_once
    assert update_absence(FIRST, 100, 7, 0) == at_once


def looked_often(*looks: tuple[float, float]) -> bool:
    """Return whether these looks, by our clock and by the server's, settle an absence."""
    before = None
    for at_sec, server_sec in looks:
        before = looked(before, at_sec, server_sec)
    assert before is not None
    return before.is_settled


@pytest.mark.parametrize(
    ("looks", "is_settled"),
    [
        # Prices all the time.
        (((106, 106), (110, 110), (115, 115)), True),
        # A pause, and the first price after the pause: what the terminal missed comes later.
        (((110, 110), (114, 110), (115, 110), (120, 120)), False),
        (((110, 110), (115, 110), (120, 120), (124.9, 120)), False),
        (((110, 110), (115, 110), (120, 120), (125, 120)), True),
        # Rare prices end it as well.
        (((110, 110), (115, 110), (120, 120), (126, 120), (127, 127), (132, 127)), True),
        # Half a grace period without a look shows no pause, and neither do looks a moment apart.
        (((110, 110), (120, 120)), True),
        (((110, 110), (114.9, 110), (116, 116)), True),
        # A pause before the grace period has passed counts too.
        (((105, 100), (112, 112), (117, 116.9)), False),
        (((105, 100), (112, 112), (116.9, 117)), False),
        (((105, 100), (112, 112), (117, 117)), True),
    ],
)
def test_after_a_pause_of_the_prices_half_a_grace_period_passes_by_our_clock_too(
    *, looks: tuple[tuple[float, float], ...], is_settled: bool
) -> None:
    """Seed 9019549: a terminal lost its server a second time, and showed its old list."""
    assert looked_often((100, 100), *looks) is is_settled
