"""`trueup journal archive`, `restore` and `partition`: what they say, and what they refuse."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tests.journal.places import NOW_NS, order, orders
from trueup.cli import app
from trueup.journal import open_journal, open_reader
from trueup.journal.backends.location import database_at

DAY = "2026-01-06"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the journal of two books, of 30 and of 3 events, all of 2026-01-05."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TRUEUP_HOME", str(tmp_path / "state"))
    (tmp_path / "archives").mkdir()
    for stream, count in (("EURUSD", 10), ("USDJPY", 1)):
        with open_journal(tmp_path / "bot.db", stream, now_ns=lambda: NOW_NS) as journal:
            for first in range(1, 3 * count, 3):
                journal.append(orders(first, first + 1, first + 2))
    return tmp_path


def trueup(*arguments: str) -> Result:
    return CliRunner().invoke(app, [*arguments, "--journal", "bot.db"])


def archived() -> Result:
    return trueup("journal", "archive", "--before", DAY, "--to", "archives")


def test_archive_says_what_is_where_and_verify_proves_it(folder: Path) -> None:
    done = archived()
    assert done.exit_code == 0, done.output
    file = folder / "archives" / "EURUSD-1-27.jsonl.gz"
    assert "EURUSD: events 1 to 27 are in " in done.stdout
    assert "EURUSD-1-27.jsonl.gz, 0.0 MB.\n  sha256 " in done.stdout
    assert "USDJPY: nothing to archive before 2026-01-06 00:00:00 UTC." in done.stdout

    said = trueup("journal", "verify").stdout
    assert "EURUSD: 3 events after the 27 archived, whole, in order and unaltered." in said
    assert f"  events 1 to 27 are in {file} (not verified: give --archives FOLDER)" in said
    said = trueup("journal", "verify", "--archives", "archives").stdout
    assert "EURUSD: 30 events, whole, in order and unaltered." in said
    assert said.splitlines()[2] == f"  events 1 to 27 are in {file}"

    # Who reads the past reads the file.
    assert trueup("audit", "--stream", "EURUSD", "--json").stdout.count('"INTENT"') == 30


def test_info_says_how_much_is_archived(folder: Path) -> None:
    assert "archive" not in trueup("journal", "info").stdout
    archived()
    assert "      events 1 to 27 are in an archive\n" in trueup("journal", "info").stdout


def test_archive_in_json_names_file_and_digest(folder: Path) -> None:
    done = trueup("journal", "archive", "--before", DAY, "--to", "archives", "--json")
    (found,) = json.loads(done.stdout)
    assert (found["stream"], found["first"], found["last"]) == ("EURUSD", 1, 27)
    assert found["bytes"] == Path(found["file"]).stat().st_size
    assert len(found["sha256"]) == 64


def test_archive_that_is_elsewhere_is_named_by_who_needs_it(folder: Path) -> None:
    archived()
    (folder / "archives").rename(folder / "cold")
    for command in (["audit"], ["export", "orders"], ["replay", "--at", "2026-01-05 00:00"]):
        refused = trueup(*command, "--stream", "EURUSD")
        assert refused.exit_code == 2, refused.output
        assert "The events 1 to 27 of stream 'EURUSD' are in the archive " in refused.stderr
        assert "trueup journal restore FILE" in refused.stderr
        assert "Traceback" not in refused.output
    assert "Start the bot again" in trueup("status", "--stream", "EURUSD").stdout
    said = trueup("journal", "verify", "--archives", "archives")
    assert said.exit_code == 1
    assert "EURUSD: DAMAGED." in said.stdout
    assert trueup("journal", "verify", "--archives", "cold").exit_code == 0


def test_restore_puts_several_files_back_in_the_right_order(folder: Path) -> None:
    archived()
    with open_journal(folder / "bot.db", "EURUSD", now_ns=lambda: NOW_NS) as journal:
        for number in range(31, 40):
            journal.append([order(number)])
    assert archived().exit_code == 0
    files = sorted(map(str, (folder / "archives").iterdir()))
    assert len(files) == 2
    refused = CliRunner().invoke(app, ["journal", "restore", files[0], "--journal", "bot.db"])
    assert refused.exit_code == 2
    assert "back first" in refused.stderr
    done = CliRunner().invoke(app, ["journal", "restore", *files, "--journal", "bot.db"])
    assert done.exit_code == 0, done.output
    assert "EURUSD: events 1 to 27 are in the journal again." in done.stdout
    with open_reader(folder / "bot.db", "EURUSD") as reader:
        assert reader.archived == []
        assert list(reader.read()) == orders(*range(1, 40))


@pytest.mark.parametrize(
    ("words", "said", "code"),
    [
        (["--before", "2099-01-01", "--to", "archives"], "it is in the future", 64),
        (["--before", "soon", "--to", "archives"], "--before='soon' is not valid", 64),
        (["--before", DAY, "--to", "none"], "there is no such folder", 2),
        (["--before", DAY, "--to", "bot.db"], "it is a file", 2),
        (["--before", DAY, "--to", "archives", "--stream", "X"], "There is no stream 'X'", 2),
    ],
)
def test_archive_with_wrong_words_says_so_and_changes_nothing(
    folder: Path, words: list[str], said: str, code: int
) -> None:
    before = (folder / "bot.db").read_bytes()
    refused = trueup("journal", "archive", *words)
    assert (refused.exit_code, refused.stdout) == (code, "")
    assert said in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    assert (folder / "bot.db").read_bytes() == before
    assert list((folder / "archives").iterdir()) == []


def test_archive_without_a_journal_makes_none(folder: Path) -> None:
    words = ["journal", "archive", "--before", DAY, "--to", "archives", "--journal", "none.db"]
    refused = CliRunner().invoke(app, words)
    assert refused.exit_code == 2
    assert refused.stderr == "There is no journal none.db.\n"
    assert not (folder / "none.db").exists()


def test_archive_when_one_book_is_damaged_does_the_others(folder: Path) -> None:
    with open_journal(folder / "bot.db", "USDJPY", now_ns=lambda: NOW_NS) as journal:
        journal.append([order(4)])
    database = database_at(folder / "bot.db")
    database.connect()
    with database.writing():
        database.change("UPDATE journal_events SET at_ns = 5 WHERE stream = 'EURUSD'")
    database.close()
    done = archived()
    assert done.exit_code == 2
    assert "EURUSD: " in done.stderr
    assert "position 1 was altered" in done.stderr
    assert "USDJPY: events 1 to 3 are in " in done.stdout


def test_archive_beside_another_one_is_refused(folder: Path) -> None:
    database = database_at(folder / "bot.db")
    database.connect()
    with database.maintaining():
        refused = archived()
    database.close()
    assert refused.exit_code == 2
    assert "archives events of bot.db; wait until it has ended" in refused.stderr


def test_restore_of_what_is_no_archive_says_so(folder: Path) -> None:
    (folder / "text").write_text("no archive")
    refused = trueup("journal", "restore", "text")
    assert refused.exit_code == 2
    said = "text is no archive of a journal, or is damaged: it is no gzip file.\n"
    assert refused.stderr == said


def test_partition_of_a_file_is_refused(folder: Path) -> None:
    refused = trueup("journal", "partition")
    assert refused.exit_code == 2
    assert refused.stderr == ("bot.db is a file: only a journal in PostgreSQL has partitions.\n")
