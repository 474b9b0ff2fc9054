"""The example strategy."""

from __future__ import annotations

import pytest

from trueup.protocol.ticks import Tick
from trueup.runtime.trading.strategy import MovingAverageCross


def signals(strategy: MovingAverageCross, *prices: float) -> list[int]:
    return [strategy.on_tick(Tick("EURUSD", price, price)) for price in prices]


def test_it_holds_until_it_has_seen_enough_then_buys_a_rise_once() -> None:
    cross = MovingAverageCross(fast=2, slow=4)
    assert signals(cross, 1.0, 1.1, 1.2, 1.3, 1.4, 1.5) == [0, 0, 0, 1, 0, 0]


def test_it_sells_when_the_fast_average_falls_below_the_slow() -> None:
    cross = MovingAverageCross(fast=2, slow=4)
    signals(cross, 1.0, 1.1, 1.2, 1.3)
    assert signals(cross, 1.2, 1.0, 0.9, 0.8).count(-1) == 1


def test_within_the_band_there_is_no_side() -> None:
    cross = MovingAverageCross(fast=2, slow=4, band=0.5)
    assert signals(cross, 1.0, 1.1, 1.2, 1.3, 1.0, 0.8) == [0] * 6


@pytest.mark.parametrize(("fast", "slow"), [(0, 4), (4, 4), (5, 4)])
def test_lengths_that_make_no_sense_are_refused(fast: int, slow: int) -> None:
    with pytest.raises(ValueError, match="fast < slow"):
        MovingAverageCross(fast, slow)
