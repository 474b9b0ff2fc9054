"""From differences to a plan: what will be changed, and what is seen and left alone.

`plan` is pure: the same inputs give the same plan. It closes nothing on a
partial reading, and it never judges a position whose local facts are newer than the snapshot. On a
reading with evidence it closes nothing without deals that prove it, and leaves alone what we
touched ourselves a moment ago.

Protection comes first in a plan: a stop that was removed is the difference that cannot wait.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import msgspec

from trueup.core.book import events
from trueup.core.book.book import Book
from trueup.core.book.diff import Diff, Zombie
from trueup.core.book.events import OrderKind
from trueup.core.book.holdings import Unbooked
from trueup.core.doubt.lookalikes import age_sec, latest_answer_ns
from trueup.core.doubt.resolve import (
    Doubt,
    settled_because,
    settling_events,
    waiting_sentence,
    weigh,
)
from trueup.core.gateway_record import RequestInDoubt
from trueup.core.holds import Hold, HoldKind
from trueup.core.look.absence import Absence
from trueup.core.look.inputs import SyncInputs
from trueup.core.look.outcome import Outcome
from trueup.core.model import Snapshot
from trueup.core.policy import Policy
from trueup.core.quantity import to_units
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

A_DAY_SEC = 86_400
# The trade server's clock goes forward by an hour in spring; and a minute between two clocks.
SPARE_SEC = 3_660
# What a gateway serves at most.
HISTORY_LONGEST_SEC = 31 * A_DAY_SEC


class Plan(msgspec.Struct, frozen=True):
    """What a sync will do: `events` for the journal and the book, `holds` for the reader.

    `questions` are identifiers of positions, and `order_questions` tickets of orders, that a
    gateway with deals should be asked about before the plan is final, because something is still to
    come of them; `rechecks` are identifiers whose deals are to be compared again with what was
    counted. The history of the last `history_age_sec` seconds is wanted where orders are in doubt,
    or a position was closed to be opened again, and `in_doubt` says which orders, for the gateway's
    own record. `absences` is what looks have shown nothing of, by order id, for the next
    look. `foreign` counts what is open and not ours.
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


def plan(inputs: SyncInputs) -> Plan:
    """Return what brings the book into agreement with the broker."""
    found = inputs.differences
    if inputs.lost is None and _nothing_to_do(found, inputs):
        return Plan(foreign=found.foreign)
    doubts = weigh(inputs)
    outcome = Outcome()
    _bind(inputs, outcome)
    for_loss(inputs, outcome)
    _settle(doubts, inputs, outcome)
    outcome.order_questions += [
        doubt.order.target for doubt in doubts if doubt.order.kind is events.OrderKind.CANCEL
    ]
    halts(found, inputs, outcome)
    # A position that proves to be an order of ours is ours, whatever the policy names.
    settling = {doubt.trace.position for doubt in doubts if doubt.trace.position}
    found = _with_ours(found, inputs, settling)
    _positions(found, inputs, settling, outcome)
    _count_settled(doubts, inputs, outcome)
    for_pending(found, inputs, outcome)
    for_unreadable_rows(inputs, outcome)
    for_unknown_symbols(inputs, outcome)
    history_sec = _history_wanted(inputs) if doubts else 0
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
    """Return whether the book is bound, and the account's conditions are those that it knows."""
    evidence, known = snapshot.evidence, book.account
    return evidence is None or (known is not None and not changed_facts(known, evidence.account))


def is_settled(book: Book, policy: Policy) -> bool:
    """Return whether nothing in the book waits, for proof, for a person or for time to pass."""
    waits = book.in_doubt or book.missing or book.unexplained or book.halts
    waits_for_deals = book.unbooked or book.ending
    return not (waits or waits_for_deals or book.loss or policy.expects_stop_loss)


def _settle(doubts: Sequence[Doubt], inputs: SyncInputs, outcome: Outcome) -> None:
    for doubt in doubts:
        settled = settling_events(doubt, inputs)
        outcome.events += settled
        if not settled:
            outcome.holds.append(
                Hold(
                    doubt.order.symbol,
                    waiting_sentence(doubt),
                    "a sync that shows what became of it",
                    kind=HoldKind.DOUBT,
                )
            )


def _history_wanted(inputs: SyncInputs) -> int:
    """Return how many seconds of history cover every order in doubt, with some to spare.

    And the latest answered order, which shows what the broker does to comments, if of that day; not
    where the broker's clock is unknown, and with it what is older than the order in doubt.
    """
    evidence = inputs.snapshot.evidence
    server_time_msc = evidence.server_time_msc if evidence is not None else 0
    in_doubt = inputs.book.in_doubt.values()
    oldest_sec = max(age_sec(order, server_time_msc, inputs.waited) for order in in_doubt)
    if evidence is not None and evidence.time_offset_sec is not None:
        answered_sec = inputs.waited.age_of_ns(latest_answer_ns(inputs.book)) // 1_000_000_000
        if oldest_sec < answered_sec <= oldest_sec + A_DAY_SEC:
            return answered_sec + SPARE_SEC
    return oldest_sec + SPARE_SEC


def _history_since(since_msc: int, inputs: SyncInputs) -> int:
    """Return how many seconds of history reach back to a time of the trade server's clock."""
    evidence = inputs.snapshot.evidence
    if not since_msc or evidence is None:
        return 0
    age_sec = (evidence.server_time_msc - since_msc) // 1000 + SPARE_SEC
    return min(max(SPARE_SEC, age_sec), HISTORY_LONGEST_SEC)


def _count_settled(doubts: Sequence[Doubt], inputs: SyncInputs, outcome: Outcome) -> None:
    """Count the deals of orders in doubt that no difference of a position brings along.

    Those of a position that came and went meanwhile, entry and exit; and those of a position that
    the book has as the list does: it was adopted before we knew whose it is, or the broker has
    cancelled since what closed it. An order that closes can have closed one that is in neither.
    """
    for doubt in doubts:
        order, trace, decision = doubt.order, doubt.trace, doubt.case.decision
        is_held = {order.position, trace.position} & inputs.book.holdings.keys()
        is_gone = order.position and not {order.position, trace.position} & inputs.listed.keys()
        is_wanted = decision is Decision.ADOPT and (is_held or is_gone)
        is_wanted = is_wanted or decision is Decision.RECORD_BOTH
        if not is_wanted or order.kind is not OrderKind.MARKET:
            continue
        wanted = Unbooked(order.symbol, to_units(trace.volume), trace.position)
        row, told = row_of(trace.ticket, wanted), f"{settled_because(doubt)}; "
        outcome.guard(row, partial(placement, trace.ticket, wanted, inputs, outcome, told))


def _bind(inputs: SyncInputs, outcome: Outcome) -> None:
    """Bind a book to its account at first contact, and note what changed of that since."""
    evidence, known = inputs.snapshot.evidence, inputs.book.account
    if evidence is None:
        return
    if known is None:
        outcome.events.append(bound_to(evidence.account, inputs.now_ns))
        return
    changed = changed_facts(known, evidence.account)
    if changed:
        outcome.events.append(bound_to(evidence.account, inputs.now_ns, changed))


def _with_ours(found: Diff, inputs: SyncInputs, settling: set[int]) -> Diff:
    """Count a position that proved to be an order of ours as ours, whatever the policy names."""
    ours = [
        Zombie(position)
        for position in (inputs.snapshot.positions if settling else ())
        if position.identifier in settling
        and position.identifier not in inputs.book.holdings
        and inputs.policy.covers(position.symbol)
        and inputs.policy.is_foreign(position)
    ]
    if not ours:
        return found
    zombies = (*found.zombies, *ours)
    return msgspec.structs.replace(found, zombies=zombies, foreign=found.foreign - len(ours))


def _positions(found: Diff, inputs: SyncInputs, settling: set[int], outcome: Outcome) -> None:
    protection = Outcome()
    for zombie in found.zombies:
        is_ours = zombie.remote.identifier in settling
        outcome.guard(zombie.remote, partial(for_zombie, zombie, inputs, outcome, is_ours=is_ours))
    for drift in found.drifts:
        stops = Outcome()
        if outcome.guard(drift.remote, partial(for_drift, drift, inputs, stops, outcome)):
            protection.add(stops)
    for remote in found.updated:
        outcome.guard(remote, partial(updated, remote, inputs, outcome))
    for ghost in found.ghosts:
        outcome.guard(ghost.local, partial(for_ghost, ghost, inputs, outcome))
    found_again(inputs, outcome)
    explanations(inputs, outcome)
    unprotected(inputs, protection)
    outcome.put_first(protection)
