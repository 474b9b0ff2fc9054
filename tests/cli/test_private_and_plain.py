"""What a command prints does nothing to the console, and what it writes is its user's alone."""

from __future__ import annotations

import io
import os
import re
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from tests.cli.test_status_text import LOUD, NOW
from tests.support.desk_world import DeskWorld
from trueup.cli.shared.say import say
from trueup.gateway.record.account_lock import AccountLock
from trueup.gateway.record.store import RequestStore
from trueup.journal import open_journal
from trueup.observe.live_view.drawing import render
from trueup.observe.log import set_up_logging
from trueup.observe.status.status import EventRow
from trueup.protocol.rows import is_name
from trueup.runtime.control.state_files import StateFile
from trueup.sim.process.whereabouts import Whereabouts

SOURCES = Path(__file__).resolve().parents[2] / "src" / "trueup" / "cli"
# Turns the line around, clears the screen, sets the title, and rings; the last is
# the 8-bit form of the first.
NASTY = "\u202e\x1b[2J\x1b]0;owned\x07\r\x9b2J"


def test_a_control_character_is_shown_and_not_obeyed(capsys: pytest.CaptureFixture[str]) -> None:
    say(f"comment {NASTY}\nsecond line")
    said = capsys.readouterr().out
    assert said == "comment \\u202e\\x1b[2J\\x1b]0;owned\\x07\\r\\x9b2J\nsecond line\n"


def test_every_command_prints_by_that_way() -> None:
    for path in SOURCES.glob("*.py"):
        if path.name != "say.py":
            assert not re.search(r"typer\.echo\(|\bprint\(", path.read_text("utf-8")), path


def test_the_live_view_shows_no_control_character_of_a_broker() -> None:
    named = ("symbol", "gateway", "sentence", "works", "account", "detail")
    status = msgspec.structs.replace(LOUD, **dict.fromkeys(named, f"here {NASTY}"))
    event = EventRow(at=NOW, action="CLOSED", ticket=None, details=f"because {NASTY}")
    status = msgspec.structs.replace(status, needs=[f"need {NASTY}"], events=[event])
    file = io.StringIO()
    Console(file=file, width=200, no_color=True).print(render(status, f"foot {NASTY}", 200, 40))
    drawn = file.getvalue()
    assert not set(drawn) & {chr(code) for code in (*range(10), *range(11, 32), 0x7F, 0x9B)}
    assert "\\u202e\\x1b[2J" in drawn


def test_a_symbol_with_a_control_character_is_no_name() -> None:
    assert is_name("東京")
    assert is_name("US 500")
    for name in ("EUR\x1b[2J", "EUR\nUSD", "EUR\u202eUSD", "\x07", ""):
        assert not is_name(name)


needs_modes = pytest.mark.skipif(sys.platform == "win32", reason="rights of files are the folder's")


@pytest.fixture
def shared_umask() -> Iterator[None]:
    """The system's default, by which everybody may read what a program makes."""
    before = os.umask(0o022)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@needs_modes
@pytest.mark.usefixtures("shared_umask")
def test_books_records_and_logs_are_for_their_user_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    monkeypatch.setenv("TRUEUP_HOME", str(home))
    where = Whereabouts(1, "tcp://127.0.0.1:1", "tcp://127.0.0.1:2", "5000001", "EURUSD", "now")
    StateFile("terminal.json", Whereabouts).write(where)
    set_up_logging(console=False, file=home / "bot.log")
    book = home / "bot.db"
    journal = open_journal(book, "bot", now_ns=lambda: 1)
    world = DeskWorld(journal=journal)
    world.sync()
    world.trade(1)
    record = RequestStore(home / "requests.db", "boot", lambda: 1)
    record.find("a")
    lock = AccountLock(home / "account.lock", "5000001")
    try:
        assert mode(home) == 0o700
        found = {path.name: mode(path) for path in home.iterdir()}
        assert {"bot.db", "bot.db-wal", "requests.db", "bot.log", "terminal.json"} <= set(found)
        assert {name for name, rights in found.items() if rights & 0o077} == set(), found
    finally:
        lock.release()
        record.close()
        journal.close()
        set_up_logging(console=False)


@needs_modes
@pytest.mark.usefixtures("shared_umask")
def test_a_book_that_is_there_keeps_the_rights_that_somebody_gave_it(tmp_path: Path) -> None:
    book = tmp_path / "bot.db"
    book.touch(0o640)
    book.chmod(0o640)
    with open_journal(book, "bot", now_ns=lambda: 1):
        pass
    assert mode(book) == 0o640
