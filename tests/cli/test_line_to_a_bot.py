"""The line to a bot: which bot is meant, how long it is asked, and what it says became of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.cli.test_doctor import status
from trueup.errors import NotSent, OutcomeUnknown, TrueupError
from trueup.observe.close_text import CloseResult
from trueup.observe.status.status import BookRow, Decision, Held, Side, Verdict
from trueup.runtime.assistants.outcomes import WishOutcome, WishState
from trueup.runtime.control import bots, carried_out
from trueup.runtime.control.bots import Bot, ask_bot, one_of, refusal_of, silence_of
from trueup.runtime.control.carried_out import Correction, outcome_words, settled_words
from trueup.runtime.control.line import AGAIN_SEC, LOOK_SEC, BotSilent, Line
from trueup.runtime.control.programs import (
    Program,
    journal_of_programs,
    note_program,
    noted_programs,
    running_program,
)
from trueup.runtime.time.clock import ManualClock

BOT = Bot(4711, "tcp://127.0.0.1:9", "EURUSD", "2026-01-05T14:00:00+00:00")
SILENT = (
    "The bot of this folder, process 4711 at tcp://127.0.0.1:9, does not answer: it hangs, or it "
    "is gone and another program has its port."
)
Answer = Callable[[str, dict[str, Any]], dict[str, Any]]


class Scripted(Line):
    """A line to a bot whose answers a test gives; its pauses take no time of the machine."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(BOT)
        self.clock: ManualClock = ManualClock()
        self._answer = answer
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self._began_ns = self.clock.waiting_ns()

    @property
    def passed_sec(self) -> float:
        return (self.clock.waiting_ns() - self._began_ns) / 1e9

    def ask(self, command: str, **fields: Any) -> dict[str, Any]:
        self.asked.append((command, fields))
        return self._answer(command, fields)


def scripted(*answers: dict[str, Any] | Exception) -> Scripted:
    """A bot that gives these answers, and the last of them again and again."""
    left = list(answers)

    def answer(command: str, fields: dict[str, Any]) -> dict[str, Any]:
        given = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(given, Exception):
            raise given
        return given

    return Scripted(answer)


@pytest.fixture
def alive(monkeypatch: pytest.MonkeyPatch) -> dict[int, bool]:
    """Which processes live; all others have ended."""
    lives = {BOT.pid: True}
    monkeypatch.setattr("trueup.runtime.control.line.is_alive", lambda pid: lives.get(pid, False))
    return lives


# Which bot is meant.


def test_the_bot_that_is_meant_is_the_only_one_or_the_named_one() -> None:
    other = Bot(12, "tcp://127.0.0.1:8", "GOLD", "later")
    assert one_of([BOT], None) is BOT
    assert one_of([BOT, other], 12) is other
    assert one_of([BOT, other], "4711") is BOT
    with pytest.raises(TrueupError) as none:
        one_of([], None)
    assert str(none.value) == (
        "No bot runs in this folder: start one with `trueup run` or `trueup paper`."
    )
    with pytest.raises(TrueupError) as wrong:
        one_of([BOT], 5)
    assert str(wrong.value) == ("No bot with process 5 runs in this folder: see `trueup status`.")
    with pytest.raises(TrueupError) as unnamed:
        one_of([BOT], "savings")
    assert str(unnamed.value) == (
        "No bot with the name savings runs in this folder: see `trueup status`."
    )
    with pytest.raises(TrueupError) as both:
        one_of([BOT, other], None)
    assert str(both.value) == (
        "2 bots run in this folder: give --bot PID, one of 4711 (EURUSD), 12 (GOLD)."
    )


@pytest.mark.parametrize(("count", "more"), [(10, ""), (11, ", ...")])
def test_of_many_accounts_ten_are_named(count: int, more: str) -> None:
    accounts = [msgspec.structs.replace(BOT, account=f"a{number}") for number in range(count)]
    ten = ", ".join(f"a{number}" for number in range(10))
    with pytest.raises(TrueupError) as several:
        one_of(accounts, 4711)
    assert str(several.value) == (
        f"{count} bots run in this folder: give --account NAME, one of {ten}{more}."
    )
    assert one_of(accounts, "a3").account == "a3"


def test_what_a_bot_of_an_earlier_release_does_not_know_is_named_as_a_person_types_it() -> None:
    assert refusal_of(BOT, "close", "Nothing was sent: no.") == "Nothing was sent: no."
    for command in ("close", "close-plan"):
        assert refusal_of(BOT, command, f"There is no command {command!r}.") == (
            "The bot, process 4711, is of an earlier release and does not know `trueup close`: "
            "nothing was changed. Restart the bot with this release, or act in the terminal."
        )


@pytest.mark.parametrize(("account", "to"), [("", {}), ("savings", {"account": "savings"})])
def test_a_bot_is_asked_at_its_port_by_its_accounts_name(
    monkeypatch: pytest.MonkeyPatch, account: str, to: dict[str, str]
) -> None:
    asked: list[tuple[Any, ...]] = []

    def ask_process(*given: Any) -> dict[str, Any]:
        asked.append(given)
        return {"ok": True}

    monkeypatch.setattr(bots, "ask_process", ask_process)
    answer = ask_bot(msgspec.structs.replace(BOT, account=account), "approve", id="x", who="Ada")
    assert answer == {"ok": True}
    command = {"command": "approve", **to, "id": "x", "who": "Ada"}
    assert asked == [(BOT.control, command, 5_000, "The bot, process 4711,")]


def test_the_files_of_a_folder_tell_its_bots_the_oldest_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRUEUP_HOME", str(tmp_path))
    ports: list[tuple[str, int]] = []

    def listens(port: str, timeout_ms: int) -> bool:
        ports.append((port, timeout_ms))
        return port != "tcp://127.0.0.1:8"

    monkeypatch.setattr(bots, "listens", listens)
    assert bots.last_bot() is None
    late = msgspec.structs.replace(BOT, pid=3, started="2026-01-06T00:00:00+00:00")
    second = msgspec.structs.replace(BOT, account="b")
    first = msgspec.structs.replace(BOT, account="a")
    gone = Bot(9, "tcp://127.0.0.1:8", "GOLD", "2026-01-07T00:00:00+00:00")
    for bot in (late, second, first, gone):
        bots.state_file(bot.pid, bot.account).write(bot)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"bot-3.json", "bot-4711-b.json", "bot-4711-a.json", "bot-9.json"}
    assert bots.find_bots() == [first, second, late]
    # The accounts of one process have one port, which is asked once.
    assert sorted(ports) == [("tcp://127.0.0.1:8", 5_000), ("tcp://127.0.0.1:9", 5_000)]
    assert bots.last_bot() == gone
    ended = msgspec.structs.replace(BOT, pid=1, started="2026-01-08T00:00:00+00:00")
    bots.ENDED.write(ended)
    assert bots.last_bot() == ended
    assert len(bots.noted_bots()) == 4
    # Files that cannot be read, and those of other kinds, are no bots.
    (tmp_path / "bot-5.json").write_bytes(b"{")
    bots.process_file(4711).write(BOT)
    bots.process_file(9).write(gone)
    (tmp_path / "accounts-5.json").write_bytes(b"{")
    assert len(bots.noted_bots()) == 4
    ports.clear()
    assert bots.account_processes() == [BOT]
    assert {timeout_ms for _, timeout_ms in ports} == {5_000}


# How a bot is asked.


def test_an_answer_a_refusal_and_a_silence(
    monkeypatch: pytest.MonkeyPatch, alive: dict[int, bool]
) -> None:
    asked: list[tuple[Any, ...]] = []
    given: list[Any] = []

    def answer(bot: Bot, command: str, **fields: Any) -> dict[str, Any]:
        asked.append((bot, command, fields))
        if isinstance(given[0], Exception):
            raise given[0]
        return dict(given[0])

    monkeypatch.setattr("trueup.runtime.control.line.ask_bot", answer)
    line = Line(BOT)
    given[:] = [{"ok": True, "wait": 1}]
    assert line.ask("plan", look=3) == {"ok": True, "wait": 1}
    assert asked == [(BOT, "plan", {"look": 3})]
    given[:] = [{"ok": False, "error": "Nothing waits."}]
    with pytest.raises(TrueupError, match=r"^Nothing waits\.$") as refused:
        line.ask("approve")
    assert not isinstance(refused.value, BotSilent)
    given[:] = [{"error": "There is no command 'sync'."}]
    with pytest.raises(TrueupError, match="does not know `trueup sync`"):
        line.ask("sync")
    for error in (NotSent("no"), OutcomeUnknown("no")):
        given[:] = [error]
        with pytest.raises(BotSilent) as silent:
            line.ask("plan")
        assert str(silent.value) == silence_of(BOT) == SILENT


def test_a_busy_bot_is_asked_again_until_it_answers_ends_or_time_is_up(
    alive: dict[int, bool],
) -> None:
    line = scripted(BotSilent("1"), BotSilent("2"), {"ok": True})
    assert line.ask_patiently("close", 60.0, id="k") == {"ok": True}
    assert line.asked == [("close", {"id": "k"})] * 3
    assert line.passed_sec == pytest.approx(2 * AGAIN_SEC)
    line = scripted(BotSilent("1"))
    with pytest.raises(BotSilent) as late:
        line.ask_patiently("close", 60.0)
    assert str(late.value) == SILENT
    assert line.passed_sec == pytest.approx(60.0)
    # A refusal is an answer.
    line = scripted(TrueupError("no"))
    with pytest.raises(TrueupError, match=r"^no$"):
        line.ask_patiently("close", 60.0)
    assert len(line.asked) == 1
    alive[BOT.pid] = False
    line = scripted(BotSilent("1"))
    with pytest.raises(BotSilent) as ended:
        line.ask_patiently("close", 60.0)
    assert str(ended.value) == "The bot, process 4711, has ended."
    assert len(line.asked) == 1


def test_a_look_is_asked_for_by_its_number_until_it_is_there() -> None:
    line = scripted({"wait": 7}, {"wait": 7}, {"text": "done"})
    assert line.look("plan", ticket=5) == {"text": "done"}
    assert [fields for _, fields in line.asked] == [
        {"look": 0, "ticket": 5},
        {"look": 7, "ticket": 5},
        {"look": 7, "ticket": 5},
    ]
    line = scripted({"wait": 7})
    with pytest.raises(TrueupError) as never:
        line.look("plan")
    assert str(never.value) == ("The bot, process 4711, got no look at the broker: see its log.")
    assert line.passed_sec == pytest.approx(LOOK_SEC)


def test_seconds_are_counted_from_the_beginning_and_end_at_the_bound() -> None:
    line = scripted({})
    assert list(line.until(0.0)) == []
    assert list(line.until(0.3)) == pytest.approx([0.0, 0.1, 0.2])


# What became of an approved correction.


def book_row(identifier: int, ours: bool) -> BookRow:
    side = Side("LONG", 0.1, 1.1)
    return BookRow(
        ticket=identifier,
        identifier=identifier,
        symbol="EURUSD",
        ours=side if ours else None,
        broker=side,
        verdict=Verdict.AGREES,
    )


def seen(sync_count: int, **fields: Any) -> dict[str, Any]:
    return {"status": msgspec.to_builtins(status(sync_count=sync_count, **fields))}


APPROVED = {"id": "ghost-1", "kind": "missing", "identifier": 7, "sync_count": 5, "within_sec": 15}
DECISION = Decision(id="ghost-1", what="w", if_approved="a", if_left="l")
HELD = Held(kind="missing", symbol="EURUSD", ticket=7, reason="r", until="u", id="ghost-1")


@pytest.mark.parametrize(
    ("kind", "books", "became"),
    [
        ("missing", [], Correction.DONE),
        ("missing", [book_row(8, ours=True)], Correction.DONE),
        ("missing", [book_row(7, ours=False)], Correction.DONE),
        ("missing", [book_row(7, ours=True)], Correction.KEPT),
        ("halt", [book_row(7, ours=True)], Correction.KEPT),
        # What was approved was to take the position into the book.
        ("approval", [book_row(7, ours=True)], Correction.DONE),
    ],
)
def test_a_correction_is_carried_out_by_the_next_sync_that_does_not_show_it_again(
    kind: str, books: list[BookRow], became: Correction
) -> None:
    # First it waits, then it was taken, and then a sync has used it.
    line = scripted(
        seen(5, to_decide=[DECISION]),
        seen(6, held=[HELD]),
        seen(5, books=books),
        seen(6, books=books),
    )
    assert carried_out.wait_for_correction(line, {**APPROVED, "kind": kind}) is became
    assert [command for command, _ in line.asked] == ["status"] * 4


def test_a_correction_that_no_sync_has_used_in_time_is_late() -> None:
    line = scripted(seen(5))
    assert carried_out.wait_for_correction(line, APPROVED) is Correction.LATE
    assert line.passed_sec == pytest.approx(25.0)
    assert [one.value for one in Correction] == [
        "carried out",
        "not carried out, the broker shows it again",
        "not carried out yet, see `trueup status`",
    ]


# What became of a proposed order.


def outcome(state: WishState, **fields: Any) -> dict[str, Any]:
    return {"outcome": msgspec.to_builtins(WishOutcome(key="a", state=state, **fields))}


def test_an_approved_order_is_waited_for(alive: dict[int, bool]) -> None:
    line = scripted({}, outcome(WishState.WAITING), outcome(WishState.FILLED, ticket=5))
    became = carried_out.send_proposed(line, {"id": "P1", "who": "Ada"})
    assert (became.state, became.ticket) == (WishState.FILLED, 5)
    assert line.asked == [
        ("approve", {"id": "P1", "who": "Ada"}),
        ("outcome", {"id": "P1"}),
        ("outcome", {"id": "P1"}),
    ]


@pytest.mark.parametrize(("state", "sec"), [(WishState.WAITING, 60.0), (WishState.IN_DOUBT, 10.0)])
def test_an_order_that_waits_or_is_in_doubt_is_waited_for_so_long(
    alive: dict[int, bool], state: WishState, sec: float
) -> None:
    line = scripted({}, outcome(state))
    assert carried_out.send_proposed(line, {"id": "P1"}).state is state
    assert line.passed_sec == pytest.approx(sec)


def test_a_bot_that_ends_before_it_answers_leaves_the_order_in_doubt(
    alive: dict[int, bool],
) -> None:
    alive[BOT.pid] = False
    became = carried_out.send_proposed(scripted(BotSilent("1")), {"id": "P1"})
    assert became == WishOutcome(
        key="",
        state=WishState.IN_DOUBT,
        reason="The bot, process 4711, has ended.",
        known="when a bot runs again: give the command again, and no second order is sent",
        proposal_id="P1",
    )
    with pytest.raises(TrueupError, match=r"^too old$"):
        carried_out.send_proposed(scripted(TrueupError("too old")), {"id": "P1"})


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (
            {"state": WishState.FILLED, "ticket": 5, "lots": 0.1, "price": 1.1001},
            "filled, ticket 5, 0.10L @ 1.1001",
        ),
        (
            {"state": WishState.FILLED, "ticket": 5, "reason": "in part."},
            "filled, ticket 5: in part",
        ),
        ({"state": WishState.PLACED, "ticket": 5}, "placed, ticket 5"),
        ({"state": WishState.DONE}, "carried out"),
        (
            {
                "state": WishState.IN_DOUBT,
                "reason": "no reply.",
                "known": "at the next look: ask again with the same key",
            },
            "in doubt: no reply; the outcome is known at the next look",
        ),
        ({"state": WishState.WAITING}, "not carried out yet, see `trueup status`"),
        ({"state": WishState.REFUSED, "reason": "paused."}, "not carried out: paused"),
        ({"state": WishState.EXPIRED}, "not carried out"),
    ],
)
def test_the_words_of_what_became_of_an_order(made: dict[str, Any], words: str) -> None:
    assert outcome_words(WishOutcome(key="a", **made)) == words


# What became of a close.


def closing(state: str, **fields: Any) -> dict[str, Any]:
    return {"result": msgspec.to_builtins(CloseResult(7, state, **fields))}


CLOSE = {"id": "k", "ticket": 7, "side": "LONG", "lots": 0.1}


def test_a_close_is_sent_once_and_then_asked_for(alive: dict[int, bool]) -> None:
    line = scripted(closing("waiting"), closing("waiting"), closing("closed", lots=0.1))
    became = carried_out.close_position(line, CLOSE)
    assert became == CloseResult(7, "closed", lots=0.1)
    assert line.asked == [
        ("close", CLOSE),
        ("closed", {"id": "k", "ticket": 7}),
        ("closed", {"id": "k", "ticket": 7}),
    ]


@pytest.mark.parametrize(
    ("state", "sec"), [("waiting", 60.0), ("doubt", 10.0), ("part", 0.0), ("refused", 0.0)]
)
def test_a_close_is_waited_for_so_long(alive: dict[int, bool], state: str, sec: float) -> None:
    line = scripted(closing(state))
    assert carried_out.close_position(line, CLOSE).state == state
    assert line.passed_sec == pytest.approx(sec)


def test_a_close_that_a_bot_does_not_answer_is_not_known_and_a_refused_one_is_refused(
    alive: dict[int, bool],
) -> None:
    line = scripted(closing("waiting"), BotSilent("1"))
    alive[BOT.pid] = False
    assert carried_out.close_position(line, CLOSE) == CloseResult(
        7,
        "unknown",
        reason="The bot, process 4711, has ended.",
        then="Look at the terminal, and at `trueup status`.",
    )
    refused = carried_out.close_position(scripted(TrueupError("changed")), CLOSE)
    assert refused == CloseResult(7, "refused", reason="changed")


# What became of an order in doubt.


def test_a_decision_about_a_doubt_is_waited_for_until_a_sync_has_used_it() -> None:
    doubt = {"id": "O1", "status": "IN_DOUBT", "is_told": True}
    ended = {"id": "O1", "status": "FILLED", "is_told": True}
    line = scripted(doubt, ended)
    assert carried_out.wait_until_settled(line, {"id": "O1", "within_sec": 15}) == ended
    assert line.asked == [("order", {"id": "O1"})] * 2
    # The decision was dropped, since the broker shows otherwise.
    dropped = {**doubt, "is_told": False}
    line = scripted(dropped)
    assert carried_out.wait_until_settled(line, {"id": "O1", "within_sec": 15}) == dropped
    assert len(line.asked) == 1
    line = scripted(doubt)
    assert carried_out.wait_until_settled(line, {"id": "O1", "within_sec": 15}) == doubt
    assert line.passed_sec == pytest.approx(25.0)
    assert carried_out.wait_until_settled(line, {"id": "O1", "within_sec": -10}) == doubt


BECAME: dict[str, Any] = {
    "id": "O1",
    "status": "FILLED",
    "is_told": True,
    "ticket": None,
    "volume": None,
    "price": None,
    "error": "",
}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (
            {"status": "IN_DOUBT"},
            "O1 is still in doubt, no reading was believed yet: see `trueup status`.",
        ),
        (
            {"status": "IN_DOUBT", "is_told": False},
            "O1 is still in doubt, the broker shows otherwise: see `trueup status`.",
        ),
        ({}, "O1 is FILLED."),
        (
            {"ticket": 5, "volume": 0.1, "price": 1.1001},
            "O1 is FILLED, ticket 5, 0.10L @ 1.1001.",
        ),
        ({"ticket": 5, "volume": 0.1}, "O1 is FILLED, ticket 5."),
        ({"ticket": 5, "price": 1.1}, "O1 is FILLED, ticket 5."),
        ({"status": "CANCELED", "error": "assumed"}, "O1 is CANCELED: assumed."),
    ],
)
def test_the_words_of_what_became_of_a_doubt(fields: dict[str, Any], words: str) -> None:
    assert settled_words(BECAME | fields) == words


# Programs of `trueup.mt5`.


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TRUEUP_HOME", str(tmp_path))
    running = {1, 2}
    monkeypatch.setattr("trueup.runtime.control.programs.is_alive", running.__contains__)
    return tmp_path


def test_programs_are_told_the_running_one_first_and_then_the_newest(home: Path) -> None:
    old = Program(1, "old.py", "2026-01-05", "7@S", "s", str(home / "a.db"))
    new = Program(9, "new.py", "2026-01-09", "7@S", "s", str(home / "b.db"))
    older = Program(8, "older.py", "2026-01-02", "7@S", "t", str(home / "b.db"))
    for program in (older, new, old):
        note_program(program)
    (home / "mt5-x.json").write_bytes(b"{")
    assert noted_programs() == [old, new, older]
    # The same book has one file.
    again = msgspec.structs.replace(new, pid=2, started="2026-01-10")
    note_program(again)
    assert noted_programs() == [again, old, older]
    assert running_program(str(home / "a.db"), None) == old
    assert running_program(str(home / "a.db"), "s") == old
    assert running_program(str(home / "a.db"), "t") is None
    assert running_program(str(home / "b.db"), "t") is None
    assert running_program(str(home / "b.db"), "s") == again


def test_the_journal_of_programs_is_that_of_the_running_or_of_the_newest(home: Path) -> None:
    assert journal_of_programs() is None
    (home / "mt5.db").write_bytes(b"")
    assert journal_of_programs() == home / "mt5.db"
    assert journal_of_programs(running=True) is None
    note_program(Program(9, "new.py", "2026-01-09", "7@S", "s", str(home / "b.db")))
    # Of a program whose journal is gone, or on a server, nothing can be read.
    note_program(Program(2, "server.py", "2026-01-10", "7@S", "s", ""))
    assert journal_of_programs() == home / "mt5.db"
    (home / "b.db").write_bytes(b"")
    assert journal_of_programs() == home / "b.db"
    assert journal_of_programs(running=True) is None
    note_program(Program(1, "old.py", "2026-01-05", "7@S", "s", str(home / "a.db")))
    (home / "a.db").write_bytes(b"")
    assert journal_of_programs() == journal_of_programs(running=True) == home / "a.db"


def test_a_folder_that_cannot_be_written_hides_a_program_and_stops_nothing(
    home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (home / "file").write_bytes(b"")
    monkeypatch.setenv("TRUEUP_HOME", str(home / "file"))
    note_program(Program(1, "old.py", "2026-01-05", "7@S", "s"))
    assert "[MT5] `trueup status` will not find this program: " in caplog.text
