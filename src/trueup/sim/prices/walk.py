"""Generators of quotes: a walk through bars, and a random walk without bars.

Only `Random.random` is used: Python guarantees the same sequence for a seed for this method, and
not for `gauss`, `sample` or `randint`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, count, islice, pairwise
from random import Random
from typing import Final

import msgspec

from trueup.sim.market.market import Quote
from trueup.sim.prices.bars import Bar, period_msc

DEFAULT_SPREAD_POINTS: Final = 10

# Enough bars to know their length and their decimals without reading a file of years.
_HEAD_BARS: Final = 1_000
# Largest distance of a tick from the straight line between two turns, as a share of the range.
_STRAY: Final = 0.15

_WALK_START_MSC: Final = 1_704_067_200_000
_WALK_PRICE: Final = 1.1
_WALK_DIGITS: Final = 5
_WALK_STEP_MSC: Final = 1_000
# A second of EURUSD on an ordinary day: 3 points up or down.
_WALK_STEP_SHARE: Final = 0.00003


def repeat(bars: Sequence[Bar], start: int) -> Iterator[Bar]:
    """Yield the bars from number `start` on, repeated for ever, with times that go on."""
    length_msc = bars[-1].time_msc - bars[0].time_msc + period_msc(bars)
    for number in count(start):
        turn, index = divmod(number, len(bars))
        bar = bars[index]
        yield msgspec.structs.replace(bar, time_msc=bar.time_msc + turn * length_msc)


def walk_bars(
    bars: Iterator[Bar], seed: int, ticks_per_bar: int, spread_points: int | None
) -> Iterator[Quote]:
    """Yield each bar as `ticks_per_bar` quotes.

    The path of a bar depends only on the seed and the bar's time, so a feed with a later start
    yields the same prices.
    """
    head = list(islice(bars, _HEAD_BARS))
    period = period_msc(head)
    # Plain files omit trailing zeros of a price, so a single row does not show all digits.
    digits = max((bar.digits for bar in head), default=0)
    for bar, following in pairwise(chain(head, bars, [None])):
        if bar is None:
            continue
        # Over a weekend gap the quotes stay within the length of one bar.
        span = min(period, following.time_msc - bar.time_msc) if following else period
        spread = _spread(bar, spread_points) * 10.0**-digits
        for time_msc, bid in _path(
            bar, span, ticks_per_bar, digits, Random(f"{seed}/{bar.time_msc}")
        ):
            yield Quote(time_msc=time_msc, bid=bid, ask=max(bid, round(bid + spread, digits)))


def random_walk(seed: int, spread_points: int | None) -> Iterator[Quote]:
    """Yield one quote per second for ever; each price is a small random step from the last."""
    chance = Random(f"{seed}/walk")
    spread = DEFAULT_SPREAD_POINTS if spread_points is None else spread_points
    point = 10.0**-_WALK_DIGITS
    price = _WALK_PRICE
    for time_msc in count(_WALK_START_MSC, _WALK_STEP_MSC):
        bid = max(round(price, _WALK_DIGITS), point)
        yield Quote(time_msc=time_msc, bid=bid, ask=round(bid + spread * point, _WALK_DIGITS))
        price *= 1 + _WALK_STEP_SHARE * (2 * chance.random() - 1)


def _spread(bar: Bar, wanted_points: int | None) -> int:
    if wanted_points is not None:
        return wanted_points
    return DEFAULT_SPREAD_POINTS if bar.spread_points is None else bar.spread_points


def _path(
    bar: Bar, span_msc: int, ticks: int, digits: int, chance: Random
) -> Iterator[tuple[int, float]]:
    """Yield time and bid of each tick, from open over both extremes in random order to close."""
    # The four turns need different ticks, so the extremes leave room for open and close.
    first = 1 + int(chance.random() * (ticks - 3))
    second = first + 1 + int(chance.random() * (ticks - 2 - first))
    extremes = (bar.high, bar.low) if chance.random() < 0.5 else (bar.low, bar.high)
    turns = [(0, bar.open), (first, extremes[0]), (second, extremes[1]), (ticks - 1, bar.close)]
    step_msc = span_msc // ticks
    for (here, price), (there, target) in pairwise([*turns, (ticks, bar.close)]):
        for tick in range(here, there):
            # The first tick has the bar's own time; later ticks have a random delay.
            late_msc = int(chance.random() * step_msc) if tick else 0
            share = (tick - here) / (there - here)
            bid = (
                price
                if tick == here
                else _stray(bar, price + (target - price) * share, digits, chance)
            )
            yield bar.time_msc + tick * span_msc // ticks + late_msc, bid


def _stray(bar: Bar, price: float, digits: int, chance: Random) -> float:
    stray = (bar.high - bar.low) * _STRAY * (2 * chance.random() - 1)
    return min(max(round(price + stray, digits), bar.low), bar.high)
