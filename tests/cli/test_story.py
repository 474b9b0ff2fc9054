"""A journal told: every event, by ticket, by action, and both books at any moment of it."""

from __future__ import annotations

import datetime as dt
import random
import textwrap
from collections.abc import Sequence
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.cli.bot_world import BotWorld
from tests.support.desk_world import BUY, DeskWorld
from tests.support.every_event import CREATED, EVERY, ORDER, SEC, P
from tests.support.make import ACCOUNT, bound, position
from trueup.core.book import events
from trueup.core.book.book import Book
from trueup.core.dates import iso
from trueup.core.model import MarginMode, Side
from trueup.core.sync.plan import Plan
from trueup.journal import MemoryJournal, Record
from trueup.journal.journal import Checkpoint
from trueup.observe.audit_text import AuditRow, audit_lines
from trueup.observe.event_words.table import words_of
from trueup.observe.event_words.words import ACTIONS
from trueup.observe.plan_text import plan_values, write_plan
from trueup.observe.replay_text import Scene, write_scene
from trueup.runtime.story.replay import Replay, replay
from trueup.runtime.story.story import AuditFilter, orders_of, story, tickets_of


def records(history: Sequence[events.Event]) -> list[Record]:
    return [
        Record(number, event.at_ns, type(event).__name__, event, bytes(32))
        for number, event in enumerate(history, start=1)
    ]


def told(history: Sequence[events.Event], **wanted: Any) -> list[AuditRow]:
    return list(story(records(history), AuditFilter(**wanted)))


@pytest.mark.parametrize("event", EVERY, ids=lambda event: type(event).__name__)
def test_a_plan_with_any_event_says_what_it_would_do(event: events.Event) -> None:
    """Text, JSON and the count agree, whatever the event: a plan that changes something says so."""
    plan = Plan(events=(event,))
    text = write_plan(plan, 2)
    assert text.startswith("Plan: 1 to change, 0 held.")
    (step,) = plan_values(plan, 2)["steps"]
    assert step["what"] in text
    assert step["evidence"]
    assert step["consequence"]


def test_every_kind_of_event_is_told() -> None:
    assert {type(event) for event in EVERY} == set(get_args(events.AnyEvent))
    entries = told(EVERY)
    assert len(entries) == len(EVERY)
    assert all(entry.details and entry.action in ACTIONS for entry in entries)
    assert {entry.action for entry in entries} == set(ACTIONS)


def test_an_order_is_told_from_its_intent_to_its_end() -> None:
    assert [(e.action, e.ticket, e.details, e.before, e.after) for e in told(EVERY[:4])] == [
        (
            "INTENT",
            None,
            "A: BUY 0.10L EURUSD, SL 1.05, market at 1.1, magic 7, key 'morning'. Why: the cross",
            "",
            "PENDING",
        ),
        ("SENT", None, "A leaves for the broker", "PENDING", "SENT"),
        (
            "IN_DOUBT",
            None,
            "A (BUY 0.10L EURUSD): no reply within 2000 ms; may have been executed",
            "SENT",
            "IN_DOUBT",
        ),
        (
            "SETTLED",
            5,
            "A (BUY 0.10L EURUSD): executed, 0.10L; case D: its token",
            "IN_DOUBT",
            "FILLED",
        ),
    ]


def test_a_refusal_has_its_case_and_what_never_left_has_none() -> None:
    sent = events.SendStarted(at_ns=2 * SEC, order_id="A")
    refused = events.OrderRejected(at_ns=3 * SEC, order_id="A", error="no money")
    what = "A (BUY 0.10L EURUSD): no money; nothing happened"
    assert told([CREATED, sent, refused])[-1].details == f"{what} (case H)"
    assert told([CREATED, refused])[-1].details == what


def test_what_is_told_from_the_middle_claims_no_more_than_it_says() -> None:
    (entry,) = told(EVERY[3:4])
    assert (entry.details, entry.before, entry.after) == (
        "A: executed, 0.10L; case D: its token",
        "",
        "",
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"position": 5}, "A: BUY 0.10L EURUSD closing 5"),
        ({"kind": events.OrderKind.LIMIT}, "A: BUY 0.10L EURUSD limit 1.1"),
        ({"kind": events.OrderKind.CANCEL, "target": 9}, "A: cancel pending order 9"),
        (
            {"kind": events.OrderKind.MODIFY, "position": 5, "sl": 1.0},
            "A: set SL 1.0, TP none of 5",
        ),
    ],
)
def test_each_kind_of_order_says_what_it_asks_for(changes: dict[str, Any], said: str) -> None:
    wish: dict[str, Any] = {
        "at_ns": 1,
        "order_id": "A",
        "symbol": "EURUSD",
        "side": Side.BUY,
        "volume": 0.1,
        "price": 1.1,
    }
    (entry,) = told([events.OrderCreated(**{**wish, **changes})])
    assert entry.details.startswith(said)


def test_a_ticket_has_its_orders_and_its_corrections() -> None:
    order_ids = orders_of(records(EVERY), 5)
    assert order_ids == {"A"}
    entries = told(EVERY, ticket=5, order_ids=order_ids)
    actions = [entry.action for entry in entries]
    assert actions[:4] == ["INTENT", "SENT", "IN_DOUBT", "SETTLED"]
    assert set(actions[4:]) == {
        "DELIVERED",
        "RECOVERY",
        "MISSING",
        "FOUND",
        "DRIFT_FIX",
        "EXPLAINED",
        "CLOSED",
        "HALT",
        "PROPOSAL",
        "WATCH",
    }


def test_what_names_a_ticket_is_found_by_it() -> None:
    for event in EVERY:
        text = str(event)
        for ticket in tickets_of(event):
            assert str(ticket) in text
    assert tickets_of(EVERY[-1]) == frozenset()


def test_what_a_position_went_on_as_and_what_an_order_went_into_is_found_by_either() -> None:
    because = "closed by a rollover; the broker opened it again as 8"
    linked = [
        events.PositionClosed(at_ns=1, position=P, because=because, went_on_as=(8,)),
        events.DealsRecorded(
            at_ns=2, position=P, deals=(1,), realised_units=0, because=because, went_on_as=(8,)
        ),
        events.PendingClosed(at_ns=3, order=ORDER, because="filled into 8", position=8),
    ]
    assert [len(told(linked, ticket=ticket)) for ticket in (5, 8, 9)] == [2, 3, 1]


def test_actions_choose_what_is_told() -> None:
    assert [entry.position for entry in told(EVERY, actions={"HALT", "BOUND"})] == [18, 19]


@pytest.mark.parametrize("action", ["", *ACTIONS])
@pytest.mark.parametrize("ticket", [None, 5, 9, 70, 12345])
def test_what_is_chosen_is_what_telling_all_and_choosing_then_would_give(
    action: str, ticket: int | None
) -> None:
    """Most of a long journal is not told at all when something is asked for."""
    ids = frozenset() if ticket is None else orders_of(records(EVERY), ticket)
    chosen = told(EVERY, actions=frozenset({action} - {""}), ticket=ticket, order_ids=ids)
    everything = zip(EVERY, told(EVERY), strict=True)
    assert chosen == [
        one
        for event, one in everything
        if action in ("", one.action)
        and (ticket is None or one.order_id in ids or ticket in tickets_of(event))
    ]


def test_every_event_says_what_it_can_be_told_as() -> None:
    actions = [words_of(event).actions for event in EVERY]
    assert frozenset().union(*actions) == set(ACTIONS)
    for may_be, one in zip(actions, told(EVERY), strict=True):
        assert one.action in may_be


@given(st.lists(st.text("abc-:.,→", min_size=1, max_size=70), min_size=1).map(" ".join))
@pytest.mark.parametrize("width", [80, 120])
def test_details_are_wrapped_as_the_standard_library_would(width: int, details: str) -> None:
    one = AuditRow("2026-01-05T14:02:10.000+00:00", 1, "CLOSED", 195376889, None, details)
    day, *lines = audit_lines([one], width)
    assert day == "2026-01-05, UTC"
    wanted = textwrap.wrap(
        details,
        width,
        initial_indent="14:02:10  CLOSED    195376889  ",
        subsequent_indent=" " * 31,
        break_on_hyphens=False,
        break_long_words=False,
    )
    assert [line.rstrip() for line in lines] == [line.rstrip() for line in wanted]


def test_the_trail_fits_80_columns_and_gives_each_day_once() -> None:
    late = events.PositionClosed(at_ns=90_000 * SEC, position=P, because="a long reason " * 12)
    lines = list(audit_lines(told([*EVERY, late])))
    assert max(map(len, lines)) <= 80
    assert [line for line in lines if line.endswith("UTC") and line[0] != " "] == [
        "1970-01-01, UTC",
        "1970-01-02, UTC",
    ]
    assert "00:00:11  FOUND     5          In the broker's list again" in lines


# Replay.


def lived() -> tuple[DeskWorld, MemoryJournal]:
    """A bot that traded, was meddled with, and lost sight of an order."""
    journal = MemoryJournal()
    world = BotWorld(journal=journal).broker
    world.trade(1, 0.1)
    world.sync()
    hand = world.person.open("EURUSD", BUY, 0.05)
    world.sync()
    world.person.modify(hand, sl=1.05)
    world.sync()
    world.wait(1.0)
    world.trade(-1, 0.1)
    world.sync()
    world.person.close(hand)
    world.sync()
    return world, journal


def scene(journal: MemoryJournal, at_ns: int, last: int = 10) -> Scene:
    return replay(journal.records(), "EURUSD", at_ns, last)


def test_the_book_at_each_moment_is_the_fold_of_the_events_up_to_it() -> None:
    world, journal = lived()
    history = list(journal.records())
    for record in history:
        then = scene(journal, record.at_ns)
        book = Book().replay(r.event for r in history if r.at_ns <= record.at_ns)
        held = {row.ticket: row.local.lots for row in then.rows if row.local is not None}
        wanted = {h.position.ticket: h.position.volume for h in book.holdings.values()}
        assert held == wanted
        assert then.realised == book.realised
    assert scene(journal, history[-1].at_ns).realised == world.pm.realised


def test_the_broker_s_side_is_what_readings_and_answers_told() -> None:
    world, journal = lived()
    filled = next(r for r in journal.records() if isinstance(r.event, events.OrderFilled))
    (row,) = scene(journal, filled.at_ns).rows
    assert (row.local, row.by) == (row.remote, "answer")
    moved = next(r for r in journal.records() if isinstance(r.event, events.PositionCorrected))
    rows = scene(journal, moved.at_ns).rows
    assert [(row.by, row.remote and row.remote.sl) for row in rows] == [
        ("answer", 0.0),
        ("reading", 1.05),
    ]
    assert scene(journal, world.clock.now_ns()).rows == []


def seen_by_looking_at_all(history: Sequence[Record]) -> dict[int, tuple[float, str]]:
    """The broker's side, with the whole book compared at every answer."""
    book, seen = Book(), dict[int, tuple[float, str]]()
    for record in history:
        before = dict(book.holdings)
        event = record.event
        book.apply(event)
        match event:
            case events.PositionAdopted(position=p) | events.PositionFound(position=p):
                seen[p.ticket] = (p.volume, "reading")
            case events.PositionCorrected(remote=p):
                seen[p.ticket] = (p.volume, "reading")
            case events.PositionClosed(position=p) | events.PositionMissing(position=p):
                seen.pop(p.ticket, None)
            case events.OrderFilled() | events.OrderApplied():
                for key in before.keys() - book.holdings.keys():
                    seen.pop(key, None)
                for key, holding in book.holdings.items():
                    if holding.version == book.version:
                        seen[key] = (holding.position.volume, "answer")
    return seen


@pytest.mark.parametrize("margin_mode", [None, *MarginMode])
def test_an_answer_changes_the_broker_s_side_wherever_it_changed_the_book(
    margin_mode: MarginMode | None,
) -> None:
    """Also where an order that names no position closes the oldest ones, as without hedging."""
    chance = random.Random(7)
    for _ in range(30):
        journal, book = MemoryJournal(), Book()
        begin = [] if margin_mode is None else [events.AccountBound(0, 1, "S", "USD", margin_mode)]
        history: list[events.Event] = list(begin)
        book.replay(begin)
        for number in range(20):
            side = chance.choice((Side.BUY, Side.SELL))
            named = chance.choice((0, 0, 999, *book.holdings))
            lots = chance.choice((0.1, 0.2, 0.3))
            name, at_ns = f"O{number}", number * SEC
            steps: list[events.Event] = [
                events.OrderCreated(at_ns, name, "EURUSD", side, lots, 0.0, named),
                events.OrderFilled(at_ns, name, 100 + number, "EURUSD", side, lots, 1.1),
            ]
            if chance.random() < 0.3:
                steps = [events.PositionAdopted(at_ns, position(500 + number, volume=lots))]
            book.replay(steps)
            history += steps
        journal.append(history)
        then = scene(journal, 10**15)
        shown = [(r.remote.lots, r.by) for r in then.rows if r.remote is not None]
        assert sorted(shown) == sorted(seen_by_looking_at_all(records(history)).values())


def test_a_moment_is_written_as_the_standard_library_would_to_the_millisecond() -> None:
    for at_ns in (0, 999_999, 1_767_571_200_123_999_999, 1_767_571_199_999_999_999, 10**18 + 1):
        whole = dt.datetime.fromtimestamp(at_ns // 10**9, dt.UTC)
        exact = whole.replace(microsecond=at_ns % 10**9 // 1000)
        assert iso(at_ns) == exact.isoformat(timespec="milliseconds")


def test_a_missing_position_is_in_the_book_and_not_at_the_broker() -> None:
    journal = MemoryJournal()
    journal.append([EVERY[0], *EVERY[8:10]])
    then = scene(journal, 30 * SEC)
    (row,) = then.rows
    assert (row.local is not None, row.remote) == (True, None)
    text = write_scene(then)
    assert "Missing    5, LONG 0.01L @ 1.0543: not in the broker's list since 00:00:10" in text


def test_orders_in_doubt_pending_orders_and_halts_are_known_then() -> None:
    journal = MemoryJournal()
    journal.append([*EVERY[:3], EVERY[14], EVERY[17]])
    text = write_scene(scene(journal, 30 * SEC))
    assert "In doubt   A, BUY 0.10L EURUSD, since 00:00:03: no reply within 2000 ms" in text
    assert "Pending    9 BUY LIMIT 0.10L @ 1.05" in text
    assert "Halted     case C: not sent" in text
    assert max(map(len, text.splitlines())) <= 80


def test_only_the_last_events_are_explained_with_all_that_is_known_of_them() -> None:
    journal = MemoryJournal()
    journal.append(EVERY[:4])
    (entry,) = scene(journal, 30 * SEC, last=1).decisions
    assert entry.details == "A (BUY 0.10L EURUSD): executed, 0.10L; case D: its token"
    assert entry.before == "IN_DOUBT"


def test_before_the_first_event_nothing_is_claimed() -> None:
    _, journal = lived()
    text = write_scene(scene(journal, 5 * SEC))
    assert text == "At 1970-01-01 00:00:05 UTC the journal has nothing yet in stream EURUSD."


def test_the_moment_itself_is_included() -> None:
    journal = MemoryJournal()
    journal.append(EVERY[:2])
    assert scene(journal, 2 * SEC).position == 2
    assert scene(journal, 2 * SEC - 1).position == 1


def test_a_scene_has_each_fact_of_the_book() -> None:
    journal = MemoryJournal()
    journal.append([*EVERY[:3], EVERY[14], EVERY[17]])
    then = scene(journal, 30 * SEC)
    assert then.at == iso(30 * SEC)
    last_ns = list(journal.records())[-1].at_ns
    assert (then.stream, then.position, then.last_event) == ("EURUSD", 5, iso(last_ns))
    (doubt,) = then.in_doubt
    assert (doubt.order_id, doubt.action, doubt.lots, doubt.symbol) == ("A", "BUY", 0.1, "EURUSD")
    assert (doubt.error, doubt.since) == ("no reply within 2000 ms", iso(3 * SEC))
    wordless = MemoryJournal()
    wordless.append([*EVERY[:2], events.OrderInDoubt(at_ns=3 * SEC, order_id="A", error="")])
    (quiet,) = scene(wordless, 30 * SEC).in_doubt
    assert quiet.error == ""
    unbound = scene(journal, 30 * SEC)
    assert (unbound.account, unbound.margin_mode, unbound.currency, unbound.currency_digits) == (
        *(None, "", "", None),
    )
    named = MemoryJournal()
    named.append([bound(msgspec.structs.replace(ACCOUNT, currency="JPY", currency_digits=0))])
    then = scene(named, 2 * 10**18)
    assert (then.account, then.margin_mode, then.currency, then.currency_digits) == (
        *("1@Demo", "hedging", "JPY", 0),
    )


def test_a_replay_from_a_checkpoint_knows_the_positions_and_not_when_they_were_seen() -> None:
    here, gone = position(7, identifier=7), position(8, identifier=8)
    book = Book().replay(
        [
            events.PositionAdopted(at_ns=1, position=here),
            events.PositionAdopted(at_ns=2, position=gone),
            events.PositionMissing(at_ns=3 * SEC, position=gone, because="no deal yet"),
        ]
    )
    books = Replay.from_checkpoint(Checkpoint(3, book.state()), 3 * SEC)
    again = Replay.restore(books.state())
    for made in (books, again):
        then = made.scene("s", 4 * SEC, [])
        assert (then.position, then.last_event) == (3, iso(3 * SEC))
        assert made.latest_ns == 3 * SEC
        known, missing = then.rows
        assert (known.local, known.seen, known.by) == (known.remote, "", "")
        assert known.local is not None
        assert (known.local.side, known.local.lots) == ("LONG", here.volume)
        assert (missing.ticket, missing.remote) == (8, None)
        assert then.missing == [
            "8, LONG 0.01L @ 1.0543: not in the broker's list since 00:00:03, no proof"
        ]
    # An event that is older than the newest does not set the time back.
    moved = events.PositionCorrected(
        at_ns=2 * SEC, local=here, remote=position(7, identifier=7, sl=1.05), fields=("sl",)
    )
    again.apply(Record(4, 2 * SEC, "PositionCorrected", moved, bytes(32)))
    assert (again.newest_ns, again.latest_ns, again.position) == (2 * SEC, 3 * SEC, 4)
    row = again.scene("s", 4 * SEC, []).rows[0]
    assert row.remote is not None
    assert (row.remote.sl, row.seen, row.by) == (1.05, iso(2 * SEC), "reading")
