"""Close ghosts: positions that are open in the book and absent from the broker's list.

A ghost is closed in the book when its deals prove the close, or at once, as in the guide, if the
gateway has no deals. Until then the position is missing: the book keeps it and every sync asks for
its deals again. Time alone never closes a position.
"""

from __future__ import annotations

from trueup.core.book import events
from trueup.core.book.book import Holding
from trueup.core.book.diff import Ghost
from trueup.core.book.event_ids import step_id
from trueup.core.deals import Comparison
from trueup.core.holds import Hold, HoldKind
from trueup.core.look.inputs import SyncInputs
from trueup.core.look.outcome import Outcome, newer, settling, unread
from trueup.core.model import Position
from trueup.core.quantity import format_lots, from_units, to_units
from trueup.core.realised.leaving import closing, follow
from trueup.core.realised.netting import shown_as
from trueup.core.realised.recording import entry_may_be_late, went_into
from trueup.core.realised.reopening import followed
from trueup.core.recovery import BrokerShows, Case, Decision, JournalSays, decide

UNPROVEN = "absent from the broker's list; this gateway shows no deals, so unproven"
UNTIL_IT_SHOWS = "the deals that close it, its return to the list"
NOT_SHOWN_AGAIN = "the broker closed it to open it again, and does not show that yet"


def for_ghost(ghost: Ghost, inputs: SyncInputs, outcome: Outcome) -> None:
    """Close a ghost if its deals prove the close, or if the gateway has no deals at all."""
    local = ghost.local
    holding = inputs.book.holdings[local.identifier]
    # A list older than our own change proves nothing about the position, so test that first.
    if holding.version > inputs.asked_version:
        outcome.holds.append(newer(local))
    elif (same := shown_as(holding, inputs)) is not None:
        _merge(local, same.identifier, inputs, outcome)
    elif inputs.is_settling(holding.touched_ns):
        sentence = f"Ticket {local.ticket} was opened here and the broker does not list it yet"
        outcome.holds.append(settling(local, sentence, holding.touched_ns, inputs))
    elif inputs.snapshot.evidence is None:
        _close_unproven(local, inputs, outcome)
    else:
        _close_proven(holding, inputs, outcome)


def _close_unproven(local: Position, inputs: SyncInputs, outcome: Outcome) -> None:
    if inputs.snapshot.faults:
        reason = f"Ticket {local.ticket} is not in a list that has unreadable rows"
        outcome.holds.append(
            Hold(local.symbol, reason, "a whole reading", local.identifier, HoldKind.PARTIAL)
        )
        return
    closed = events.PositionClosed(
        at_ns=inputs.now_ns, position=local, because=UNPROVEN, unproven=True
    )
    outcome.propose("ghost", local, inputs.policy.ghost, inputs, closed)


def _close_proven(holding: Holding, inputs: SyncInputs, outcome: Outcome) -> None:
    local = holding.position
    known = inputs.compare(local.identifier)
    if known is None:
        _missing(local, None, "its deals could not be read", inputs, outcome)
        return
    # On a netting account our fill may never have made this position.
    into = went_into(local, known.history, inputs)
    if into:
        _merge(local, into, inputs, outcome)
        return
    if not _has_ended(holding, known, inputs):
        _missing(local, known, _why_not(holding, known, inputs), inputs, outcome)
        return
    # A broker may show the exit of a rollover before its entry: then wait for the successor.
    missing_ns = inputs.book.missing.get(local.identifier)
    waited_ns = 0 if missing_ns is None else inputs.waited.waited_ns(missing_ns)
    successors = followed(local, known, 0, inputs, outcome, waited_ns)
    if successors is None:
        _missing(local, known, NOT_SHOWN_AGAIN, inputs, outcome)
        return
    closed = closing(local, known, successors, inputs)
    # A successor's deals count only if the deals of the old position were counted.
    was_counted = bool(holding.deals) or local.identifier in inputs.book.unexplained
    if outcome.propose("ghost", local, inputs.policy.ghost, inputs, closed):
        for identifier in closed.went_on_as:
            follow(identifier, inputs, outcome, was_counted=was_counted)


def _merge(local: Position, into: int, inputs: SyncInputs, outcome: Outcome) -> None:
    """Close a position that never existed, because our fill went into another position."""
    because = f"its fill went into position {into}, which the book did not know"
    merged = events.PositionClosed(
        at_ns=inputs.now_ns, position=local, because=because, went_on_as=(into,)
    )
    outcome.propose("ghost", local, inputs.policy.ghost, inputs, merged)


def _has_ended(holding: Holding, known: Comparison, inputs: SyncInputs) -> bool:
    """Return whether the deals prove that the position is closed.

    Either all deals add up to zero, together with the counted deals that the broker archived, or,
    if the history lost its beginning, the new deals close exactly the volume in the book.
    """
    local = holding.position
    # The broker may have cancelled a counted deal: then the new deals alone close another volume.
    if known.adds_up_to(0) or known.continues_to(local.identifier, 0):
        return True
    # A late entry deal looks like an archived entry deal; in doubt, wait.
    if not holding.deals and entry_may_be_late(local, holding.touched_ns, inputs):
        return False
    since_msc = 0 if holding.deals else local.time_update_msc
    # The last explained volume and the volume in the book differ by the awaited deals.
    begun_with = {to_units(local.net_volume), holding.explained_units or 0} - {0}
    return any(known.leads(units, 0, since_msc) for units in begun_with)


def _why_not(holding: Holding, known: Comparison, inputs: SyncInputs) -> str:
    """Say why the deals do not prove the close of a position."""
    history = known.history
    if known.lacking and history.deals:
        return "the broker does not show all of its deals that were recorded before"
    if not history.deals or history.net_units == to_units(holding.position.net_volume):
        return "deal not visible yet"
    if history.lost_its_beginning:
        if not holding.deals and entry_may_be_late(holding.position, holding.touched_ns, inputs):
            return "the deal that opened it is not visible yet"
        return "the broker shows the end of its deals only, and they do not close what is held"
    return f"its deals leave {format_lots(from_units(abs(history.net_units)))} lots open"


def _missing(
    local: Position, known: Comparison | None, because: str, inputs: SyncInputs, outcome: Outcome
) -> None:
    """Keep a position that left the list without a proof of its close, and ask again."""
    # The unreadable row may be this position: then it is not missing at all.
    fault = inputs.may_be_unread(local)
    if fault is not None:
        outcome.questions.append(local.identifier)
        outcome.holds.append(unread(local, fault))
        return
    wanted = step_id("missing", local)
    approver = inputs.released_by(wanted)
    # A person may close the position, because some brokers never show the proof.
    if approver:
        outcome.events.append(_released(local, because, approver, inputs))
        return
    outcome.questions.append(local.identifier)
    # The order itself may show that its fill went into another position.
    if inputs.book.nets and not (known and known.history.deals):
        outcome.order_questions.append(local.ticket)
    missing_ns = inputs.book.missing.get(local.identifier)
    if missing_ns is not None:
        # Count back from now, because the wall clock may have been set since then.
        since_ns = inputs.asked_ns - inputs.waited.age_of_ns(missing_ns)
    else:
        since_ns = inputs.now_ns
        outcome.events.append(
            events.PositionMissing(at_ns=inputs.now_ns, position=local, because=because)
        )
    # A recorded fill without any trace is a contradiction that a person must investigate (case L).
    kind = HoldKind.MISSING
    case = _without_a_trace(local.identifier, known, inputs)
    if case is not None and case.decision is Decision.HALT:
        kind, because = HoldKind.HALT, f"{because}; case {case.label}: {case.because}"
    outcome.holds.append(
        Hold(
            local.symbol,
            f"{format_lots(local.volume)} lots (ticket {local.ticket}) left the broker's list",
            f"{UNTIL_IT_SHOWS}, or a person who lets go of it: trueup approve {wanted}",
            local.identifier,
            kind,
            id=wanted,
            why=because,
            since_ns=since_ns,
        )
    )


def _released(
    local: Position, because: str, approver: str, inputs: SyncInputs
) -> events.PositionClosed:
    """Close a missing position because a person has verified that it does not exist."""
    return events.PositionClosed(
        at_ns=inputs.now_ns,
        position=local,
        because=f"assumed closed: {approver} let go of it while missing, {because}",
        unproven=True,
        by=approver,
    )


def _without_a_trace(identifier: int, known: Comparison | None, inputs: SyncInputs) -> Case | None:
    """Return the case of a recorded fill that neither the list nor any deal shows."""
    order = inputs.book.orders.get(inputs.book.holdings[identifier].order_ids[0])
    if known is None or known.history.deals or order is None or order.is_stand_in:
        return None
    waited_ns = inputs.waited.waited_ns(order.fill_ns or 0)
    settled = waited_ns >= inputs.policy.grace_period_ms * 1_000_000
    return decide(JournalSays.FILLED, BrokerShows.NO_TRACE, settled=settled)


def found_again(inputs: SyncInputs, outcome: Outcome) -> None:
    """Record that a missing position is in the list again."""
    outcome.events += [
        events.PositionFound(at_ns=inputs.now_ns, position=inputs.listed[identifier])
        for identifier in inputs.book.missing
        if identifier in inputs.listed
    ]
