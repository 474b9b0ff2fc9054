"""`trueup audit` chooses the book that was opened last, the span that is meant, and the newest."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from tests.support.every_event import EVERY
from tests.support.make import position as make_position
from trueup.cli import app
from trueup.core.book import events
from trueup.core.model import Side
from trueup.journal import MemoryJournal, Record, open_journal, open_reader
from trueup.observe.audit_text import AuditRow
from trueup.runtime.control.last_known import book_of
from trueup.runtime.story.newest import FIRST_WINDOW, Known, known_orders, newest_rows
from trueup.runtime.story.story import AuditFilter, story

SEC = 1_000_000_000
# 2026-01-05 14:00:00 UTC.
TWO_NS = 1_767_621_600 * SEC


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TRUEUP_HOME", raising=False)
    return tmp_path


def wish(order_id: str, at_ns: int) -> events.OrderCreated:
    return events.OrderCreated(
        at_ns=at_ns, order_id=order_id, symbol="EURUSD", side=Side.BUY, volume=0.1, price=1.1
    )


def make(stream: str, opened_ns: int, history: Sequence[events.Event] = ()) -> None:
    with open_journal("a.db", stream, now_ns=lambda: opened_ns) as journal:
        if history:
            journal.append(history)


def audit(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["audit", "--journal", "a.db", *arguments])


def orders(*arguments: str) -> list[str]:
    done = audit("--json", *arguments)
    assert done.exit_code == 0, done.stderr
    return [row["order_id"] for row in json.loads(done.stdout)]


def test_the_book_that_was_opened_last_is_read_and_named() -> None:
    make("old", TWO_NS, [wish("A", 1)])
    make("new", TWO_NS + 2 * SEC, [wish("B", 1)])
    make("middle", TWO_NS + SEC, [wish("C", 1)])
    done = audit()
    assert "B: BUY" in done.stdout
    assert done.stderr == "Stream 'new', opened last of 3 streams: --stream has another.\n"
    assert orders("--stream", "old") == ["A"]
    # The bot of the oldest book runs once more.
    make("old", TWO_NS + 9 * SEC)
    assert orders() == ["A"]
    shown = CliRunner().invoke(app, ["replay", "--journal", "a.db", "--at", "now"])
    assert shown.stdout.splitlines()[1].startswith("Stream     old, event 1")


def test_the_only_book_needs_no_word() -> None:
    make("only", TWO_NS, [wish("A", 1)])
    assert audit().stderr == ""


def test_a_book_that_ended_is_not_the_newest() -> None:
    make("login@server", TWO_NS, [wish("A", 1)])
    make("EURUSD", TWO_NS + SEC, [wish("B", 1), events.StreamClosed(at_ns=2, by="login@server")])
    assert orders() == ["A"]
    info = CliRunner().invoke(app, ["journal", "info", "--journal", "a.db"]).stdout
    assert "ended: its book goes on in login@server" in info
    assert info.count("ended") == 1


def test_a_span_has_its_last_minute_and_is_said() -> None:
    history = [wish(f"M{minute}", TWO_NS + minute * 60 * SEC + 5 * SEC) for minute in range(6)]
    make("only", TWO_NS, history)
    day = "2026-01-05"
    assert orders("--since", f"{day} 14:03") == ["M3", "M4", "M5"]
    assert orders("--until", f"{day} 14:02") == ["M0", "M1", "M2"]
    assert orders("--since", f"{day} 14:01", "--until", f"{day} 14:03") == ["M1", "M2", "M3"]
    assert orders("--until", day) == [f"M{minute}" for minute in range(6)]
    assert orders("--since", day, "--last", "2") == ["M4", "M5"]
    assert orders("--until", f"{day} 14:02", "--last", "2") == ["M1", "M2"]
    said = audit("--since", f"{day} 14:01", "--until", f"{day} 15:03+01:00").stderr
    assert said == "From 2026-01-05 14:01:00 UTC to before 2026-01-05 14:04:00 UTC.\n"
    wrong = audit("--since", f"{day} 14:01", "--until", f"{day} 13:00")
    assert wrong.exit_code == 64
    assert "give a time after 2026-01-05 14:01:00 UTC" in wrong.stderr


def test_the_last_entries_are_those_of_the_whole_story() -> None:
    make("only", TWO_NS, EVERY[:40])
    whole = json.loads(audit("--json").stdout)
    for count in (1, 2, len(whole) - 1, len(whole), len(whole) + 5):
        assert json.loads(audit("--json", "--last", str(count)).stdout) == whole[-count:]
    assert audit("--last", "0").exit_code == 64


def test_the_last_entries_of_a_ticket_have_its_orders() -> None:
    make("only", TWO_NS, EVERY[:4])
    whole = json.loads(audit("--json", "--ticket", "5").stdout)
    assert [row["action"] for row in whole] == ["INTENT", "SENT", "IN_DOUBT", "SETTLED"]
    assert json.loads(audit("--json", "--ticket", "5", "--last", "3").stdout) == whole[1:]


Steps = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 3)), max_size=400)


@given(Steps, st.integers(1, 30), st.booleans())
def test_the_newest_entries_equal_the_end_of_the_story(
    drawn: list[tuple[int, int]], count: int, with_filter: bool
) -> None:
    """Whatever lies between an order's intent and its later steps."""
    journal = MemoryJournal()
    begun: dict[str, int] = {}
    for order, quiet in drawn:
        name, at_ns = str(order), journal.position + 1
        step = begun[name] = begun.get(name, -1) + 1
        history: list[events.OrderEvent] = [
            wish(name, at_ns),
            events.SendStarted(at_ns=at_ns, order_id=name),
            events.OrderInDoubt(at_ns=at_ns, order_id=name, error="no reply"),
        ][step : step + 1]
        history += [wish(f"{name}-{at_ns}-{n}", at_ns) for n in range(quiet * FIRST_WINDOW // 4)]
        if history:
            journal.append(history)
    wanted = AuditFilter(None, frozenset({"SENT", "IN_DOUBT"}) if with_filter else frozenset())
    whole: list[AuditRow] = list(story(journal.records(), wanted))
    found = newest_rows(journal.records, journal.position, count, wanted)
    assert found == whole[-count:]


def test_the_orders_behind_positions_come_from_the_newest_checkpoint() -> None:
    make("only", TWO_NS, EVERY[:4])
    with open_reader("a.db") as reader:
        assert known_orders(reader) == Known()
    with open_journal("a.db", "only", now_ns=lambda: TWO_NS) as journal:
        with open_reader("a.db") as reader:
            book, _ = book_of(reader)
        journal.checkpoint(4, book.state())
    with open_reader("a.db") as reader:
        known = known_orders(reader)
    tickets = {ticket: order.order_id for ticket, order in book.orders_by_ticket.items()}
    assert tickets
    assert known == Known(4, tickets)


def test_an_earlier_order_is_named_beside_a_late_entry_of_its_position() -> None:
    journal = MemoryJournal()
    position = make_position(7, identifier=7)
    journal.append([wish(f"{n}", n) for n in range(1, 5)])
    closed = events.PositionMissing(at_ns=9, position=position, because="no deal yet")
    journal.append([closed])
    for known, order_id in ((None, ""), (Known(4, {7: "ORD_1"}), "ORD_1")):
        (row,) = newest_rows(journal.records, 5, 1, AuditFilter(), known)
        assert (row.position, row.order_id or "") == (5, order_id)
    # What comes after the known orders is read whole, and no more is wanted of it.
    reads: list[int] = []

    def read(after: int) -> Iterator[Record]:
        reads.append(after)
        return iter(journal.records(after))

    assert len(newest_rows(read, 5, 1, AuditFilter(), Known(4, {}))) == 1
    assert reads == [0]
