"""Readers of price files: exports of MetaTrader 5, saved charts, and saved `copy_rates` results.

MetaTrader writes tabs or commas, UTF-8 or UTF-16, with or without a byte order mark; "Save as" of a
chart writes no heading. pandas and numpy write the results of `copy_rates_*` and `copy_ticks_*`
with the module's column names, and times as seconds since 1970 or as text. Times of a file are the
trade server's wall clock; the readers treat these times as UTC, as the terminal's own functions do.
In an export of ticks an empty BID or ASK means an unchanged price, and 0 means no price, as before
an exchange opens.
"""

from __future__ import annotations

import codecs
import gzip
import math
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from importlib import resources
from pathlib import Path
from typing import IO, Any, Final

from trueup.core.conversions import number_of_text
from trueup.sim.market.market import Quote
from trueup.sim.prices.bars import Bar, FeedError

_BARS: Final = ("OPEN", "HIGH", "LOW", "CLOSE")
_TICKS: Final = ("BID", "ASK")
_MAX_DIGITS: Final = 8
_TIME: Final = re.compile(
    r"(\d{4})[.-](\d\d)[.-](\d\d)"
    r"(?:[ T](\d\d):(\d\d)(?::(\d\d)(?:[.,](\d{1,9}))?)?)?"
    r"(?:Z|([+-])(\d\d):?(\d\d))?",
    re.ASCII,
)
_DATE: Final = re.compile(r"\d{4}[.-]\d\d[.-]\d\d", re.ASCII)
_CLOCK: Final = re.compile(r"\d\d:\d\d(:\d\d)?", re.ASCII)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
# A count of seconds since 1973: a smaller number is a date without separators, or no time.
_EARLIEST_COUNT: Final = 10**8
# Upper bounds of a count of seconds, milliseconds, microseconds and nanoseconds since 1970, each
# with the number of milliseconds per count.
_UNITS: Final = ((10**11, 1000.0), (10**14, 1.0), (10**17, 1e-3), (10**20, 1e-6))
_RIGHT_HEADING: Final = (
    "the first line must be MetaTrader's <DATE> <TIME> <OPEN> <HIGH> <LOW> <CLOSE> or "
    "<DATE> <TIME> <BID> <ASK>, or time,open,high,low,close, or a row of a chart: "
    "2024.01.31,23:59,1.1,1.2,1.0,1.1"
)
_RIGHT_TIME: Final = "write it as 2024.01.31 23:59:59, or as seconds since 1970"
_RIGHT_SPEC: Final = "give bars, random, or the path of a file of prices"
_RIGHT_ENCODING: Final = "save the file as UTF-8 or UTF-16"


class Table:
    """A price file with a known heading. Each iterator reads the file from the start."""

    def __init__(self, path: Path, name: str, heading: str) -> None:
        self._path, self._name = path, name
        # In a file with tabs or semicolons a comma can be a decimal comma.
        self._separator = next((mark for mark in "\t;," if mark in heading), "\t")
        first = _fields(heading, self._separator)
        columns = _columns_of_a_chart(first)
        self._has_heading = columns is None
        self._columns = columns or [field.strip("<># ").upper() for field in first]
        has_time = self._has("DATE") or self._has("TIME") or self._has("TIME_MSC")
        self.has_ticks: bool = has_time and self._has(*_TICKS)
        if not self.has_ticks and not (has_time and self._has(*_BARS)):
            raise FeedError(name, 1, "this is no heading of prices", _RIGHT_HEADING)

    def bars(self) -> Iterator[Bar]:
        """Yield the bars of the file.

        Raises:
            FeedError: a row is no bar, or not later than the row before.
        """
        last_msc: int | None = None
        for line, row in self._rows():
            bar = self._bar(line, row)
            if last_msc is not None and bar.time_msc <= last_msc:
                raise FeedError(
                    self._name, line, "this bar is not later than the one before", "sort by time"
                )
            last_msc = bar.time_msc
            yield bar

    def ticks(self) -> Iterator[Quote]:
        """Yield the ticks of the file, from the first row with both bid and ask known.

        A row with ask below bid is skipped: no order can trade at such prices.

        Raises:
            FeedError: a row is no tick, or earlier than the row before.
        """
        bid = ask = 0.0
        last_msc: int | None = None
        for line, row in self._rows():
            time_msc = self._time(line, row)
            if last_msc is not None and time_msc < last_msc:
                raise FeedError(
                    self._name, line, "this tick is earlier than the one before", "sort by time"
                )
            last_msc = time_msc
            # An empty side is unchanged, so the price of an earlier row stays.
            bid = self._side(line, row, "BID") if row["BID"] else bid
            ask = self._side(line, row, "ASK") if row["ASK"] else ask
            if 0 < bid <= ask:
                yield Quote(time_msc=time_msc, bid=bid, ask=ask)

    def _has(self, *columns: str) -> bool:
        return set(columns) <= set(self._columns)

    def _rows(self) -> Iterator[tuple[int, dict[str, str]]]:
        for line, text in _lines(self._path, self._name):
            if (line == 1 and self._has_heading) or not text.strip():
                continue
            fields = _fields(text, self._separator)
            if len(fields) != len(self._columns):
                wrong = f"{len(fields)} fields where the heading has {len(self._columns)}"
                raise FeedError(self._name, line, wrong, "give each column one field")
            yield line, dict(zip(self._columns, fields, strict=True))

    def _bar(self, line: int, row: dict[str, str]) -> Bar:
        written = [row[column].replace(",", ".") for column in _BARS]
        digits = max(min(len(price.partition(".")[2]), _MAX_DIGITS) for price in written)
        opened, high, low, closed = (self._price(line, row, column) for column in _BARS)
        bar = Bar(self._time(line, row), opened, high, low, closed, digits, self._spread(line, row))
        if wrong := bar.complaint():
            raise FeedError(self._name, line, wrong, "low must be the lowest and high the highest")
        return bar

    def _time(self, line: int, row: dict[str, str]) -> int:
        # The module's ticks have whole seconds in `time`, and milliseconds in `time_msc`.
        text = row.get("TIME_MSC") or " ".join(filter(None, (row.get("DATE"), row.get("TIME"))))
        time_msc = _milliseconds(text)
        if time_msc is None:
            raise FeedError(self._name, line, f"the time is {text!r:.40}", _RIGHT_TIME)
        return time_msc

    def _side(self, line: int, row: dict[str, str], column: str) -> float:
        """Return one side of a tick; 0.0 for no price."""
        return self._price(line, row, column) if _number(row[column]) else 0.0

    def _price(self, line: int, row: dict[str, str], column: str) -> float:
        price = _number(row[column])
        if not 0 < price < math.inf:
            right = "give a number above 0" + (" or nothing" if column in _TICKS else "")
            raise FeedError(self._name, line, f"{column} is {row[column]!r:.40}", right)
        return price

    def _spread(self, line: int, row: dict[str, str]) -> int | None:
        text = row.get("SPREAD", "").removesuffix(".0")
        if not text:
            return None
        if not (text.isascii() and text.isdigit() and len(text) < 10):
            wrong = f"SPREAD is {text!r:.40}"
            raise FeedError(self._name, line, wrong, "give whole points, 0 or more")
        return int(text)


def open_table(path: Path) -> Table:
    """Open a price file and read its heading.

    Raises:
        FeedError: the file does not exist, or its heading is unknown.
    """
    name = str(path)
    heading = next(_lines(path, name), None)
    if heading is None:
        raise FeedError(name, 1, "the file is empty", _RIGHT_HEADING)
    return Table(path, name, heading[1])


def packaged_bars() -> Sequence[Bar]:
    """Return the packaged 5000 hourly bars of EURUSD, 2017-04-19 to 2018-02-07."""
    source = resources.files("trueup.sim") / "data" / "eurusd_h1.csv.gz"
    with resources.as_file(source) as path:
        return tuple(open_table(path).bars())


def _lines(path: Path, name: str) -> Iterator[tuple[int, str]]:
    """Yield the lines without line ends, numbered from 1."""
    line = 0
    opener: Callable[..., IO[Any]] = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rt", encoding=_encoding(path, opener)) as text:
            for line, content in enumerate(text, start=1):
                yield line, content.rstrip("\r\n")
    except UnicodeError:
        raise FeedError(name, line + 1, "this is not text", _RIGHT_ENCODING) from None
    except (EOFError, zlib.error):
        raise FeedError(name, line + 1, "the archive is damaged", "make it again") from None
    except (OSError, ValueError) as error:
        wrong = getattr(error, "strerror", None) or str(error)
        raise FeedError(name, line + 1, wrong.lower(), _RIGHT_SPEC) from None


def _encoding(path: Path, opener: Callable[..., IO[Any]]) -> str:
    with opener(path, "rb") as raw:
        mark = raw.read(2)
    if mark in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        return "utf-16"
    # Every file of prices begins with an ASCII character.
    if mark[1:] == b"\0" and mark[:1] != b"\0":
        return "utf-16-le"
    return "utf-16-be" if mark[:1] == b"\0" and mark[1:] not in (b"", b"\0") else "utf-8-sig"


def _fields(text: str, separator: str) -> list[str]:
    return [field.strip().strip('"') for field in text.split(separator)]


def _columns_of_a_chart(first: Sequence[str]) -> list[str] | None:
    """Return the columns of a file without a heading, or None if the first line is a heading.

    A chart writes date and time in two fields, date and time in one field, or only the date; numpy
    writes seconds.
    """
    if len(first) < len(_BARS) + 1 or _milliseconds(first[0]) is None:
        return None
    is_apart = _DATE.fullmatch(first[0]) is not None and _CLOCK.fullmatch(first[1]) is not None
    begin = ["DATE", "TIME"] if is_apart else ["TIME"]
    named = [*begin, *_BARS, "TICKVOL"]
    # The later columns are the real volume in some builds and the spread in others.
    return [*named, *(f"MORE {number}" for number in range(len(first)))][: len(first)]


def _number(text: str) -> float:
    """Return a number, NaN for any other text; German tables have a decimal comma."""
    found = number_of_text(text if "." in text else text.replace(",", "."))
    return math.nan if found is None else found


def _milliseconds(text: str) -> int | None:
    """Return a time in milliseconds since 1970, or None for any other text."""
    # numpy and pandas write a count, MetaTrader writes a date.
    count = number_of_text(text)
    if count is not None:
        return _of_count(count)
    found = _TIME.fullmatch(text)
    if not found:
        return None
    *whole, fraction, sign, hours, minutes = found.groups(default="0")
    year, month, day, hour, minute, second = map(int, whole)
    try:
        moment = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        return None
    time_msc = (moment - _EPOCH) // timedelta(milliseconds=1) + int(f"{fraction:0<3}"[:3])
    # A time with an offset is a local time; UTC is the local time minus the offset.
    ahead_msc = (int(hours) * 60 + int(minutes)) * 60_000
    time_msc += ahead_msc if sign == "-" else -ahead_msc
    return time_msc if time_msc >= 0 else None


def _of_count(count: float) -> int | None:
    for bound, milliseconds in _UNITS:
        if _EARLIEST_COUNT <= count < bound:
            return round(count * milliseconds)
    return None
