"""`trueup status` where no bot answers: the same words, from the journal that it left behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner, Result

from tests.cli.test_bot_processes import start
from tests.cli.test_doctor import status as made_status
from tests.paper.test_paper_processes import Shell
from tests.support.make import bound, created, pending, position
from trueup.cli import app
from trueup.core.book import events
from trueup.core.claims import shadow_stream_of
from trueup.core.dates import iso
from trueup.core.model import Side
from trueup.errors import NotSent, OutcomeUnknown, SettingsError, TrueupError
from trueup.journal import open_journal, open_reader
from trueup.journal.backends import sqlite
from trueup.journal.writing.store import StoredJournal
from trueup.observe.status.facts import Fate
from trueup.observe.status.status import SCHEMA, Status
from trueup.runtime.bot.portfolio import PortfolioManager
from trueup.runtime.control import bots, gathering
from trueup.runtime.control.bots import ENDED, Bot
from trueup.runtime.control.last_known import book_of, by_journal, last_known
from trueup.runtime.control.programs import Program, note_program
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


def flat(result: Result) -> str:
    return " ".join(result.stdout.split())


def opened(place: Path = JOURNAL, stream: str = "EURUSD", at_ns: int = NOW_NS) -> StoredJournal:
    place.parent.mkdir(exist_ok=True)
    return open_journal(place, stream, holder="trueup paper", now_ns=lambda: at_ns)


def left_behind(
    place: Path = JOURNAL, stream: str = "EURUSD", at_ns: int = NOW_NS, *, halts: bool = False
) -> None:
    """Write a journal that has a bit of everything, as a process leaves it that is killed."""
    history: list[events.Event] = [
        bound(),
        events.PositionAdopted(at_ns=NOW_NS, position=HELD),
        events.PositionAdopted(at_ns=NOW_NS, position=GONE),
        events.PositionMissing(at_ns=NOW_NS, position=GONE, because="deal not visible yet"),
        events.PendingAdopted(at_ns=NOW_NS, order=pending(50)),
        created("ORD_1", Side.BUY, 0.1, by_desk=True),
        events.SendStarted(at_ns=NOW_NS, order_id="ORD_1"),
        created("ORD_2", Side.BUY, 0.1, by_desk=True),
        events.SendStarted(at_ns=NOW_NS, order_id="ORD_2"),
        events.OrderInDoubt(at_ns=NOW_NS, order_id="ORD_2", error="no reply within 2000 ms"),
        created("ORD_3", Side.BUY, 0.1, by_desk=True),
    ]
    if halts:
        history.append(
            events.HaltRaised(
                at_ns=NOW_NS,
                symbol="EURUSD",
                identifier=5,
                order_id="ORD_9",
                because="case C: look",
            )
        )
    with opened(place, stream, at_ns) as journal:
        journal.append(history)


def test_a_dead_bot_s_book_doubts_and_holds_are_told_from_its_journal() -> None:
    left_behind()
    done = run()
    assert done.exit_code == 1
    text = flat(done)
    for said in (
        "No bot runs, and its book has two positions, one pending order and two orders in doubt. "
        "One action is yours.",
        "Works No bot opens or closes anything: close by hand in the terminal.",
        "As of It is not known when the bot ended; the book is as of 2026-01-05 00:00:00 UTC;",
        "NEEDS YOU Start the bot again, or look after the account in the terminal.",
        "Because Written last by trueup paper (process",
        "Held EURUSD: Ticket 6, LONG 0.01L @ 1.0543, is not in the broker's list since 14:03:07",
        # It was under way when the process ended.
        "In doubt BUY 0.10L EURUSD (ORD_1), since 2026-01-05 00:00:00 UTC",
        "the process ended before an answer",
        "In doubt BUY 0.10L EURUSD (ORD_2), since 2026-01-05 14:03:07 UTC",
        "no reply within 2000 ms",
        "50 EURUSD BUY LIMIT",
        "5 EURUSD LONG 0.01 @ 1.0543",
        "stream EURUSD",
    ):
        assert said in text, text
    assert "ORD_3" not in text  # it never left
    facts = json.loads(run("--json").stdout)["journal"]
    assert (facts["schema"], facts["state"], facts["source"]) == (SCHEMA, "needs_person", "journal")
    assert [row["ticket"] for row in facts["books"]] == [5, 6, 50]
    assert {row["verdict"] for row in facts["books"]} == {"not asked"}
    assert [row["order_id"] for row in facts["in_doubt"]] == ["ORD_2", "ORD_1"]
    assert [row["kind"] for row in facts["held"]] == ["missing"]


def test_a_dead_bot_whose_journal_halts_entries_is_halted() -> None:
    left_behind(halts=True)
    done = run()
    assert done.exit_code == 3
    assert done.stdout.startswith("Entries in EURUSD are halted: journal and broker contradict")
    assert "and no bot runs, and its book has two positions" in flat(done)
    assert "NEEDS YOU case C: look (until a person checks the position" in flat(done)


def test_a_folder_without_bot_and_journal_has_a_code_of_its_own() -> None:
    done = run()
    assert done.exit_code == 4
    assert done.stdout.startswith("No bot runs in this folder, and no journal is here.")
    assert json.loads(run("--json").stdout) == {
        "schema": "trueup/status/1",
        "bots": [],
        "journal": None,
        "terminal": None,
    }


def test_to_look_changes_nothing() -> None:
    left_behind()
    before = JOURNAL.read_bytes()
    run()
    assert JOURNAL.read_bytes() == before


def test_a_book_that_was_saved_whole_is_told_like_one_that_is_replayed() -> None:
    left_behind()
    told = last_known(JOURNAL, None, NOW_NS)
    pm = PortfolioManager("EURUSD", journal=opened())
    pm.close_journal()  # writes a checkpoint at the last event
    again = last_known(JOURNAL, None, NOW_NS)
    assert again.books == told.books
    assert again.held == told.held
    assert {row.order_id for row in again.in_doubt} == {"ORD_1", "ORD_2"}


def test_of_several_books_the_one_that_was_opened_last_is_told_and_the_others_named() -> None:
    left_behind(stream="old", at_ns=NOW_NS)
    left_behind(stream="new", at_ns=NOW_NS + 1)
    assert "stream new" in flat(run())
    assert "the journal has more books: --stream old" in flat(run())
    assert "stream old" in flat(run("--stream", "old"))


def test_a_stream_that_is_not_there_is_told_with_those_that_are(folder: Path) -> None:
    left_behind(stream="old")
    with pytest.raises(SettingsError) as wrong:
        last_known(JOURNAL, "new", NOW_NS)
    assert str(wrong.value) == f"--stream='new' is not valid: {JOURNAL} has 'old'."
    left_behind(stream="older", at_ns=NOW_NS - 1)
    with pytest.raises(SettingsError, match=r"has 'old', 'older'\.$"):
        last_known(JOURNAL, "new", NOW_NS)
    # The page's way: an error is told in the status, but for a wrong name.
    with pytest.raises(SettingsError, match=r"has 'old', 'older'\.$"):
        by_journal(JOURNAL, "new", NOW_NS)
    empty = folder / "empty.db"
    with opened(empty, "gone"):
        pass
    with pytest.raises(SettingsError, match=r"has 'gone'\.$"):
        last_known(empty, "new", NOW_NS)


def test_the_journal_of_a_watch_beside_a_bot_is_no_bots() -> None:
    with opened(stream=shadow_stream_of("7@Demo")):
        pass
    with pytest.raises(SettingsError) as watch:
        last_known(JOURNAL, None, NOW_NS)
    assert str(watch.value) == (
        f"--journal='{JOURNAL}' is not valid: this is the journal of a watch beside a bot; "
        "`trueup watch` goes on with it and reports."
    )


def test_a_bot_without_a_journal_here_is_told_with_what_to_give() -> None:
    told = by_journal(None, "mine", NOW_NS)
    assert (told.journal, told.journal_file, told.stream) == ("", "", "mine")
    assert told.journal_trouble.startswith(
        "The bot has no journal in a file; give --journal, if it keeps one on a server"
    )
    JOURNAL.parent.mkdir()
    JOURNAL.write_bytes(b"not a database, and longer than a header " * 40)
    told = by_journal(JOURNAL, None, NOW_NS)
    assert (told.journal, told.stream) == (str(JOURNAL), "")
    assert told.journal_file == str(JOURNAL.resolve())
    assert "paper.db" in told.journal_trouble


def test_the_facts_of_a_journal_are_in_its_status() -> None:
    left_behind(stream="old", at_ns=NOW_NS - 1)
    left_behind(stream="new", halts=True)
    fate = Fate(pid=7, symbol="EURUSD", started="then", gateway="tcp://h:1")
    told = last_known(JOURNAL, None, NOW_NS + 5_000_000_000, fate)
    assert (told.journal, told.journal_file) == (str(JOURNAL), str(JOURNAL.resolve()))
    assert (told.stream, told.others) == ("new", ["old"])
    assert (told.pid, told.symbol, told.started, told.endpoint) == (
        *(7, "EURUSD", "then", "tcp://h:1"),
    )
    assert told.now == iso(NOW_NS + 5_000_000_000)
    assert told.events[0].action == "HALT"
    missing, halt = told.held[0], told.findings
    assert (missing.kind, missing.symbol, missing.ticket) == ("missing", "EURUSD", 6)
    assert missing.reason == (
        "Ticket 6, LONG 0.01L @ 1.0543, is not in the broker's list since 14:03:07 UTC, no proof"
    )
    assert missing.until == "the deals that close it, or its return to the broker's list"
    assert halt


def test_the_time_of_a_book_is_that_of_its_last_event_also_if_it_was_saved_whole() -> None:
    with opened() as journal:
        journal.append([bound(), events.PositionAdopted(at_ns=NOW_NS, position=HELD)])
        with open_reader(JOURNAL) as reader:
            book, last_ns = book_of(reader)
            assert last_ns == NOW_NS
        journal.checkpoint(2, book.state())
    with open_reader(JOURNAL) as reader:
        again, last_ns = book_of(reader)
    assert (last_ns, set(again.holdings)) == (NOW_NS, {5})
    with opened(stream="empty"):
        pass
    with open_reader(JOURNAL, "empty") as reader:
        assert book_of(reader)[1] is None


# Which books of a folder are told, and from where.


def bot_of(pid: int, started: str, **fields: Any) -> Bot:
    bot = Bot(pid, f"tcp://127.0.0.1:{pid}", "EURUSD", started, **fields)
    bots.state_file(pid, bot.account).write(bot)
    return bot


class Folder:
    """A folder of bots: which have an open port, which answer, and which live."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.listening: set[int] = set()
        self.alive: set[int] = set()
        self.answers: dict[int, Any] = {}
        self.told: list[tuple[Any, ...]] = []
        patch = monkeypatch.setattr
        patch(bots, "listens", lambda port, _: int(port.rpartition(":")[2]) in self.listening)
        patch(gathering, "is_alive", lambda pid: pid in self.alive)
        patch(gathering, "ask_bot", self._ask)
        patch(gathering, "_by_journal", self._by_journal)
        patch(gathering, "read_status", lambda answer: answer)

    def _ask(self, bot: Bot, command: str) -> dict[str, Any]:
        assert command == "status"
        answer = self.answers.get(bot.pid)
        if isinstance(answer, Exception):
            raise answer
        return {"ok": True, "status": answer}

    def _by_journal(self, place: Any, stream: str | None, fate: Fate | None) -> Any:
        if str(place).startswith("postgresql:"):
            raise SettingsError("--stream", "s", "no")
        place = None if place is None else str(place)
        if fate is not None:
            self.told.append((place, stream, fate.pid, fate.hangs, fate.script))
        else:
            self.told.append((place, stream))
        return self.told[-1]

    def statuses(self, server: str | None = None) -> list[Any]:
        self.told.clear()
        return list(gathering.statuses_of_bots(server))


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Folder:
    return Folder(monkeypatch)


def test_each_book_of_a_folder_is_told_once_by_the_one_who_knows_most(
    here: Folder, folder: Path
) -> None:
    book = {"journal_file": str(folder / "a.db"), "stream": "s"}
    bot_of(1, "2026-01-01", **book)
    bot_of(2, "2026-01-02", **book)
    bot_of(3, "2026-01-03", journal_file=str(folder / "b.db"), stream="s")
    # All were killed: of each book the bot that ran last.
    assert here.statuses() == [("b.db", "s", 3, False, ""), ("a.db", "s", 2, False, "")]
    # One of a book runs again and answers.
    here.listening, here.alive = {1}, {1}
    here.answers[1] = {"pid": 1, "schema": "x"}
    assert here.statuses() == [{"pid": 1, "schema": "x"}, ("b.db", "s", 3, False, "")]


@pytest.mark.parametrize(
    "answer",
    [None, NotSent("no"), OutcomeUnknown("no"), {"pid": 99}, "no object"],
)
def test_a_port_without_a_bots_own_answer_hangs_or_was_another_programs(
    here: Folder, folder: Path, answer: Any
) -> None:
    bot_of(1, "2026-01-01", journal_file=str(folder / "a.db"), stream="s")
    here.listening, here.answers[1] = {1}, answer
    assert here.statuses() == [("a.db", "s", 1, False, "")]
    here.alive = {1}
    assert here.statuses() == [("a.db", "s", 1, True, "")]


def test_bots_without_a_journal_have_each_a_book_of_their_own(here: Folder) -> None:
    for account in ("a", "b"):
        bot_of(1, "2026-01-01", account=account)
    bot_of(2, "2026-01-02", stream="s")
    assert here.statuses() == [
        (None, "s", 2, False, ""),
        (None, None, 1, False, ""),
        (None, None, 1, False, ""),
    ]
    # The server does not have the book of this name.
    assert here.statuses("postgresql://db/bots")[0] == (None, "s", 2, False, "")


def test_an_answer_that_cannot_be_read_is_an_error_of_its_own(
    here: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    bot_of(1, "2026-01-01")
    here.listening, here.answers[1] = {1}, {"pid": 1}

    def unreadable(answer: Any) -> Any:
        raise TrueupError("version 99")

    monkeypatch.setattr(gathering, "read_status", unreadable)
    with pytest.raises(gathering.AnswerUnreadable, match="version 99"):
        here.statuses()


def test_a_journal_that_no_bot_has_told_is_told_from_the_file(
    here: Folder, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def left(place: str, stream: str | None = None, *found: Any, is_given: bool = False) -> Any:
        return gathering.status_left_behind(place, stream, list(found), is_given=is_given)

    paper = folder / "paper.db"
    assert left("paper.db") is None
    paper.write_bytes(b"")
    assert left("paper.db") == ("paper.db", None)
    one = made_status(journal_file=str(paper), stream="s")
    assert left("paper.db", None, one) is None
    assert left("paper.db", "s", one) is None
    assert left("paper.db", "t", one) == ("paper.db", "t")
    other = made_status(journal_file=str(folder / "other.db"))
    assert left("paper.db", None, other) == ("paper.db", None)
    # The journal of the bot that ran last, unless a person names one.
    mine = folder / "mine.db"
    mine.write_bytes(b"")
    bot_of(7, "2026-01-01", journal_file=str(mine), stream="s")
    assert left("paper.db") == ("mine.db", "s", 7, False, "")
    assert left("paper.db", "t") == ("mine.db", "t")
    assert left("paper.db", is_given=True) == ("paper.db", None)
    assert left("mine.db", is_given=True) == ("mine.db", None, 7, False, "")
    assert left("mine.db", "s", is_given=True) == ("mine.db", "s", 7, False, "")
    assert left("mine.db", "t", is_given=True) == ("mine.db", "t")
    # A script of `trueup.mt5` that runs has the book of its own stream.
    note_program(Program(os.getpid(), "ea.py", "2026-01-02", "7@S", "p", str(paper)))
    assert left("paper.db", is_given=True) == ("paper.db", "p", os.getpid(), False, "ea.py")
    assert left("paper.db", "t", is_given=True) == ("paper.db", "t")
    mine.unlink()
    assert left("mine.db", is_given=True) is None


def test_what_a_state_file_tells_of_a_bot_is_in_its_fate() -> None:
    bot = Bot(
        7,
        "tcp://127.0.0.1:1",
        "EURUSD",
        "started",
        endpoint="tcp://h:5555",
        alive="alive",
        asked="asked",
        ended="ended",
    )
    for hangs in (True, False):
        assert gathering._fate(bot, hangs=hangs) == Fate(
            pid=7,
            symbol="EURUSD",
            started="started",
            gateway="tcp://h:5555",
            hangs=hangs,
            ended="ended",
            alive="alive",
            asked="asked",
        )
    program = Program(8, "ea.py", "started", "7@S", "s")
    assert gathering._of_script(program) == Fate(pid=8, started="started", script="ea.py")


def test_a_journal_elsewhere_is_found_by_what_the_killed_bot_wrote_down(folder: Path) -> None:
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    left_behind(elsewhere / "bot.db", "mine")
    StateFile("bot-5.json", Bot).write(
        Bot(
            5,
            "tcp://127.0.0.1:1",
            "EURUSD",
            "2026",
            str(elsewhere / "bot.db"),
            "mine",
            alive="2026-01-05T14:05:00.000+00:00",
            asked="2026-01-05T14:04:59.000+00:00",
        )
    )
    done = run()
    assert "elsewhere/bot.db, stream mine" in flat(done)
    assert done.stdout.startswith("The bot has ended, and its book has two positions")
    assert (
        "As of The bot was last seen at 2026-01-05 14:05:00 UTC; the book is as of 2026-01-05 "
        "00:00:00 UTC; the broker was last asked at 2026-01-05 14:04:59 UTC."
    ) in flat(done)


def test_a_bot_that_hangs_needs_a_person_and_its_journal_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    left_behind()
    monkeypatch.setattr(bots, "ASK_TIMEOUT_MS", 50)
    with socket.create_server(("127.0.0.1", 0)) as other:
        endpoint = f"tcp://127.0.0.1:{other.getsockname()[1]}"
        file = str(JOURNAL.resolve())
        hung = Bot(os.getpid(), endpoint, "EURUSD", "", file, "EURUSD")
        StateFile(f"bot-{os.getpid()}.json", Bot).write(hung)
        done = run()
    assert done.exit_code == 1
    assert done.stdout.startswith("The bot does not answer, and its book has two positions")
    assert "end the bot and start it again" in flat(done)
    assert "5 EURUSD LONG 0.01 @ 1.0543" in flat(done)


def test_the_port_of_a_killed_bot_in_another_program_s_hand_is_no_bot_that_hangs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    left_behind()
    monkeypatch.setattr(bots, "ASK_TIMEOUT_MS", 50)
    with socket.create_server(("127.0.0.1", 0)) as other:
        endpoint = f"tcp://127.0.0.1:{other.getsockname()[1]}"
        file = str(JOURNAL.resolve())
        # No system gives so high a number.
        killed = Bot(2**30, endpoint, "EURUSD", "", file, "EURUSD")
        StateFile("bot-1.json", Bot).write(killed)
        done = run()
    assert done.exit_code == 1
    assert done.stdout.startswith("The bot has ended, and its book has two positions")


def test_a_bot_that_was_killed_without_a_journal_is_not_passed_over() -> None:
    killed = Bot(5, "tcp://127.0.0.1:1", "EURUSD", "2026", alive="2026-01-05T14:05:00.000+00:00")
    StateFile("bot-5.json", Bot).write(killed)
    done = run()
    assert done.exit_code == 1
    assert done.stdout.startswith("The bot has ended, and it keeps no journal here. One action is")
    assert "The bot was last seen at 2026-01-05 14:05:00 UTC" in flat(done)


def test_a_killed_bot_beside_one_that_runs_is_told_too(shell: Shell) -> None:
    bots = [start(shell, f"{n}.log", "--stream", n, "--journal", f"{n}.db") for n in ("a", "b")]
    for bot in bots:
        bot.wait_for("[STARTUP] No recovery needed")
    assert shell.ask("status").returncode == 0
    bots[0].child.kill()
    bots[0].child.wait()
    done = shell.ask("status")
    assert done.returncode == 1
    assert done.stdout.startswith("Both books are flat. Nothing is yours to do.")
    assert "The bot has ended, and its book is flat. One action is yours." in done.stdout
    # Its book is another bot's by now.
    again = start(shell, "again.log", "--stream", "a", "--journal", "a.db")
    again.wait_for("[STARTUP] No recovery needed")
    assert shell.ask("status").returncode == 0


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        ({"schema": 99, "pid": 7}, "answers with version 99 of the status, and this trueup reads"),
        ({"schema": SCHEMA, "pid": 7, "state": "?"}, "The bot's answer cannot be read by this tru"),
        ({"pid": 7}, "The bot's answer cannot be read by this trueup"),
    ],
)
def test_an_answer_of_another_release_is_one_sentence(
    answer: dict[str, Any], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bot = Bot(7, "tcp://127.0.0.1:9", "EURUSD", "")
    monkeypatch.setattr("trueup.runtime.control.gathering.find_bots", lambda: [bot])
    told = {"ok": True, "status": answer}
    monkeypatch.setattr("trueup.runtime.control.gathering.ask_bot", lambda *_: told)
    done = run()
    assert (done.exit_code, done.stdout) == (1, "")
    assert sentence in done.stderr
    assert done.stderr.count("\n") == 1


# As a bot of the release before this structure told it.
OF_BEFORE: dict[str, Any] = {
    "pid": 7,
    "symbol": "EURUSD",
    "gateway": "at tcp://127.0.0.1:5555",
    "started": "2026-01-05T14:00:00+00:00",
    "now": "2026-01-05T14:03:07.000+00:00",
    "health": "EURUSD held: zombie on ticket 5 waits for approval (checked 2 s ago).",
    "policy": "EURUSD, adopts ask",
    "needs": ["Waiting for approval (`trueup plan`, then `trueup approve ID`): zombie-1"],
    "entries_refused": "",
    "account": "5000001@Simulated-Demo",
    "trade_mode": "demo",
    "checked": "2026-01-05T14:03:05.000+00:00",
    "age_sec": 2.0,
    "sync_count": 9,
    "restrictions": [
        {"symbol": "EURUSD", "reason": "r", "since": "2026-01-05T14:03:05+00:00", "until": "u"}
    ],
    "holds": [
        {
            "id": "zombie-1",
            "kind": "ask",
            "symbol": "EURUSD",
            "ticket": 5,
            "reason": "zombie on ticket 5 waits for approval",
            "until": "trueup approve zombie-1",
        }
    ],
    "strategies": [{"symbol": "EURUSD", "magic": None, "lots": 0.1}],
    "positions": [
        {
            "ticket": 6,
            "symbol": "EURUSD",
            "side": "LONG",
            "lots": 0.1,
            "price_open": 1.1,
            "sl": 1.05,
            "tp": 0.0,
            "magic": 7,
            "profit": -3.5,
            "identifier": 6,
        }
    ],
    "in_doubt": [
        {
            "order_id": "ORD_1",
            "action": "BUY",
            "lots": 0.1,
            "symbol": "EURUSD",
            "error": "no reply",
            "since": "2026-01-05T14:03:05+00:00",
        }
    ],
    "overdue": [
        {"ticket": 9, "since": "2026-01-05T14:02:07+00:00", "next": "2026-01-05T14:03:10+00:00"}
    ],
    "foreign": 2,
    "realised": 3.2,
    "currency": "USD",
    "currency_digits": 2,
    "journal": ".trueup/paper.db",
    "journal_file": "",
    "stream": "EURUSD",
    "journal_trouble": "",
    "endpoint": "tcp://127.0.0.1:5555",
    "neighbours": ["stream two"],
}


@pytest.mark.parametrize("kept", [None, "a bot of long before"])
def test_a_bot_of_an_earlier_release_is_told_as_far_as_it_tells(
    kept: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = dict(OF_BEFORE)
    if kept is not None:
        # The first release with a status had these fields alone.
        first = ("pid", "symbol", "gateway", "started", "now", "health", "policy", "needs")
        answer = {name: OF_BEFORE[name] for name in (*first, "entries_refused")}
    bot = Bot(7, "tcp://127.0.0.1:9", "EURUSD", "")
    monkeypatch.setattr("trueup.runtime.control.gathering.find_bots", lambda: [bot])
    told = {"ok": True, "status": answer}
    monkeypatch.setattr("trueup.runtime.control.gathering.ask_bot", lambda *_: told)
    done = run()
    assert done.exit_code == 1
    assert "zombie on ticket 5 waits for approval (checked 2 s ago). One action is yours." in flat(
        done
    )
    assert "The bot runs an earlier release: start it again" in flat(done)
    if kept is None:
        assert "6 EURUSD LONG 0.10 @ 1.1 profit -3.50 SL 1.05" in flat(done)
        assert "In doubt BUY 0.10L EURUSD (ORD_1)" in flat(done)
    (facts,) = json.loads(run("--json").stdout)["bots"]
    assert msgspec.convert(facts, Status).pid == 7


@pytest.mark.parametrize(("given", "code"), [(("--journal", "no.db"), 4), (("--stream", "x"), 64)])
def test_a_journal_that_is_not_there_is_one_sentence(given: tuple[str, str], code: int) -> None:
    if given[0] == "--stream":
        left_behind()
    done = run(*given)
    assert (done.exit_code, done.stdout) == (code, "")
    assert done.stderr.count("\n") == 1


def test_a_journal_that_is_locked_or_damaged_is_said_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sqlite, "BUSY_S", 0.05)
    left_behind()
    other = sqlite3.connect(JOURNAL, isolation_level=None)
    # As a program that opened the file and keeps it, against readers too.
    other.execute("PRAGMA locking_mode=EXCLUSIVE")
    other.execute("CREATE TABLE kept (x)")
    locked = run()
    other.close()
    assert "another process or connection keeps it locked" in flat(locked)
    JOURNAL.write_bytes(b"no database at all" * 100)
    for done in (locked, run()):
        assert done.exit_code == 1
        assert done.stdout.startswith("No bot runs, and its journal cannot be read. One action is")
        assert "`trueup doctor` says how to mend the journal" in flat(done)
        # An empty book is nothing that a journal says which cannot be read.
        assert "not known: the journal cannot be read" in flat(done)
        assert "flat" not in flat(done)
        assert "Because " in done.stdout
        assert "journal DOWN " in flat(done)


@pytest.mark.timeout(300)
def test_a_bot_that_was_killed_hung_or_ended_is_told_of_by_a_second_shell(shell: Shell) -> None:
    bot = start(shell, "bot.log")
    bot.wait_for("[STARTUP] No recovery needed")
    ticket = shell.ask("trade", "open", "buy", "0.05").stdout.split()[2].rstrip(",")
    bot.wait_for(f"[RECOVERY] Zombie position recovered: Ticket {ticket}")
    if hasattr(signal, "SIGSTOP"):
        bot.child.send_signal(signal.SIGSTOP)
        hung = shell.ask("status")
        assert hung.returncode == 1
        assert hung.stdout.startswith("The bot does not answer, and its book has one position.")
        assert "The bot took its last turn at" in " ".join(hung.stdout.split())
        bot.child.send_signal(signal.SIGCONT)
        assert shell.ask("status").stdout.startswith("Book and broker agree on one position.")
    bot.child.kill()
    bot.child.wait()
    done = shell.ask("status")
    assert done.returncode == 1
    assert done.stdout.startswith("The bot has ended, and its book has one position. One action")
    assert "The bot was last seen at" in done.stdout
    assert f"  {ticket}  EURUSD  LONG 0.05" in done.stdout
    # What the terminal has is told beside it.
    assert "Terminal   process" in done.stdout
    # The next bot ends in order, and notes when.
    again = shell.run("paper", "--strategy", "idle:Idle", "--duration", "0.3")
    assert again.returncode == 0
    ended = shell.ask("status")
    assert "The bot ended at " in ended.stdout
    assert "the broker was last asked at " in " ".join(ended.stdout.split())
    assert ENDED.name in {path.name for path in (shell.folder / ".trueup").iterdir()}
