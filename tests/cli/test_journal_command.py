"""`trueup journal backup` and `mend`: a whole copy, and what is kept of a damaged file."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tests.journal.places import STREAM, order, orders
from trueup.cli import app
from trueup.journal import open_journal, open_reader
from trueup.journal.writing.store import StoredJournal


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TRUEUP_HOME", str(tmp_path / "state"))
    return tmp_path


def opened(path: Path) -> StoredJournal:
    return open_journal(path, STREAM, now_ns=lambda: 1)


def trueup(*arguments: str, answer: str = "") -> Result:
    return CliRunner().invoke(app, ["journal", *arguments], input=answer)


def altered(path: Path, position: int) -> None:
    connection = sqlite3.connect(path)
    connection.execute("UPDATE journal_events SET at_ns = 5 WHERE position = ?", (position,))
    connection.commit()
    connection.close()


def events_of(path: Path) -> int:
    with open_reader(path) as reader:
        assert reader.verify().sound
        return reader.position


def test_a_copy_made_beside_a_running_bot_has_what_is_still_in_the_log(folder: Path) -> None:
    with opened(folder / "bot.db") as journal:
        journal.append(orders(*range(1, 30)))
        done = trueup("backup", "copy.db", "--journal", "bot.db")
        assert done.exit_code == 0, done.output
        assert f"{STREAM}: 29 events, whole, in order and unaltered." in done.stdout
        assert "Copied to copy.db, " in done.stdout
        assert journal.append([order(30)]) == 30
    assert events_of(folder / "copy.db") == 29
    # The copy is a journal like any other.
    with opened(folder / "copy.db") as journal:
        assert journal.append([order(31)]) == 30


def test_a_copy_does_not_replace_an_earlier_one(folder: Path) -> None:
    opened(folder / "bot.db").close()
    (folder / "copy.db").write_bytes(b"earlier")
    done = trueup("backup", "copy.db", "--journal", "bot.db")
    assert done.exit_code == 2
    assert done.stderr == "copy.db is there already: give a new name, so that no copy is lost.\n"
    assert (folder / "copy.db").read_bytes() == b"earlier"


def test_a_place_that_takes_no_copy_is_named_and_nothing_is_left_there(folder: Path) -> None:
    opened(folder / "bot.db").close()
    done = trueup("backup", "nowhere/copy.db", "--journal", "bot.db")
    assert done.exit_code == 2
    assert done.stderr.startswith("bot.db cannot be copied to nowhere/copy.db: ")
    done = trueup("backup", "copy.db", "--journal", "missing.db")
    assert done.stderr == "There is no journal missing.db.\n"
    assert not (folder / "copy.db").exists()


def test_the_copy_of_an_altered_journal_is_made_and_called_damaged(folder: Path) -> None:
    with opened(folder / "bot.db") as journal:
        journal.append(orders(1, 2))
        journal.append(orders(3))
    altered(folder / "bot.db", 3)
    done = trueup("backup", "copy.db", "--journal", "bot.db")
    assert done.exit_code == 1
    assert "DAMAGED. 2 events proven" in done.stdout
    assert "Copied" not in done.stdout


def test_mending_keeps_what_is_proven_and_the_damaged_file(folder: Path) -> None:
    with opened(folder / "bot.db") as journal:
        for number in range(1, 40):
            journal.append(orders(number))
    altered(folder / "bot.db", 30)
    before = (folder / "bot.db").read_bytes()
    refused = trueup("mend", "--journal", "bot.db", answer="n\n")
    assert refused.exit_code == 2
    assert "position 30: the event at position 30 was altered" in refused.stdout
    assert refused.stderr.endswith("Nothing was changed.\n")
    assert (folder / "bot.db").read_bytes() == before

    done = trueup("mend", "--journal", "bot.db", answer="y\n")
    assert done.exit_code == 0, done.output
    assert f"{STREAM}: 29 events kept." in done.stdout
    assert "entries wait until you approve the loss" in done.stdout
    assert (folder / "bot.db.damaged-1").read_bytes() == before
    # The lock file tells the next bot that events are gone.
    with opened(folder / "bot.db") as journal:
        assert journal.position == 29
        assert "ends at position 29, and position 39 was acknowledged" in journal.lost


@pytest.mark.parametrize("is_short", [False, True])
def test_a_whole_file_is_not_mended(folder: Path, is_short: bool) -> None:
    with opened(folder / "bot.db") as journal:
        journal.append(orders(1))
        copied = trueup("backup", "copy.db", "--journal", "bot.db")
        assert copied.exit_code == 0
        journal.append(orders(2))
    if is_short:
        # An older copy was put back: its end comes from the broker, not from the file.
        (folder / "copy.db").replace(folder / "bot.db")
    before = (folder / "bot.db").read_bytes()
    done = trueup("mend", "--journal", "bot.db")
    assert done.exit_code == 0
    assert "Nothing to mend: all that is in the file can be read." in done.stdout
    assert (folder / "bot.db").read_bytes() == before


def test_a_file_of_which_nothing_can_be_read_is_left_as_it_is(folder: Path) -> None:
    (folder / "bot.db").write_bytes(b"no database at all" * 100)
    done = trueup("mend", "--yes", "--journal", "bot.db")
    assert done.exit_code == 2
    assert "bot.db: it is not a SQLite database" in done.stderr
    assert "restore a copy" in done.stderr
    assert (folder / "bot.db").read_bytes().startswith(b"no database")
    assert list(folder.glob("*.damaged*")) == list(folder.glob("*.salvag*")) == []


@pytest.mark.parametrize("command", [("backup", "copy.db"), ("mend",)])
def test_a_journal_in_a_server_is_left_to_the_server_s_tools(
    folder: Path, command: tuple[str, ...]
) -> None:
    url = "postgresql://bot:secret@db.example/prices"
    done = trueup(*command, "--journal", url)
    assert done.exit_code == 2
    assert "PostgreSQL database 'prices' on db.example is " in done.stderr
    assert "secret" not in done.output
