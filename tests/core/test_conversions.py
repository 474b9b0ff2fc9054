"""Numbers and times are taken as Python programs, pandas and gateways write them."""

from __future__ import annotations

import datetime as dt
import importlib.util
import math
import sys
import time
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.number_kinds import Array, WholeScalar, no_numbers, real_kinds, whole_kinds
from trueup.core.conversions import (
    number,
    number_or_text,
    plain,
    seconds_since_1970,
    whole_number,
)

NOON = 1_767_614_400  # 2026-01-05 12:00:00 UTC


@pytest.mark.parametrize("kind", whole_kinds())
@pytest.mark.parametrize("value", [0, 1, 100_001, 2**31 - 1])
def test_a_whole_number_of_any_kind_is_an_int(kind: str, value: int) -> None:
    found = whole_number(whole_kinds()[kind](value))
    assert found == value
    assert type(found) is int


@pytest.mark.parametrize("value", [2**53 + 1, 2**63, 2**64 - 1])
@pytest.mark.parametrize("make", [int, str, Decimal, WholeScalar, lambda v: f" {v} "])
def test_a_big_ticket_keeps_every_digit(value: int, make: Any) -> None:
    assert whole_number(make(value)) == value


@pytest.mark.parametrize("value", [5.5, "5.5", Decimal("5.5"), 2.0**60, "0x5", "", " ", "1" * 30])
def test_what_is_not_whole_or_lost_its_digits_is_no_whole_number(value: object) -> None:
    assert whole_number(value) is None


@pytest.mark.parametrize("kind", real_kinds())
@pytest.mark.parametrize("text", ["0.7", "0.05", "1.10427", "1234.5"])
def test_a_number_of_any_kind_is_the_float_that_its_owner_wrote(kind: str, text: str) -> None:
    found = number(real_kinds()[kind](text))
    assert found == float(text)
    assert type(found) is float


@pytest.mark.parametrize("what", no_numbers())
def test_what_is_no_number_is_none(what: str) -> None:
    assert number(no_numbers()[what]) is None
    assert number_or_text(no_numbers()[what]) is None
    if what not in ("a number beyond every float",):
        assert whole_number(no_numbers()[what]) is None


def test_a_number_too_large_for_memory_is_none_at_once() -> None:
    assert whole_number(Decimal("1E+1000000")) is None


def test_a_text_is_a_number_only_where_texts_are_read() -> None:
    assert number_or_text(1.5) == 1.5
    assert number("1.5") is None
    assert number_or_text(" 1.5 ") == 1.5
    for text in ("1,5", "1_0", "NaN", "Infinity", "1e999", "", "0x1", "١"):
        assert number_or_text(text) is None


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_finite_float_is_itself(value: float) -> None:
    assert number(value) == value
    assert number_or_text(repr(value)) == value


@given(st.integers())
def test_every_int_is_itself(value: int) -> None:
    assert whole_number(value) == value
    assert whole_number(WholeScalar(value)) == value


TIMES: dict[str, object] = {
    "seconds": NOON,
    "seconds as a float": NOON + 0.25,
    "seconds as text": str(NOON),
    "seconds with a fraction as text": f"{NOON}.25",
    "milliseconds": NOON * 1000 + 250,
    "milliseconds as text": str(NOON * 1000),
    "microseconds": NOON * 10**6,
    "nanoseconds": NOON * 10**9,
    "an integer of another kind": WholeScalar(NOON),
    "Decimal": Decimal(NOON),
    "ISO text": "2026-01-05T12:00:00",
    "ISO text of UTC": "2026-01-05T12:00:00Z",
    "ISO text of another zone": "2026-01-05T14:00:00+02:00",
    "ISO text with a fraction": "2026-01-05 12:00:00.250",
    "MetaTrader's text": "2026.01.05 12:00:00",
    "MetaTrader's text without seconds": "2026.01.05 12:00",
    "a datetime": dt.datetime(2026, 1, 5, 12),  # noqa: DTZ001 - one without a zone is meant
    "a datetime of UTC": dt.datetime(2026, 1, 5, 12, tzinfo=dt.UTC),
    "a datetime of another zone": dt.datetime(
        2026, 1, 5, 14, tzinfo=dt.timezone(dt.timedelta(hours=2))
    ),
}


@pytest.mark.parametrize("what", TIMES)
def test_a_moment_is_read_however_it_is_written(what: str) -> None:
    found = seconds_since_1970(TIMES[what])
    assert found == NOON
    assert type(found) is int


@pytest.mark.parametrize("moment", ["2026.01.05", "2026-01-05", dt.date(2026, 1, 5)])
def test_a_date_is_its_midnight(moment: object) -> None:
    assert seconds_since_1970(moment) == NOON - 12 * 3600


@pytest.mark.parametrize(
    "moment",
    [
        *no_numbers().values(),
        -5,
        "-5",
        "yesterday",
        "",
        "2026.13.05",
        1e30,
        dt.datetime(1, 1, 1, tzinfo=dt.UTC),
        dt.datetime(1969, 12, 31, tzinfo=dt.UTC),
        Array(object()),
    ],
)
def test_what_is_no_moment_is_none(moment: object) -> None:
    assert seconds_since_1970(moment) is None


FIRST = dt.datetime(1970, 1, 1)  # noqa: DTZ001 - hypothesis wants bounds without a zone


@given(st.datetimes(min_value=FIRST, timezones=st.just(dt.UTC)))
def test_every_datetime_and_its_iso_text_are_one_moment(moment: dt.datetime) -> None:
    expected = math.floor(moment.timestamp())
    assert seconds_since_1970(moment) == seconds_since_1970(moment.isoformat()) == expected


@pytest.mark.skipif(not importlib.util.find_spec("numpy"), reason="numpy is not installed")
def test_numpys_own_moments_are_read() -> None:
    numpy: Any = importlib.import_module("numpy")
    for unit in ("s", "ms", "us", "ns"):
        assert seconds_since_1970(numpy.datetime64("2026-01-05T12:00:00", unit)) == NOON
    assert seconds_since_1970(numpy.datetime64("NaT", "ns")) is None


def test_values_become_what_json_has() -> None:
    moment = dt.datetime(2026, 1, 5, 12, tzinfo=dt.UTC)
    values = [True, None, "x", WholeScalar(5), Decimal("0.05"), moment, ["kept"]]
    assert list(map(plain, values)) == [True, None, "x", 5, 0.05, moment.isoformat(), ["kept"]]
    assert type(plain(WholeScalar(5))) is int


LARGEST = sys.float_info.max


class OwnFloat(float):
    """A float of somebody's own class, as numpy's float64 is."""


@pytest.mark.parametrize("kind", [float, OwnFloat])
@pytest.mark.parametrize("value", [LARGEST, -LARGEST, 0.0])
def test_the_largest_float_is_a_number_and_a_plain_float(kind: Any, value: float) -> None:
    found = number(kind(value))
    assert found == value
    assert type(found) is float


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan, OwnFloat("inf"), 10**400])
def test_what_is_beyond_every_float_is_no_number(value: float) -> None:
    assert number(value) is None


@pytest.mark.parametrize(
    ("text", "whole"),
    [("5.0", 5), ("5.", 5), ("1e3", 1000), ("-7.0", -7), ("+7", 7), ("5.25", None), ("x", None)],
)
def test_a_text_with_a_fraction_of_nothing_is_a_whole_number(text: str, whole: int | None) -> None:
    assert whole_number(text) == whole


@pytest.mark.parametrize(
    ("value", "found"), [(5.0, float), (0.5, float), (OwnFloat(2.0), float), (5, int), (None, None)]
)
def test_a_float_stays_a_float_where_it_is_written_as_json(value: Any, found: Any) -> None:
    assert plain(value) == value
    assert plain(value) is None if found is None else type(plain(value)) is found


@pytest.mark.parametrize(
    ("count", "seconds"),
    [
        (0, 0),
        ("0", 0),
        (1, 1),
        (10**11 - 1, 10**11 - 1),
        # From there on it counts milliseconds, then microseconds, then nanoseconds.
        (10**11, 10**8),
        (10**14, 10**8),
        (10**17, 10**8),
        (10**20, None),
        (-1, None),
        # A float cannot hold that many nanoseconds.
        (1_767_614_399_999_999_999, NOON - 1),
        ("1767614399999999999", NOON - 1),
    ],
)
def test_the_size_of_a_number_tells_what_it_counts(count: Any, seconds: int | None) -> None:
    assert seconds_since_1970(count) == seconds


@pytest.mark.parametrize(
    ("moment", "seconds"),
    [
        (dt.datetime(1970, 1, 1, tzinfo=dt.UTC), 0),
        (dt.datetime(1970, 1, 1, 0, 0, 1, tzinfo=dt.UTC), 1),
        (dt.datetime(9999, 12, 31, 23, 59, 59, tzinfo=dt.UTC), 253_402_300_799),
        ("9999-12-31T23:59:59-01:00", None),
    ],
)
def test_moments_go_from_1970_to_the_last_second_of_9999(
    moment: object, seconds: int | None
) -> None:
    assert seconds_since_1970(moment) == seconds


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="no time zones to change here")
@pytest.mark.parametrize(
    "moment",
    ["2026-01-05 12:00:00", dt.datetime(2026, 1, 5, 12), dt.date(2026, 1, 5)],  # noqa: DTZ001
)
def test_a_moment_without_a_zone_is_the_same_wherever_the_bot_runs(
    moment: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = seconds_since_1970(moment)
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        assert seconds_since_1970(moment) == here
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    ("value", "whole"),
    [
        (2.0**53 - 1, 2**53 - 1),
        (2.0**53, None),
        (-(2.0**53), None),
        (Decimal("1E+19"), 10**19),
        (Decimal("1E+20"), None),
    ],
)
def test_a_whole_number_is_taken_as_far_as_every_digit_of_it_is_sure(
    value: object, whole: int | None
) -> None:
    assert whole_number(value) == whole
