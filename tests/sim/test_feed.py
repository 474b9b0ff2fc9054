from __future__ import annotations

import os
import subprocess
import sys
from itertools import groupby, islice, pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trueup.sim.prices import Bar, FeedError, Quote, open_feed, packaged_bars
from trueup.sim.prices.bars import period_msc
from trueup.sim.prices.walk import repeat, walk_bars

MT5_BARS = (
    "<DATE>\t<TIME>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\t<TICKVOL>\t<VOL>\t<SPREAD>\n"
    "2024.01.02\t00:00:00\t1.10400\t1.10500\t1.10300\t1.10450\t120\t0\t7\n"
    "2024.01.02\t01:00:00\t1.10450\t1.10450\t1.10200\t1.10210\t90\t0\t9\n"
)
MT5_TICKS = (
    "<DATE>\t<TIME>\t<BID>\t<ASK>\t<LAST>\t<VOLUME>\t<FLAGS>\n"
    "2024.01.02\t00:00:00.100\t1.10400\t\t\t\t2\n"
    "2024.01.02\t00:00:00.250\t\t1.10410\t\t\t4\n"
    "2024.01.02\t00:00:01.000\t1.10405\t1.10415\t\t\t6\n"
    "2024.01.02\t00:00:01.000\t1.10420\t\t\t\t2\n"
    "2024.01.02\t00:00:02.000\t\t1.10430\t\t\t4\n"
)
PLAIN_BARS = "time,open,high,low,close,tick_volume\n2024-01-02 00:00:00,1.1,1.2,1.0,1.15,3\n"
JAN_2_MSC = 1_704_153_600_000
HOUR_MSC = 3_600_000


@st.composite
def bar_lists(draw: st.DrawFn) -> list[Bar]:
    """Bars of any shape, an hour or more apart."""
    points = st.lists(st.integers(1, 200_000), min_size=4, max_size=4).map(sorted)
    bars, time_msc = [], JAN_2_MSC
    for low, first, second, high in draw(st.lists(points, min_size=1, max_size=20)):
        ends = (first, second) if draw(st.booleans()) else (second, first)
        opened, top, bottom, closed = (p / 100_000 for p in (ends[0], high, low, ends[1]))
        bars.append(Bar(time_msc, opened, top, bottom, closed))
        time_msc += HOUR_MSC * draw(st.integers(1, 60))
    return bars


def written(folder: Path, text: str, encoding: str = "utf-8") -> str:
    path = folder / "prices.csv"
    path.write_bytes(text.replace("\n", "\r\n").encode(encoding))
    return str(path)


@given(bars=bar_lists(), seed=st.integers(), ticks=st.integers(4, 40), spread=st.integers(0, 500))
def test_bars_when_walked_show_open_high_low_close_and_nothing_outside(
    bars: list[Bar], seed: int, ticks: int, spread: int
) -> None:
    quotes = list(walk_bars(iter(bars), seed, ticks, spread))
    assert len(quotes) == ticks * len(bars)
    assert all(one.time_msc <= next_.time_msc for one, next_ in pairwise(quotes))
    for number, bar in enumerate(bars):
        path = quotes[number * ticks : (number + 1) * ticks]
        bids = [quote.bid for quote in path]
        assert (bids[0], max(bids), min(bids), bids[-1]) == (bar.open, bar.high, bar.low, bar.close)
        assert path[0].time_msc == bar.time_msc
        assert path[-1].time_msc < bar.time_msc + period_msc(bars)
        assert all(quote.ask >= quote.bid for quote in path)


@given(bars=bar_lists(), seed=st.integers(), skipped=st.integers(0, 50))
def test_bars_when_started_later_have_the_same_prices_from_there_on(
    bars: list[Bar], seed: int, skipped: int
) -> None:
    whole = list(islice(repeat(bars, 0), skipped + 3))
    assert list(islice(repeat(bars, skipped), 3)) == whole[skipped:]
    assert all(one.time_msc < next_.time_msc for one, next_ in pairwise(whole))


@pytest.mark.parametrize("spec", ["bars", "random"])
def test_feed_when_seeded_is_the_same_again_and_another_with_another_seed(spec: str) -> None:
    def taken(seed: int) -> list[Quote]:
        return list(islice(open_feed(spec, seed=seed), 500))

    assert taken(7) == taken(7)
    assert taken(7) != taken(8)


def test_feed_when_python_hashes_differently_is_the_same() -> None:
    code = (
        "from itertools import islice; from trueup.sim.prices import open_feed;"
        "print([*islice(open_feed('bars', seed=3, start=40), 30)])"
    )
    outputs = {
        subprocess.check_output(
            [sys.executable, "-c", code], env=os.environ | {"PYTHONHASHSEED": seed}, timeout=60
        )
        for seed in ("1", "2")
    }
    assert len(outputs) == 1


def test_packaged_bars_are_real_hours_of_eurusd() -> None:
    bars = packaged_bars()
    assert len(bars) == 5000
    assert bars[0] == Bar(1_492_592_400_000, 1.0716, 1.0722, 1.07083, 1.07219)
    assert all(1.0 < bar.low <= bar.high < 1.3 for bar in bars)


def test_bars_when_exhausted_begin_again_with_times_that_go_on() -> None:
    last, first = islice(open_feed(start=4999, ticks_per_bar=4), 3, 5)
    assert last.time_msc < first.time_msc <= last.time_msc + HOUR_MSC
    assert (last.bid, first.bid) == (packaged_bars()[-1].close, packaged_bars()[0].open)


@pytest.mark.parametrize("points", [0, 25])
def test_spread_when_injected_is_the_distance_of_ask_from_bid(points: int) -> None:
    for spec in ("bars", "random"):
        for quote in islice(open_feed(spec, spread_points=points), 100):
            assert round((quote.ask - quote.bid) * 100_000, 6) == points


def test_random_walk_stays_positive_and_its_clock_goes_on() -> None:
    quotes = list(islice(open_feed("random", seed=1), 20_000))
    assert all(0 < quote.bid <= quote.ask for quote in quotes)
    assert {b.time_msc - a.time_msc for a, b in pairwise(quotes)} == {1000}
    assert len({quote.bid for quote in quotes}) > 100


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("separator", ["\t", ","])
def test_file_of_bars_when_exported_by_metatrader_is_walked_with_its_own_spread(
    encoding: str, separator: str, tmp_path: Path
) -> None:
    text = MT5_BARS.replace("\t", separator)
    quotes = list(open_feed(written(tmp_path, text, encoding), ticks_per_bar=6))
    hours = [list(group) for _, group in groupby(quotes, lambda quote: quote.time_msc // HOUR_MSC)]
    assert [hour[0] for hour in hours] == [
        Quote(bid=1.104, ask=1.10407, time_msc=JAN_2_MSC),
        Quote(bid=1.1045, ask=1.10459, time_msc=JAN_2_MSC + HOUR_MSC),
    ]
    assert [len(hour) for hour in hours] == [6, 6]


def test_file_of_bars_when_daily_has_no_time_column(tmp_path: Path) -> None:
    text = "<DATE>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\n2024.01.02\t150.1\t151.25\t150\t151\n"
    quotes = list(open_feed(written(tmp_path, text), spread_points=3))
    assert quotes[0] == Quote(bid=150.1, ask=150.13, time_msc=JAN_2_MSC)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_file_of_ticks_when_a_side_is_empty_keeps_the_last_and_leaves_out_crossed_moments(
    encoding: str, tmp_path: Path
) -> None:
    assert list(open_feed(written(tmp_path, MT5_TICKS, encoding))) == [
        Quote(bid=1.104, ask=1.1041, time_msc=JAN_2_MSC + 250),
        Quote(bid=1.10405, ask=1.10415, time_msc=JAN_2_MSC + 1000),
        Quote(bid=1.1042, ask=1.1043, time_msc=JAN_2_MSC + 2000),
    ]


def test_file_of_plain_bars_is_read(tmp_path: Path) -> None:
    bids = [quote.bid for quote in open_feed(written(tmp_path, PLAIN_BARS))]
    assert (bids[0], max(bids), min(bids), bids[-1]) == (1.1, 1.2, 1.0, 1.15)


# Bars and ticks as people have them: the first bid, the time of the first quote.
COPY_RATES = (
    ",time,open,high,low,close,tick_volume,spread,real_volume\n"
    "0,1704153600,1.10427,1.10429,1.10401,1.1042,512,4,0\n"
    "1,1704157200,1.1042,1.1045,1.1041,1.1044,700,4,0\n"
)
CHART = (
    "2024.01.02,00:00,1.10427,1.10429,1.10401,1.10420,512\n"
    "2024.01.02,01:00,1.10420,1.10450,1.10410,1.10440,700\n"
)
AS_PEOPLE_HAVE_THEM: dict[str, str] = {
    "a chart's Save as": CHART,
    "a chart's Save as with the time in one field": CHART.replace("02,0", "02 0"),
    "a chart's Save as of days": CHART.replace(",00:00", "").replace("02,01:00", "03"),
    "a chart's Save as with a spread": CHART.replace("512\n", "512,4\n").replace(
        "700\n", "700,4\n"
    ),
    "copy_rates saved by pandas": COPY_RATES,
    "copy_rates with times": COPY_RATES.replace("1704153600", "2024-01-02 00:00:00").replace(
        "1704157200", "2024-01-02 01:00:00"
    ),
    "copy_rates with times of UTC": COPY_RATES.replace(
        "1704153600", "2024-01-02 00:00:00+00:00"
    ).replace("1704157200", "2024-01-02T01:00:00Z"),
    "copy_rates with times of a zone": COPY_RATES.replace(
        "1704153600", "2024-01-02 02:00:00+02:00"
    ).replace("1704157200", "2024-01-02 03:00:00.000000000+0200"),
    "copy_rates by its times": COPY_RATES.replace(",time", "time")
    .replace("0,17", "17")
    .replace("1,17", "17"),
    "copy_rates with spreads as floats": COPY_RATES.replace(",4,0\n", ",4.0,0\n"),
    "copy_rates saved by numpy": "# "
    + COPY_RATES.replace(",time", "time")
    .replace("0,1704153600", "1.704153600000000000e+09")
    .replace("1,1704157200", "1.704157200000000000e+09"),
    "copy_rates saved by numpy without names": (
        "1704153600,1.10427,1.10429,1.10401,1.1042,512,4,0\n"
        "1704157200,1.1042,1.1045,1.1041,1.1044,700,4,0\n"
    ),
    "a table of a spreadsheet with decimal commas": (
        "DATE;TIME;OPEN;HIGH;LOW;CLOSE\n2024.01.02;00:00;1,10427;1,10429;1,10401;1,1042\n"
    ),
    "a table with quotes": PLAIN_BARS.replace("1.1,1.2", '"1.10427","1.2"').replace("1.0,", "1.0,"),
}
CODECS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"]


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("what", AS_PEOPLE_HAVE_THEM)
def test_file_of_bars_is_read_as_people_have_it(what: str, codec: str, tmp_path: Path) -> None:
    text = AS_PEOPLE_HAVE_THEM[what]
    quotes = list(open_feed(written(tmp_path, text, codec), ticks_per_bar=4))
    assert quotes[0].bid == 1.10427
    assert quotes[0].time_msc == JAN_2_MSC
    starts = [quote.time_msc for quote in quotes[::4]]
    days = what.endswith("of days")
    assert starts in ([JAN_2_MSC], [JAN_2_MSC, JAN_2_MSC + HOUR_MSC * (24 if days else 1)])
    assert len(starts) == (1 if "table" in what else 2)
    spread = 4 if "copy_rates" in what and "without names" not in what else 10
    assert round((quotes[0].ask - quotes[0].bid) * 100_000) == spread


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("mark", [".", ","])
def test_file_of_ticks_saved_from_copy_ticks_has_its_milliseconds(
    codec: str, mark: str, tmp_path: Path
) -> None:
    text = (
        ",time,bid,ask,last,volume,time_msc,flags,volume_real\n"
        "0,1704153600,1.10427,1.10431,0.0,0,1704153600101,6,0.0\n"
        "1,1704153600,1.10428,1.10432,0.0,0,1704153600900,6,0.0\n"
    )
    if mark == ",":
        text = text.replace(",", ";").replace(".", ",")
    assert list(open_feed(written(tmp_path, text, codec))) == [
        Quote(bid=1.10427, ask=1.10431, time_msc=JAN_2_MSC + 101),
        Quote(bid=1.10428, ask=1.10432, time_msc=JAN_2_MSC + 900),
    ]


def test_file_of_ticks_when_a_side_is_0_has_no_price_until_there_is_one(tmp_path: Path) -> None:
    """An exchange has no bid before it opens, and none after it closed."""
    text = (
        "<DATE>\t<TIME>\t<BID>\t<ASK>\t<LAST>\t<VOLUME>\t<FLAGS>\n"
        "2024.01.02\t00:00:00.100\t0\t65120\t\t\t6\n"
        "2024.01.02\t00:00:00.200\t65100\t65120\t65120\t2\t56\n"
        "2024.01.02\t00:00:00.300\t0.00\t\t\t\t2\n"
        "2024.01.02\t00:00:00.400\t\t65130\t\t\t4\n"
        "2024.01.02\t00:00:00.500\t65110\t\t\t\t2\n"
    )
    assert [(q.bid, q.ask) for q in open_feed(written(tmp_path, text))] == [
        (65100.0, 65120.0),
        (65110.0, 65130.0),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: the file is empty; the first line must be MetaTrader's"),
        ("hello\n", "line 1: this is no heading of prices; the first line must be"),
        (MT5_BARS + "x\n", "line 4: 1 fields where the heading has 9; give each column one field."),
        (MT5_BARS.replace("1.10300", "oops"), "line 2: LOW is 'oops'; give a number above 0."),
        (MT5_BARS.replace("1.10300", "nan"), "line 2: LOW is 'nan'; give a number above 0."),
        (MT5_BARS.replace("1.10300", ""), "line 2: LOW is ''; give a number above 0."),
        (MT5_BARS.replace("\t7\n", "\t-7\n"), "line 2: SPREAD is '-7'; give whole points"),
        (MT5_BARS.replace("1.10300", "1.10410"), "line 2: low 1.1041 to high 1.105 does not hold"),
        (MT5_BARS.replace("01:00:00", "00:00:00"), "line 3: this bar is not later than the one"),
        (MT5_BARS.replace("2024.01.02\t01", "2024.13.02\t01"), "line 3: the time is '2024.13.02 "),
        (MT5_BARS.replace("2024.01.02\t01", "1924.01.02\t01"), "line 3: the time is '1924.01.02 "),
        (MT5_TICKS.replace("1.10405", "-1"), "line 4: BID is '-1'; give a number above 0 or noth"),
        (MT5_TICKS.replace("1.10405", "nan"), "line 4: BID is 'nan'; give a number above 0 or n"),
        (MT5_BARS.replace("01:00:00", "1:00"), "line 3: the time is '2024.01.02 1:00'; write it "),
        (COPY_RATES.replace("1704157200", "20240102"), "line 3: the time is '20240102'; write it"),
        (COPY_RATES.replace(",4,0\n", ",x,0\n"), "line 2: SPREAD is 'x'; give whole points, 0 or"),
        (CHART.replace("1.10450", "oops"), "line 2: HIGH is 'oops'; give a number above 0."),
        (CHART + "2024.01.02,03:00\n", "line 3: 2 fields where the heading has 7; give each"),
        (MT5_TICKS.replace("00:00:02", "00:00:00"), "line 6: this tick is earlier than the one"),
    ],
)
def test_file_when_wrong_says_where_what_and_what_would_be_right(
    text: str, message: str, tmp_path: Path
) -> None:
    path = written(tmp_path, text)
    with pytest.raises(FeedError) as caught:
        list(open_feed(path))
    assert str(caught.value).startswith(f"{path}, {message}")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff\xfe\x00", "line 1: this is not text; save the file as UTF-8 or UTF-16."),
        (MT5_BARS.encode() + b"\xe9\n", "this is not text"),
        (None, "line 1: no such file or directory; give bars, random, or the path of a file"),
    ],
)
def test_file_when_unreadable_says_so(content: bytes | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "prices.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(FeedError) as caught:
        list(open_feed(str(path)))
    assert message in str(caught.value)


@pytest.mark.parametrize("arguments", [{"start": -1}, {"ticks_per_bar": 3}, {"spread_points": -1}])
def test_feed_when_an_argument_makes_no_sense_is_refused(arguments: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="a feed needs start >= 0"):
        open_feed("bars", seed=0, **arguments)


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz") / "prices.csv"


_FIELDS = st.sampled_from(
    ["", "1.1", "1.2", "0", "-1", "nan", "1e999", "2024.01.02", "00:00:01", "x"]
)
_ROWS = st.lists(st.lists(_FIELDS | st.text(max_size=5), max_size=9).map("\t".join), max_size=8)
_HEADINGS = st.sampled_from([text.partition("\n")[0] for text in (MT5_BARS, MT5_TICKS, PLAIN_BARS)])
_NEARLY_FILES = st.builds(
    lambda heading, rows: "\n".join([heading, *rows]).encode("utf-8", "replace"), _HEADINGS, _ROWS
)


@st.composite
def damaged_files(draw: st.DrawFn) -> bytes:
    """A good file with a few bytes put elsewhere."""
    content = bytearray(
        draw(st.sampled_from([MT5_BARS, MT5_TICKS, PLAIN_BARS, COPY_RATES, CHART])).encode()
    )
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(content) - 1))
        content[place : place + draw(st.integers(0, 3))] = draw(st.binary(max_size=3))
    return bytes(content) or b"x"


@given(content=st.binary(max_size=300) | _NEARLY_FILES | damaged_files())
def test_file_when_garbage_yields_sound_quotes_or_one_feed_error(
    content: bytes, fuzzed: Path
) -> None:
    fuzzed.write_bytes(content)
    last_msc = 0
    try:
        for quote in open_feed(str(fuzzed)):
            assert 0 < quote.bid <= quote.ask < float("inf")
            assert quote.time_msc >= last_msc
            last_msc = quote.time_msc
    except FeedError as error:
        assert str(error).startswith(f"{fuzzed}, line ")
        assert str(error).count("; ") >= 1
