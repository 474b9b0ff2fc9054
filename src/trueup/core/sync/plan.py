"""Turn differences into a plan: the changes to make, and the holds for differences that must wait.

`plan` is pure: the same inputs give the same plan. A plan closes no position on a partial reading,
and never judges a position with local facts newer than the snapshot. On a reading with evidence a
plan closes a position only if its deals prove the close, and holds differences on positions that we
changed just before.

Corrections of stops come first in a plan, because a removed stop is the most urgent difference.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from trueup.core.book import events
from trueup.core.book.book import Book
from trueup.core.book.diff import Diff, Zombie
from trueup.core.book.events import OrderKind
from trueup.core.book.holdings import Unbooked
from trueup.core.doubt.lookalikes import age_sec, latest_answer_ns
from trueup.core.doubt.resolve import (
    Doubt,
    resolved_because,
    resolving_events,
    waiting_sentence,
    weigh,
)
from trueup.core.gateway_record import RequestInDoubt
from trueup.core.holds import Hold, HoldKind
from trueup.core.look.absence import Absence
from trueup.core.look.inputs import SyncInputs
from trueup.core.look.outcome import Outcome
from trueup.core.model import PendingOrder, Position, Snapshot, describe_at, describe_order
from trueup.core.policy import Policy
from trueup.core.quantity import to_units
from trueup.core.realised.leaving import follow_recorded
from trueup.core.realised.placing import explanations, placement, row_of
from trueup.core.realised.recording import updated
from trueup.core.recovery import Decision
from trueup.core.sync.binding import bound_to, changed_facts
from trueup.core.sync.ghosts import for_ghost, found_again
from trueup.core.sync.halts import halts
from trueup.core.sync.loss import for_loss
from trueup.core.sync.pending_orders import for_pending
from trueup.core.sync.unknown_symbols import for_unknown_symbols, unknown_to_broker
from trueup.core.sync.unreadable import for_unreadable_rows
from trueup.core.sync.zombies_and_drifts import for_drift, for_zombie, unprotected
from trueup.core.tables import table

A_DAY_SEC = 86_400
# Margin: one hour for a DST change plus one minute of clock skew.
SPARE_SEC = 3_660
# The longest history that a gateway serves.
HISTORY_LONGEST_SEC = 31 * A_DAY_SEC


class Plan(msgspec.Struct, frozen=True):
    """The plan of a sync: `events` for the journal and the book, `holds` for a person.

    `questions` are identifiers of positions, and `order_questions` tickets of orders, to ask a
    gateway with deals about before the plan is final, because they wait for deals or for an end.
    `rechecks` are identifiers of positions whose deals are due for another comparison. The history
    of the last `history_age_sec` seconds is wanted if orders are in doubt, or if the broker closed
    a position to open it again; `in_doubt` lists the orders for the gateway's record. `absences`
    are the absence records by order id, for the next snapshot. `foreign` counts open positions and
    orders that are not ours.
    """

    events: tuple[events.Event, ...] = ()
    holds: tuple[Hold, ...] = ()
    foreign: int = 0
    questions: tuple[int, ...] = ()
    order_questions: tuple[int, ...] = ()
    history_age_sec: int = 0
    in_doubt: tuple[RequestInDoubt, ...] = ()
    absences: tuple[tuple[str, Absence], ...] = ()
    rechecks: tuple[int, ...] = ()

    def __repr__(self) -> str:
        said = [f"{len(self.events)} to change", f"{len(self.holds)} held"]
        kinds = dict.fromkeys(type(event).__name__ for event in self.events)
        return f"Plan({', '.join([*said, *kinds])})"

    def _repr_html_(self) -> str:
        """Return the plan as a table, for a notebook."""
        changes = [(type(event).__name__, *_subject(event)) for event in self.events]
        holds = [("held", hold.scope, f"{hold.reason} (until {hold.until})") for hold in self.holds]
        title = f"Plan: {len(changes)} to change, {len(holds)} held"
        return table(title, ("change", "about", "evidence"), [*changes, *holds])


def _subject(event: events.Event) -> tuple[str, str]:
    """Return what an event is about, and its evidence."""
    because = str(getattr(event, "because", ""))
    row = getattr(event, "position", None) or getattr(event, "remote", None)
    pending = row if isinstance(row, PendingOrder) else getattr(event, "order", None)
    if isinstance(row, Position):
        return f"{row.ticket} {row.symbol} {describe_at(row)}", because
    if isinstance(pending, PendingOrder):
        return f"{pending.ticket} {pending.symbol} {describe_order(pending)}", because
    return str(getattr(event, "order_id", "")), because


def plan(inputs: SyncInputs) -> Plan:
    """Return the plan that brings the book into agreement with the broker."""
    found = inputs.differences
    # Most syncs end here, so this test must be cheap.
    if inputs.lost is None and _nothing_to_do(found, inputs):
        return Plan(foreign=found.foreign)
    doubts = weigh(inputs)
    outcome = Outcome()
    # Bind first, because each later event may depend on the account's margin mode.
    _bind(inputs, outcome)
    for_loss(inputs, outcome)
    _resolve(doubts, inputs, outcome)
    # Only the end of its pending order shows whether a cancellation in doubt took effect.
    outcome.order_questions += [
        doubt.order.target for doubt in doubts if doubt.order.kind is events.OrderKind.CANCEL
    ]
    halts(found, inputs, outcome)
    # The position of a resolved order is ours, even if the policy would call it foreign; but not a
    # position that the order found at the broker, such as one that a caller closes by its ticket.
    # A pending order that still works may have opened a position already, under its own ticket.
    resolved = {
        identifier
        for doubt in doubts
        for identifier in (doubt.trace.position, doubt.trace.ticket)
        if identifier and not doubt.order.is_foreign and doubt.order.kind is not OrderKind.CLOSE_BY
    }
    found = _with_ours(found, inputs, resolved)
    _positions(found, inputs, resolved, outcome)
    _count_resolved(doubts, inputs, outcome)
    # After positions, because counting a fill looks at the events planned for its position.
    for_pending(found, inputs, outcome)
    follow_recorded(inputs, outcome)
    for_unreadable_rows(inputs, outcome)
    for_unknown_symbols(inputs, outcome)
    history_sec = _history_wanted(inputs) if doubts else 0
    # Several rules may ask the same question, and the gateway limits the number of questions.
    return Plan(
        events=tuple(outcome.events),
        holds=tuple(outcome.holds),
        foreign=found.foreign,
        questions=tuple(dict.fromkeys(outcome.questions)),
        order_questions=tuple(dict.fromkeys(outcome.order_questions)),
        history_age_sec=max(history_sec, _history_since(outcome.since_msc, inputs)),
        in_doubt=tuple(
            RequestInDoubt(doubt.order.order_id, doubt.order.record) for doubt in doubts
        ),
        absences=tuple((doubt.order.order_id, doubt.absence) for doubt in doubts if doubt.absence),
        rechecks=tuple(dict.fromkeys(outcome.rechecks)),
    )


def _nothing_to_do(found: Diff, inputs: SyncInputs) -> bool:
    return (
        found == Diff(foreign=found.foreign)
        and not inputs.snapshot.faults
        and (not inputs.book.pending or inputs.snapshot.evidence is not None)
        and not inputs.rechecks
        and not any(unknown_to_broker(inputs))
        and is_settled(inputs.book, inputs.policy)
        and knows_account(inputs.book, inputs.snapshot)
    )


def knows_account(book: Book, snapshot: Snapshot) -> bool:
    """Return whether the book is bound and has the current conditions of the account."""
    evidence, known = snapshot.evidence, book.account
    return evidence is None or (known is not None and not changed_facts(known, evidence.account))


def is_settled(book: Book, policy: Policy) -> bool:
    """Return whether no entry of the book waits for a proof, a person or time to pass."""
    waits = book.in_doubt or book.missing or book.unexplained or book.halts
    waits_for_deals = book.unbooked or book.ending
    return not (waits or waits_for_deals or book.loss or policy.expects_stop_loss)


def _resolve(doubts: Sequence[Doubt], inputs: SyncInputs, outcome: Outcome) -> None:
    for doubt in doubts:
        ending = resolving_events(doubt, inputs)
        outcome.events += ending
        if not ending:
            outcome.holds.append(
                Hold(
                    doubt.order.symbol,
                    waiting_sentence(doubt),
                    "a sync that shows what became of it",
                    kind=HoldKind.DOUBT,
                    order_id=doubt.order.order_id,
                    evidence=doubt.trace.words,
                    needs_person=doubt.trace.needs_person,
                )
            )


def _history_wanted(inputs: SyncInputs) -> int:
    """Return how many seconds of history cover every order in doubt, with a margin.

    The history also covers the latest answered order, if at most a day older, because that order
    shows how the broker changes comments. This needs the broker's clock: without it the age of
    orders in the history relative to the order in doubt is not known.
    """
    evidence = inputs.snapshot.evidence
    server_time_msc = evidence.server_time_msc if evidence is not None else 0
    in_doubt = inputs.book.in_doubt.values()
    # Measured by the trade server's clock if possible, because the gateway cuts by that clock.
    oldest_sec = max(age_sec(order, server_time_msc, inputs.waited) for order in in_doubt)
    if evidence is not None and evidence.time_offset_sec is not None:
        answered_sec = inputs.waited.age_of_ns(latest_answer_ns(inputs.book)) // 1_000_000_000
        if oldest_sec < answered_sec <= oldest_sec + A_DAY_SEC:
            return answered_sec + SPARE_SEC
    return oldest_sec + SPARE_SEC


def _history_since(since_msc: int, inputs: SyncInputs) -> int:
    """Return the length of history (s) that reaches back to a time of the trade server's clock."""
    evidence = inputs.snapshot.evidence
    if not since_msc or evidence is None:
        return 0
    age_sec = (evidence.server_time_msc - since_msc) // 1000 + SPARE_SEC
    return min(max(SPARE_SEC, age_sec), HISTORY_LONGEST_SEC)


def _count_resolved(doubts: Sequence[Doubt], inputs: SyncInputs, outcome: Outcome) -> None:
    """Count the deals of resolved orders for which there is no difference of a position.

    First, a position that opened and closed meanwhile: entry and exit are counted. Second, a
    position that is equal in book and list, because the book adopted the position before we knew
    its order, or because the broker has cancelled the closing deal since. Third, a closing order
    whose position is neither in the book nor in the list. Fourth, on a netting account, the parts
    of an order that went into other positions before.
    """
    for doubt in doubts:
        order, trace, decision = doubt.order, doubt.trace, doubt.case.decision
        # On a hedging account the rule for the position's difference counts all other deals.
        is_held = {order.position, trace.position} & inputs.book.holdings.keys()
        is_gone = order.position and not {order.position, trace.position} & inputs.listed.keys()
        is_wanted = decision is Decision.ADOPT and (is_held or is_gone or inputs.is_shared)
        is_wanted = is_wanted or decision is Decision.RECORD_BOTH
        # Other rules count the deals of pending orders; a change or a cancellation has no deals.
        # The deals of a foreign position are not the book's.
        if not is_wanted or order.kind is not OrderKind.MARKET or order.is_foreign:
            continue
        wanted = Unbooked(order.symbol, to_units(trace.volume), trace.position)
        row, prefix = row_of(trace.ticket, wanted), f"{resolved_because(doubt)}; "
        outcome.guard(row, placement, trace.ticket, wanted, inputs, outcome, prefix)


def _bind(inputs: SyncInputs, outcome: Outcome) -> None:
    """Bind a book to its account at first contact, and record changed conditions later."""
    evidence, known = inputs.snapshot.evidence, inputs.book.account
    if evidence is None:
        return
    if known is None:
        outcome.events.append(bound_to(evidence.account, inputs.now_ns))
        return
    changed = changed_facts(known, evidence.account)
    if changed:
        outcome.events.append(bound_to(evidence.account, inputs.now_ns, changed))


def _with_ours(found: Diff, inputs: SyncInputs, resolved: set[int]) -> Diff:
    """Count the position of a resolved order as ours, even if the policy calls it foreign."""
    ours = [
        Zombie(position)
        for position in (inputs.snapshot.positions if resolved else ())
        if position.identifier in resolved
        and position.identifier not in inputs.book.holdings
        and inputs.policy.is_foreign(position)
    ]
    if not ours:
        return found
    zombies = (*found.zombies, *ours)
    return msgspec.structs.replace(found, zombies=zombies, foreign=found.foreign - len(ours))


def _positions(found: Diff, inputs: SyncInputs, resolved: set[int], outcome: Outcome) -> None:
    # Stops are collected apart, because their corrections go to the front of the plan.
    protection = Outcome()
    for zombie in found.zombies:
        is_ours = zombie.remote.identifier in resolved
        outcome.guard(zombie.remote, for_zombie, zombie, inputs, outcome, is_ours=is_ours)
    for drift in found.drifts:
        # If the rule fails, its corrections of stops must not enter the plan either.
        stops = Outcome()
        if outcome.guard(drift.remote, for_drift, drift, inputs, stops, outcome):
            protection.add(stops)
    for remote in found.updated:
        outcome.guard(remote, updated, remote, inputs, outcome)
    for ghost in found.ghosts:
        outcome.guard(ghost.local, for_ghost, ghost, inputs, outcome)
    # Last, because the rules above may have counted the awaited deals already.
    found_again(inputs, outcome)
    explanations(inputs, outcome)
    unprotected(inputs, protection)
    outcome.put_first(protection)
