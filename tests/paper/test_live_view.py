"""The live view as a person sees it: 80 characters by 24 lines, and 60 by 20."""

from __future__ import annotations

import io
import itertools
import logging
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from tests.cli.test_status_text import AMOUNT, LOUD, NOW, QUIET, TEXT, filled
from tests.paper.test_paper_processes import Shell
from tests.support.pseudo_terminal import ON_POSIX, terminal
from trueup.errors import SettingsError
from trueup.observe.live_view.drawing import render
from trueup.observe.live_view.view import LiveView
from trueup.observe.log import make_streams_safe, set_up_logging
from trueup.observe.status.status import (
    BookRow,
    EventRow,
    PriceRow,
    Side,
    State,
    Status,
    Verdict,
)

LONG = Side("LONG", 0.01, 1.0543)
FOOT = "Ctrl-C ends this; positions stay open."
SIZES = pytest.mark.parametrize(("width", "height"), [(80, 24), (60, 20)])
EVENTS = [
    EventRow(at=NOW, action="RECOVERY", ticket=n, details="Zombie position recovered: LONG 0.01L")
    for n in range(5)
]


def drawn(status: Status, width: int = 80, height: int = 24) -> list[str]:
    console = Console(width=width, height=height, file=io.StringIO(), color_system=None)
    with console.capture() as capture:
        console.print(render(status, FOOT, width, height))
    return capture.get().splitlines()


def with_rows(count: int, status: Status = QUIET) -> Status:
    rows = [
        BookRow(
            ticket=100_001 + number,
            identifier=100_001 + number,
            symbol="EURUSD",
            ours=LONG,
            broker=LONG,
            verdict=Verdict.AGREES,
            profit=0.5,
            price=1.0593,
        )
        for number in range(count)
    ]
    return msgspec.structs.replace(status, books=rows, events=EVENTS)


def alike(first: list[str], second: list[str], line: str) -> bool:
    return first.index(line) == second.index(line)


@SIZES
@pytest.mark.parametrize("rows", [0, 1, 3, 4, 5, 500])
def test_it_fits_the_console_and_does_not_jump(rows: int, width: int, height: int) -> None:
    lines = drawn(with_rows(rows), width, height)
    assert len(lines) < height
    assert all(len(line) <= width for line in lines)
    # What is below the books stays where it is while a few positions come and go.
    if rows in (1, 3) and width == 80:
        foot = f" {FOOT}"
        assert alike(lines, drawn(with_rows(0), width, height), foot)


def test_the_sentence_comes_first_with_a_word_beside_its_colour() -> None:
    for state, word in (
        (State.AGREES, "OK"),
        (State.DEGRADED, "RETRIES"),
        (State.NEEDS_PERSON, "YOURS"),
        (State.HALTED, "HALTED"),
    ):
        status = msgspec.structs.replace(QUIET, state=state, sentence="It is so. Nobody acts.")
        assert f" {word:<8}It is so. Nobody acts." in drawn(status)


def test_money_prices_positions_and_the_last_events_are_on_one_page() -> None:
    price = PriceRow(symbol="EURUSD", bid=1.0715, ask=1.0716, at=NOW, age_sec=0.0, is_old=False)
    text = "\n".join(drawn(msgspec.structs.replace(with_rows(1), prices=[price])))
    for said in (
        "trueup EURUSD  demo  5000001@Simulated-Demo",
        "14:03:07 UTC",
        "the broker's side is of 14:03:05 UTC (2 s)",
        "100001  EURUSD  LONG 0.01 @ 1.0543  now 1.0593  profit +0.50",
        "balance 10000.00, equity 10000.00, realised 0.00 USD",
        "EURUSD 1.0715 / 1.0716, of 14:03:07 UTC (0 s)",
        "14:03:07 RECOVERY 4 Zombie position recovered: LONG 0.01L",
        FOOT,
    ):
        assert said in text


def test_real_money_and_money_of_which_nothing_is_told_are_marked() -> None:
    for mode, word in (("demo", "demo"), ("real", "REAL"), ("", "REAL?")):
        head = drawn(msgspec.structs.replace(QUIET, trade_mode=mode))[0]
        assert f"trueup EURUSD  {word}  5000001" in head


def test_a_bot_without_a_journal_shows_its_fills() -> None:
    text = "\n".join(drawn(msgspec.structs.replace(QUIET, fills=LOUD.fills)))
    assert "Last    2026-01-04 23:59:59 UTC: SELL 0.10L EURUSD @ 1.1, ticket 44" in text


@SIZES
def test_what_waits_and_the_broker_s_figures_are_never_lost(width: int, height: int) -> None:
    lines = drawn(LOUD, width, height)
    text = " ".join("\n".join(lines).split())
    assert len(lines) < height
    for said in ("zombie-1f3a9c02", "SHORT 0.30 @ 1.07541", "now 1.0766", "profit -3.50", "OLD"):
        assert said in text, text
    assert "more: `trueup status`" in text


def test_a_price_that_is_old_says_so() -> None:
    assert any("Price" in line and "OLD" in line for line in drawn(LOUD))


def test_more_rows_than_fit_are_counted() -> None:
    lines = drawn(with_rows(500))
    (more,) = [line for line in lines if "more" in line]
    shown = len([line for line in lines if "LONG 0.01" in line and "RECOVERY" not in line])
    assert more == f"  and {500 - shown} more"
    assert shown >= 5


def test_a_control_character_does_not_control_the_console() -> None:
    status = msgspec.structs.replace(QUIET, sentence="left \x1b[2J here", gateway="\x07there")
    text = "\n".join(drawn(status))
    assert "\x1b" not in text
    assert "\x07" not in text


@given(
    st.lists(TEXT, min_size=1, max_size=5),
    st.lists(AMOUNT, min_size=1, max_size=4),
    st.sampled_from([(80, 24), (60, 20), (100, 50)]),
)
def test_every_line_fits_whatever_the_texts_are(
    texts: list[str], amounts: list[float], size: tuple[int, int]
) -> None:
    status: Status = filled(Status, itertools.cycle(texts), itertools.cycle(amounts))
    lines = drawn(status, *size)
    assert len(lines) < size[1]
    # Some characters take two columns, and some take none.
    assert all(cell_len(line) <= size[0] for line in lines)


def test_an_unchanged_status_is_not_drawn_again() -> None:
    out = io.StringIO()
    console = Console(width=80, height=24, file=out, force_terminal=True)
    with LiveView(console) as view:
        view.show(QUIET, FOOT)
        size = len(out.getvalue())
        view.show(QUIET, FOOT)
        assert len(out.getvalue()) == size
    # A killed process cannot give the cursor back.
    assert "\x1b[?25h" in out.getvalue()[: out.getvalue().index("trueup")]


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    made = Shell(tmp_path)
    try:
        yield made
    finally:
        made.clean()


ALTERNATE, BACK = "\x1b[?1049h", "\x1b[?1049l"


@ON_POSIX
def test_the_screen_of_before_comes_back_however_the_view_ends(shell: Shell) -> None:
    # As in a person's shell, which lives on when the view is killed.
    command = f"{sys.executable} -m trueup paper --strategy once:Hold; echo the shell; read end"
    words = ["/bin/sh", "-c", command]
    for end in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        with terminal(words, shell.folder, shell.environment) as screen:
            screen.wait_for("Both books are flat.")
            assert ALTERNATE in screen.raw
            assert BACK not in screen.raw
            (state,) = (shell.folder / ".trueup").glob("bot-*.json")
            os.kill(int(state.stem.removeprefix("bot-")), end)
            screen.wait_for("the shell")
            screen.wait_for_control(BACK)
        assert screen.raw.count(BACK) == 1
        # What the command says at its end is on the screen of before.
        if end is not signal.SIGKILL:
            assert "Ended." in screen.raw.partition(BACK)[2]


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
