"""Looks at the books of a folder: several books, books that are gone, and what stops the heart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import pytest
from msgspec.structs import replace

from tests.alerts.scene import finding, status_of
from tests.support.order_world import OrderWorld
from trueup.core.policy import GRACE_SEC
from trueup.doors.alerts.alerter import Alerter
from trueup.doors.alerts.conditions import Rules
from trueup.doors.alerts.deciding import Policy
from trueup.doors.alerts.serve import LATE_SEC, UNTAKEN_SEC, Pulse
from trueup.doors.alerts.store import KEPT_NS, StateTrouble, Store
from trueup.doors.alerts.texts import Message
from trueup.doors.watch import Place, Seen, Watch
from trueup.observe.status.findings import SILENT, UNREADABLE
from trueup.observe.status.status import FindingRow, Status
from trueup.runtime.time.clock import ManualClock, SystemClock
from trueup.sim.terminal.terminal_faults import AnswerLost

UNREAD = "The bot, process 7, answers with version 9 of the status. Use the bot's release."


class Folder:
    """A folder whose statuses the test gives; looks are real, with a real state file."""

    def __init__(self, path: Path) -> None:
        self.place = Place(path / "bot.db")
        self.clock = ManualClock()
        self.store = Store(path / "alerts.db")
        self.trouble = ""
        self.statuses: tuple[Status, ...] = ()
        self.start()

    def start(self) -> None:
        """Start the process that looks, as after a kill."""
        policy = Policy(Rules(0, 0))
        self.alerter = Alerter(cast(Watch, self), self.store, policy, ["phone"], self.clock)

    def renew(self) -> None:
        """Gather anew."""

    def latest(self) -> Seen:
        """What is gathered."""
        return Seen(1, self.clock.now_ns(), self.statuses, self.trouble)

    def look(self, *statuses: Status, trouble: str = "") -> list[Message]:
        """Look at these books; return what is told."""
        self.statuses, self.trouble = statuses, trouble
        self.clock.advance(11)
        return list(self.alerter.look().messages)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Folder]:
    monkeypatch.chdir(tmp_path)
    made = Folder(tmp_path)
    yield made
    made.store.close()


def first_lines(messages: list[Message]) -> list[str]:
    return [one.body.splitlines()[0] for one in messages]


def test_each_book_of_a_folder_has_its_own_conditions(folder: Folder) -> None:
    bad = [finding("unseen")]
    (told,) = folder.look(status_of(bad, book="a"), status_of(book="b"))
    (other,) = folder.look(status_of(bad, book="a"), status_of(bad, book="b"))
    assert "book a" in told.title
    assert "book b" in other.title
    (over,) = folder.look(status_of(book="a"), status_of(bad, book="b"))
    assert over.conditions == told.conditions


def test_books_of_one_name_in_two_journals_have_each_their_own_conditions(
    folder: Folder, tmp_path: Path
) -> None:
    bad = [finding("journal")]

    def book(place: str, findings: Sequence[FindingRow] = ()) -> Status:
        file = str(tmp_path / place / "bot.db")
        return replace(status_of(findings), journal_file=file, journal="bot.db")

    # Both at the same moment: two conditions, and two messages.
    told = folder.look(book("a", bad), book("b", bad))
    assert len({one.conditions for one in told}) == 2
    (over,) = folder.look(book("a"), book("b", bad))
    assert over.conditions == told[0].conditions
    (over,) = folder.look(book("a"), book("b"))
    assert over.conditions == told[1].conditions


def test_what_was_told_is_known_after_a_kill(folder: Folder) -> None:
    bad = status_of([finding("unseen")])
    (told,) = folder.look(bad)
    folder.start()
    assert folder.look(bad) == []
    folder.start()
    (over,) = folder.look(status_of())
    assert over.conditions == told.conditions
    assert [one.body for one in folder.store.waiting("phone")] == [told.body, over.body]


def test_a_message_that_nobody_takes_for_a_week_is_given_up(folder: Folder) -> None:
    folder.look(status_of([finding("unseen")]))
    folder.clock.advance(KEPT_NS / 1e9)
    (over,) = folder.look(status_of())
    assert [one.body for one in folder.store.waiting("phone")] == [over.body]


def test_an_answer_that_cannot_be_read_is_told_and_ends_nothing(folder: Folder) -> None:
    bad = status_of([finding("unseen")])
    folder.look(bad)
    assert first_lines(folder.look(trouble=UNREAD)) == [UNREAD]
    assert folder.alerter.trouble == UNREAD
    assert first_lines(folder.look(bad)) == [f"Over: {UNREAD}"]
    assert folder.alerter.trouble == ""


def test_a_book_without_a_journal_is_over_when_its_bot_has_left_no_trace(folder: Folder) -> None:
    bare = replace(status_of([finding("unseen")]), stream="", pid=7)
    folder.look(bare)
    assert first_lines(folder.look()) == ["Over: The unseen is wrong."]
    assert folder.look() == []


@pytest.mark.parametrize(
    ("has_position", "said"),
    [
        (True, "No bot runs, and its book has one position. One action is yours."),
        (False, "Over: The unseen is wrong."),
    ],
)
def test_a_bot_that_was_ended_beside_others_is_told_if_it_left_something(
    has_position: bool, said: str, folder: Folder
) -> None:
    path = folder.place.journal
    world = OrderWorld(journal=Path(path))
    if has_position:
        world.pm.submit("buy", 0.1)
    other = status_of(book="b")
    ours = replace(
        status_of([finding("unseen")], book="EURUSD"), journal_file=str(path), journal="bot.db"
    )
    folder.look(ours, other)
    assert first_lines(folder.look(other)) == [said]
    assert folder.look(other) == []


def test_the_heart_beats_only_while_a_person_would_be_told(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    pulse = Pulse(folder.alerter, folder.store, cast(SystemClock, folder.clock))
    assert pulse.why_not() == "the books have not been read yet"
    folder.look(status_of([finding("unseen")]))
    pulse.beat()
    assert pulse.why_not() == ""
    # The message is taken by nobody.
    folder.clock.advance(UNTAKEN_SEC + 1)
    pulse.beat()
    assert pulse.why_not() == "no receiver took a message for more than 300 s"
    folder.store.mark("phone", [1], folder.clock.now_ns())
    assert pulse.why_not() == ""
    folder.clock.advance(LATE_SEC + 1)
    assert pulse.why_not() == "the last look at the books is older than 60 s"
    pulse.beat()
    folder.look(trouble=UNREAD)
    assert pulse.why_not() == UNREAD
    folder.look(status_of())
    pulse.state_trouble = "the disk is full"
    assert pulse.why_not() == "the disk is full"


def test_a_journal_that_cannot_be_read_stops_the_heart(folder: Folder) -> None:
    dead = replace(status_of([finding("unreadable")], bot=False), sentence="It is unreadable.")
    folder.look(dead)
    assert folder.alerter.trouble == "It is unreadable."


def test_what_a_look_read_from_a_journal_is_told_by_the_next_look_if_it_was_not_kept(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An order that was in doubt meanwhile, while the disk of the alerts was full."""
    path = folder.place.journal
    world = OrderWorld(journal=Path(path))
    world.sync()
    ours = replace(status_of(book="EURUSD"), journal_file=str(path), journal="bot.db")
    folder.look(ours)
    folder.look(ours)
    world.terminal.faults.next_send(AnswerLost(executed=True, pipe_breaks=False))
    world.terminal.switches.position_lag_ms = 20_000
    world.pm.submit("buy", 0.1)
    for _ in range(4):
        world.sync(GRACE_SEC / 4)
    assert world.pm.book.in_doubt == {}
    for failing in ("save", "tidy_up"):
        with monkeypatch.context() as full:
            full.setattr(folder.store, failing, _disk_is_full)
            with pytest.raises(StateTrouble):
                folder.look(ours)
    assert first_lines(folder.look(ours)) == ["Over: One order is in doubt."]
    assert folder.look(ours) == []
    assert len(folder.store.waiting("phone")) == 1


def _disk_is_full(*_: object) -> None:
    raise StateTrouble("the disk is full")


def test_a_password_of_a_server_is_not_kept(folder: Folder, tmp_path: Path) -> None:
    folder.place = Place("postgresql://me:secret-1c9f@127.0.0.1:1/none")
    status: Any = replace(status_of([finding("unseen")]), journal="PostgreSQL database none")
    folder.look(status)
    folder.look(status)
    # The journal cannot be read, and the bot is told of as before.
    assert folder.alerter.trouble.startswith("the journal of 5000001@Simulated-Demo")
    assert b"secret-1c9f" not in (tmp_path / "alerts.db").read_bytes()
    assert b"secret-1c9f" not in (tmp_path / "alerts.db-wal").read_bytes()
    assert "secret-1c9f" not in folder.alerter.trouble


def test_a_bot_that_is_killed_keeps_its_book_if_its_server_is_not_known(folder: Folder) -> None:
    def alive(*findings: FindingRow) -> Status:
        return replace(status_of(findings), journal="PostgreSQL database none")

    (told,) = folder.look(alive(finding("unseen")))
    traces = [finding(SILENT), finding(UNREADABLE)]
    dead = replace(status_of(traces, bot=False, seen=False), account=None)
    killed = folder.look(dead)
    assert {one.title.partition(" (")[0] for one in killed} == {told.title.partition(" (")[0]}
    # The next bot knows of all of them that they are over.
    over = {one.conditions for one in folder.look(alive())}
    assert over == {one.conditions for one in (told, *killed)}
