"""An event is spelled out in many places; each class of event has to be in all of them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

import trueup.lab.oracle
from tests.support.every_event import CREATED, EVERY
from trueup.core.book import events
from trueup.core.book.book import Book
from trueup.core.book.event_ids import change_id
from trueup.core.book.fold import FOLD
from trueup.core.sync.plan import Plan
from trueup.journal import Record
from trueup.journal.rows.codec import decode, encode
from trueup.logs import logger
from trueup.observe.event_words.table import words_of
from trueup.observe.event_words.words import ACTIONS
from trueup.observe.plan_text import plan_values, write_plan
from trueup.runtime.story.audit import AuditTrail, entry, is_own_step, sentence
from trueup.runtime.story.story import AuditFilter, story, tickets_of
from trueup.runtime.sync.results import SyncResult, SyncStatus

ALL = frozenset(get_args(events.AnyEvent))
# Steps that an order, or a comparison, makes by itself: they correct nothing.
NO_CORRECTIONS = {
    events.OrderCreated,
    events.SendStarted,
    events.OutcomeDelivered,
    events.OrderFilled,
    events.OrderInDoubt,
    events.OrderRejected,
    events.HistoryCompared,
}
# These change no position and no order: no promise of the oracle is about them.
NOT_JUDGED = {
    "HistoryCompared",
    "LossFound",
    "LossAccepted",
    "OutcomeDelivered",
    "FiguresNoted",
    "LimitReached",
    "LimitEnded",
    "TradingPaused",
    "TradingResumed",
    "SyncAsked",
    "BotStopped",
    "ProposalMade",
    "ProposalEnded",
    "WishRefused",
    "StreamTakenOver",
    "StreamClosed",
    "WatchBegan",
    "BrokerSeen",
    "ReadingsLost",
}
SAID_IN_A_RESULT = {
    events.PositionAdopted,
    events.PositionClosed,
    events.PositionCorrected,
    events.DealsRecorded,
    events.PendingAdopted,
    events.PendingClosed,
    events.PendingCorrected,
}

each = pytest.mark.parametrize("event", EVERY, ids=lambda event: type(event).__name__)


@pytest.fixture
def lines() -> Iterator[list[str]]:
    """The log lines that are written meanwhile."""
    said: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    log = logger("trueup.reconciler")
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    yield said
    log.removeHandler(handler)
    log.setLevel(level)


def test_the_examples_have_every_class_of_event() -> None:
    assert {type(event) for event in EVERY} == ALL


def test_every_class_has_a_rule_in_the_fold() -> None:
    assert frozenset(FOLD) == ALL


@each
def test_a_journal_keeps_it_and_it_has_an_id(event: events.Event) -> None:
    encoded = encode(event)
    assert decode(1, encoded.kind, encoded.payload) == event
    name, key = change_id(event)
    assert type(event).__name__ in name
    assert key >= 0


@each
def test_a_correction_is_in_audit_log_and_difference_and_an_own_step_in_none(
    event: events.Event, lines: list[str]
) -> None:
    trail = AuditTrail()
    trail.record([event], Book())
    assert is_own_step(event) is (type(event) in NO_CORRECTIONS)
    if is_own_step(event):
        assert (len(trail), lines, sentence(event)) == (0, [], "")
        return
    (kept,) = trail.entries()
    assert kept == entry(event)
    assert kept["action"] in ACTIONS
    assert kept["details"]
    assert lines
    assert all(line.startswith("[") for line in lines)


@each
def test_a_plan_says_it_in_text_and_in_json(event: events.Event) -> None:
    plan = Plan(events=(event,))
    (step,) = plan_values(plan, 2)["steps"]
    assert all(step[part] for part in ("sign", "symbol", "what", "evidence", "consequence"))
    assert write_plan(plan, 2).startswith("Plan: 1 to change, 0 held.")
    assert step["what"] in write_plan(plan, 2)


@each
def test_a_story_tells_it(event: events.Event) -> None:
    record = Record(1, event.at_ns, type(event).__name__, event, bytes(32))
    (told,) = story([record], AuditFilter())
    assert told.details
    assert told.action in words_of(event).actions
    for ticket in tickets_of(event):
        assert list(story([record], AuditFilter(ticket=ticket))) == [told]


@each
def test_a_result_says_what_belongs_in_it(event: events.Event) -> None:
    result = SyncResult(SyncStatus.SUCCESS).count(Plan(events=(event,)))
    figures = (result.recovered, result.closed, result.drifts, result.explanations, result.orders)
    assert any(figures) is (type(event) in SAID_IN_A_RESULT)


def test_the_oracle_knows_every_class_or_has_a_reason_not_to() -> None:
    folder = Path(str(trueup.lab.oracle.__file__)).parent
    judged = "".join(path.read_text(encoding="utf-8") for path in folder.rglob("*.py"))
    names = {kind.__name__ for kind in ALL}
    assert {name for name in names if f'"{name}"' not in judged} == NOT_JUDGED


def test_a_class_without_words_is_no_event_that_can_be_said() -> None:
    class Odd(events.Event, frozen=True):
        """An event that no table knows."""

    with pytest.raises(AssertionError):
        words_of(Odd(at_ns=1))
    assert words_of(CREATED) is words_of(CREATED)
