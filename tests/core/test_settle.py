"""The settle window is learnt from what a broker really took, within bounds."""

from __future__ import annotations

import pytest

from trueup.core.look.settle_window import LONGEST_MS, SAMPLES_KEPT, SettleWindow, learn


def learnt(default_ms: int, *lags_ms: int) -> SettleWindow:
    settling = SettleWindow(default_ms)
    for lag_ms in lags_ms:
        settling = learn(settling, lag_ms)
    return settling


def test_without_a_measurement_it_is_the_default() -> None:
    assert SettleWindow(1000).window_ms == 1000


@pytest.mark.parametrize(
    ("lags_ms", "window_ms"),
    [
        ((800,), 1200),
        ((1501,), 2252),  # half as long again, to the nearest millisecond
        ((800, 600), 1200),
        ((400,), 1000),
        ((9_000,), LONGEST_MS),
        ((-50,), 1000),
    ],
)
def test_it_is_half_as_long_again_as_the_longest_lag_within_bounds(
    lags_ms: tuple[int, ...], window_ms: int
) -> None:
    assert learnt(1000, *lags_ms).window_ms == window_ms


def test_only_the_latest_lags_count() -> None:
    lags_ms = (5_000, *[100] * (SAMPLES_KEPT - 1))
    assert learnt(1000, *lags_ms).window_ms == 7_500
    assert learnt(1000, *lags_ms, 100).window_ms == 1000
    assert len(learnt(1000, *lags_ms, 100).lags_ms) == SAMPLES_KEPT == 50


def test_a_lag_is_never_negative() -> None:
    assert learnt(1000, -50, 0, 1).lags_ms == (0, 0, 1)


def test_a_window_that_is_turned_off_stays_off() -> None:
    assert learnt(0, 5_000).window_ms == 0


def test_no_learning_exceeds_ten_seconds_but_a_longer_default_stays() -> None:
    assert LONGEST_MS == 10_000
    assert learnt(20_000, 100).window_ms == 20_000
