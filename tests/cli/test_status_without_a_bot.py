"""`trueup status` where no bot answers: its journal says what it left behind."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tests.cli.test_bot_processes import start
from tests.paper.test_paper_processes import Shell
from tests.support.make import bound, created, pending, position
from trueup.cli import app
from trueup.core.book import events
from trueup.core.model import Side
from trueup.journal import open_journal
from trueup.journal.writing.store import StoredJournal
from trueup.runtime.bot.portfolio import PortfolioManager
from trueup.runtime.control import bots
from trueup.runtime.control.bots import Bot
from trueup.runtime.control.last_known import last_known
from trueup.runtime.control.state_files import StateFile

NOW_NS = 1_767_621_787_000_000_000
JOURNAL = Path(".trueup") / "paper.db"
HELD = position(5, identifier=5)
GONE = position(6, identifier=6)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TRUEUP_HOME", raising=False)
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["status", *arguments])


def opened(place: Path = JOURNAL, stream: str = "EURUSD", at_ns: int = NOW_NS) -> StoredJournal:
    place.parent.mkdir(exist_ok=True)
    return open_journal(place, stream, holder="trueup paper", now_ns=lambda: at_ns)


def left_behind(place: Path = JOURNAL, stream: str = "EURUSD", at_ns: int = NOW_NS) -> None:
    """Write a journal that has a bit of everything, as a process leaves it that is killed."""
    history: list[events.Event] = [
        bound(),
        events.PositionAdopted(at_ns=NOW_NS, position=HELD),
        events.PositionAdopted(at_ns=NOW_NS, position=GONE),
        events.PositionMissing(at_ns=NOW_NS, position=GONE, because="deal not visible yet"),
        events.PendingAdopted(at_ns=NOW_NS, order=pending(50)),
        events.HaltRaised(
            at_ns=NOW_NS, symbol="EURUSD", identifier=5, order_id="ORD_9", because="case C: look"
        ),
        created("ORD_1", Side.BUY, 0.1, by_desk=True),
        events.SendStarted(at_ns=NOW_NS, order_id="ORD_1"),
        created("ORD_2", Side.BUY, 0.1, by_desk=True),
        events.SendStarted(at_ns=NOW_NS, order_id="ORD_2"),
        events.OrderInDoubt(at_ns=NOW_NS, order_id="ORD_2", error="no reply within 2000 ms"),
        created("ORD_3", Side.BUY, 0.1, by_desk=True),
    ]
    with opened(place, stream, at_ns) as journal:
        journal.append(history)


def test_a_dead_bot_s_book_doubts_and_holds_are_told_from_its_journal() -> None:
    left_behind()
    done = run()
    assert done.exit_code == 2
    text = " ".join(done.stdout.split())
    assert "No bot runs in this folder" in text
    for said in (
        "Journal .trueup/paper.db, stream EURUSD, ends at 2026-01-05 00:00:00 UTC. Written last",
        "Held EURUSD: Ticket 6, LONG 0.01L @ 1.0543, is not in the broker's list since 14:03:07",
        "Held EURUSD: case C: look until a person checks the",
        # It was under way when the process ended.
        "In doubt ORD_1, BUY 0.10L EURUSD, since 00:00:00 UTC: the process ended before an answer",
        "In doubt ORD_2, BUY 0.10L EURUSD, since 14:03:07 UTC: no reply within 2000 ms",
        "Pending 50 BUY LIMIT",
        "Book 5 EURUSD LONG 0.01L @ 1.0543",
    ):
        assert said in text, text
    assert "ORD_3" not in text  # it never left
    (facts,) = [json.loads(run("--json").stdout)["journal"]]
    assert [row["ticket"] for row in facts["positions"]] == [5, 6]
    assert [row["order_id"] for row in facts["in_doubt"]] == ["ORD_2", "ORD_1"]
    assert [row["kind"] for row in facts["holds"]] == ["missing", "halt"]


def test_to_look_changes_nothing() -> None:
    left_behind()
    before = JOURNAL.read_bytes()
    first, second = run().stdout, run().stdout
    assert first == second
    assert JOURNAL.read_bytes() == before


def test_a_book_that_was_saved_whole_is_told_like_one_that_is_replayed() -> None:
    left_behind()
    told = last_known(JOURNAL, None)
    pm = PortfolioManager("EURUSD", journal=opened())
    pm.close_journal()  # writes a checkpoint at the last event
    again = last_known(JOURNAL, None)
    assert again.positions == told.positions
    assert again.holds == told.holds
    assert {row.order_id for row in again.in_doubt} == {"ORD_1", "ORD_2"}
    assert again.last_event is not None


def test_of_several_books_the_one_that_was_opened_last_is_told_and_the_others_named() -> None:
    left_behind(stream="old", at_ns=NOW_NS)
    left_behind(stream="new", at_ns=NOW_NS + 1)
    assert "stream new, ends" in run().stdout
    assert "the journal has more books: --stream old" in " ".join(run().stdout.split())
    assert "stream old, ends" in run("--stream", "old").stdout


def test_a_journal_elsewhere_is_found_by_what_the_killed_bot_wrote_down(folder: Path) -> None:
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    left_behind(elsewhere / "bot.db", "mine")
    StateFile("bot-5.json", Bot).write(
        Bot(5, "tcp://127.0.0.1:1", "EURUSD", "2026", str(elsewhere / "bot.db"), "mine")
    )
    assert "elsewhere/bot.db, stream mine" in " ".join(run().stdout.split())


def test_a_bot_that_hangs_is_said_to_and_its_journal_told(monkeypatch: pytest.MonkeyPatch) -> None:
    left_behind()
    monkeypatch.setattr(bots, "ASK_TIMEOUT_MS", 50)
    with socket.create_server(("127.0.0.1", 0)) as other:
        endpoint = f"tcp://127.0.0.1:{other.getsockname()[1]}"
        StateFile("bot-5.json", Bot).write(Bot(5, endpoint, "EURUSD", ""))
        done = run()
    assert done.exit_code == 2
    assert done.stderr.startswith("The bot of this folder, process 5")
    assert "Book       5 EURUSD" in done.stdout
    assert "No bot runs" not in done.stdout


@pytest.mark.parametrize("given", [("--journal", "no.db"), ("--stream", "x")])
def test_a_journal_that_is_not_there_is_one_sentence(given: tuple[str, str]) -> None:
    if given[0] == "--stream":
        left_behind()
    done = run(*given)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1


def test_a_bot_that_was_killed_is_told_of_by_a_second_shell(shell: Shell) -> None:
    bot = start(shell, "bot.log")
    bot.wait_for("[STARTUP] No recovery needed")
    ticket = shell.run("trade", "open", "buy", "0.05").stdout.split()[2].rstrip(",")
    bot.wait_for(f"[RECOVERY] Zombie position recovered: Ticket {ticket}")
    bot.child.kill()
    bot.child.wait()
    done = shell.run("status")
    assert done.returncode == 2
    assert f"Book       {ticket} EURUSD LONG 0.05L" in done.stdout
    # What the terminal has is told beside it.
    assert "Terminal   process" in done.stdout
