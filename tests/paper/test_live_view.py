"""The live view as a person sees it: 80 characters by 24 lines."""

from __future__ import annotations

import io
import logging
import sys
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from trueup.errors import SettingsError
from trueup.observe.live import Level, LiveView, Picture, Row, Side, render
from trueup.observe.log import make_streams_safe, set_up_logging

LONG = Side("LONG", 0.01, 1.0543)
EMPTY = Picture(
    where="at tcp://127.0.0.1:5555",
    symbol="EURUSD",
    clock="03:12:07 UTC",
    price="bid 1.07151  ask 1.07161",
    level=Level.OK,
    health="Book and broker agree; next look in 2 s.",
    foot="Ctrl-C ends this; positions stay open",
)


def drawn(picture: Picture, height: int = 24) -> list[str]:
    console = Console(width=80, height=height, file=io.StringIO(), color_system=None)
    with console.capture() as capture:
        console.print(render(picture, 80, height))
    return capture.get().splitlines()


def with_rows(count: int) -> Picture:
    rows = [Row(100_001 + number, LONG, LONG, 0.5) for number in range(count)]
    return msgspec.structs.replace(EMPTY, rows=rows, age_sec=4.0)


@pytest.mark.parametrize("rows", [0, 1, 3, 4, 5, 500])
def test_it_fits_the_smallest_console_and_does_not_jump(rows: int) -> None:
    lines = drawn(with_rows(rows))
    assert len(lines) < 24
    assert all(len(line) <= 80 for line in lines)
    # What is below the books stays where it is while a few positions come and go.
    if rows <= 3:
        assert lines.index(" Last corrections") == drawn(EMPTY).index(" Last corrections")


def test_both_books_stand_side_by_side_with_the_age_of_the_broker_s() -> None:
    text = "\n".join(drawn(with_rows(1)))
    assert "OUR BOOK" in text
    assert "BROKER, 4 s ago" in text
    assert "100001       LONG      0.01    1.05430   LONG      0.01    1.05430      +0.50" in text


def test_whose_money_it_is_stands_beside_the_symbol() -> None:
    for money, is_real in (("demo", False), ("REAL", True)):
        head = drawn(msgspec.structs.replace(EMPTY, money=money, is_real=is_real))[0]
        assert f"trueup EURUSD  {money}  at tcp" in head


def test_a_side_that_lacks_a_ticket_says_absent() -> None:
    rows = [Row(1, LONG, None), Row(2, None, LONG, -1.0)]
    lines = drawn(msgspec.structs.replace(EMPTY, rows=rows, age_sec=0.0))
    assert [line.count("absent") for line in lines if "1.05430" in line] == [1, 1]


def test_a_ticket_that_is_newer_than_the_reading_is_unseen_and_not_absent() -> None:
    rows = [Row(1, LONG, None, is_newer=True)]
    text = "\n".join(drawn(msgspec.structs.replace(EMPTY, rows=rows, age_sec=2.0)))
    assert "unseen" in text
    assert "absent" not in text


def test_before_the_first_reading_the_broker_is_unknown_and_not_flat() -> None:
    lines = drawn(EMPTY)
    assert any("BROKER, not seen yet" in line for line in lines)
    assert any(line.split() == ["none", "flat", "?"] for line in lines)


def test_more_rows_than_fit_are_counted() -> None:
    assert " and 496 more" in drawn(with_rows(500))


def test_trouble_is_a_word_beside_its_colour_and_a_long_sentence_keeps_to_its_lines() -> None:
    picture = msgspec.structs.replace(EMPTY, level=Level.TROUBLE, health="Gateway offline " * 20)
    lines = drawn(picture)
    assert lines[3].startswith(" TROUBLE Gateway offline")
    assert len(lines) == len(drawn(EMPTY))


def test_doubts_and_corrections_are_shown_newest_last() -> None:
    audit = [(f"03:0{n}:00", "CLOSED", f"{n}  Ghost position removed") for n in range(8)]
    lines = drawn(msgspec.structs.replace(EMPTY, doubts=["BUY 0.01L A: no reply"] * 3, audit=audit))
    assert any("DOUBT   BUY 0.01L A: no reply" in line for line in lines)
    assert any("DOUBT   2 more" in line for line in lines)
    assert [line[1:9] for line in lines if "CLOSED" in line] == [f"03:0{n}:00" for n in range(3, 8)]


def test_an_unchanged_picture_is_not_drawn_again() -> None:
    out = io.StringIO()
    console = Console(width=80, height=24, file=out, force_terminal=True)
    with LiveView(console) as view:
        view.show(EMPTY)
        size = len(out.getvalue())
        view.show(EMPTY)
        assert len(out.getvalue()) == size
    # A killed process cannot give the cursor back.
    assert "\x1b[?25h" in out.getvalue()[: out.getvalue().index("trueup")]


def test_a_stream_of_code_page_1252_takes_an_arrow(monkeypatch: pytest.MonkeyPatch) -> None:
    # On Windows what is no console is UTF-8, but for who has chosen.
    monkeypatch.setenv("PYTHONIOENCODING", "chosen")
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="cp1252")
    make_streams_safe(stream)
    stream.write("0.01L → 0.02L ✅ 日")
    stream.flush()
    assert raw.getvalue() == b"0.01L -> 0.02L [ok] ?"


def test_log_lines_go_to_the_console_and_to_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    path = tmp_path / "folder" / "log.txt"
    try:
        set_up_logging(console=True, file=path)
        logging.getLogger("trueup.x").warning("[DRIFT_FIX] Volume 0.01L → 0.02L")
    finally:
        set_up_logging(console=False)
    assert out.getvalue() == path.read_text(encoding="utf-8")
    assert out.getvalue().endswith("Z WARNING [DRIFT_FIX] Volume 0.01L → 0.02L\n")


def test_a_log_file_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="--log="):
        set_up_logging(console=False, file=tmp_path)
