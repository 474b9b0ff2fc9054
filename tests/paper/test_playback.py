"""Prices in their own time."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from trueup.protocol.ticks import Tick
from trueup.runtime.time.clock import ManualClock
from trueup.sim.prices import FeedError, Quote
from trueup.sim.process.playback import GAP_MSC, LocalPrices, Playback


def quotes(*times_msc: int) -> Iterator[Quote]:
    return iter([Quote(1.1, 1.2, time_msc) for time_msc in times_msc])


def times(playback: Playback) -> list[int]:
    return [quote.time_msc for quote in playback.due()]


def test_the_first_price_is_there_at_once_and_the_others_in_market_time() -> None:
    clock = ManualClock()
    playback = Playback(quotes(1_000, 61_000, 121_000), 60.0, clock)
    assert times(playback) == [1_000]
    clock.advance(0.5)
    assert (times(playback), playback.now_msc()) == ([], 31_000)
    clock.advance(0.5)
    assert times(playback) == [61_000]
    clock.advance(10)
    assert times(playback) == [121_000]


def test_a_weekend_passes_in_a_second() -> None:
    clock = ManualClock()
    monday = 1_000 + GAP_MSC + 1
    playback = Playback(quotes(1_000, monday, monday + 60_000), 60.0, clock)
    assert times(playback) == [1_000]
    clock.advance(1)
    assert times(playback) == [monday]
    clock.advance(1)
    assert times(playback) == [monday + 60_000]


def test_time_never_runs_back_and_goes_on_after_the_last_price() -> None:
    clock = ManualClock()
    playback = Playback(quotes(1_000, 5_000), 1.0, clock)
    seen = []
    for _ in range(20):
        playback.due()
        seen.append(playback.now_msc())
        clock.advance(0.5)
    assert seen == sorted(seen)
    assert seen[-1] > 5_000
    assert playback.last.time_msc == 5_000


def test_a_feed_that_breaks_leaves_the_last_price(caplog: pytest.LogCaptureFixture) -> None:
    def feed() -> Iterator[Quote]:
        yield Quote(1.1, 1.2, 1_000)
        raise FeedError("prices.csv", 3, "no price", "give one")

    playback = Playback(feed(), 1.0, ManualClock())
    assert times(playback) == [1_000]
    assert times(playback) == []
    assert "prices.csv, line 3" in caplog.text


def test_an_empty_feed_is_an_error() -> None:
    with pytest.raises(FeedError):
        Playback(quotes(), 1.0, ManualClock())


def test_local_prices_are_ticks_of_the_symbol() -> None:
    prices = LocalPrices(Playback(quotes(1_000), 1.0, ManualClock()), "EURUSD")
    assert prices.latest(0) == Tick("EURUSD", 1.1, 1.2, 1_000)
