"""Correct zombies and drifts, or hold them with a reason.

`core.sync.ghosts` handles ghosts, `core.sync.pending_orders` pending orders, and
`core.realised.recording` the deals of changed positions.
"""

from __future__ import annotations

import msgspec

from trueup.core.book import events
from trueup.core.book.diff import PROTECTION, Drift, Zombie
from trueup.core.book.fold import MADE_BY_DEALS
from trueup.core.book.holdings import Tombstone
from trueup.core.holds import Hold, HoldKind
from trueup.core.look.inputs import SyncInputs
from trueup.core.look.outcome import Outcome, late, newer, settling
from trueup.core.model import Position, describe, describe_at
from trueup.core.policy import Action, Adopt
from trueup.core.quantity import to_units
from trueup.core.realised.netting import changed_here, opened_by_us, shown_as
from trueup.core.realised.recording import explain_change


def for_zombie(zombie: Zombie, inputs: SyncInputs, outcome: Outcome, *, is_ours: bool) -> None:
    """Adopt a zombie, unless we closed it just before or it needs an approval."""
    remote = zombie.remote
    tombstone = inputs.book.closed.get(remote.identifier)
    if tombstone is not None and _is_held_as_closed(remote, tombstone, inputs, outcome):
        return
    if changed_here(remote.symbol, inputs):
        outcome.holds.append(newer(remote))
        return
    ours = opened_by_us(remote.symbol, inputs)
    if ours is not None and shown_as(ours, inputs) is None:
        # Its deals may prove that both are one position; the book must not have that twice.
        outcome.questions.append(remote.identifier)
        sentence = (
            f"Ticket {ours.position.ticket} was opened here and the broker lists ticket "
            f"{remote.ticket} in its symbol"
        )
        outcome.holds.append(settling(remote, sentence, ours.touched_ns, inputs))
        return
    # The position of a resolved order needs no approval: we opened it.
    policy = inputs.policy
    action = policy.zombie
    if policy.adopt is Adopt.ASK and not is_ours and not policy.owns(remote):
        action = Action.ASK if action is Action.APPLY else action
    adopted = events.PositionAdopted(at_ns=inputs.now_ns, position=remote)
    taken = outcome.propose("zombie", remote, action, inputs, adopted)
    # The deals of a position that is not ours count from the first new deal only.
    if taken and (is_ours or inputs.is_shared or _has_deals_to_count(remote, inputs)):
        explain_change(remote, inputs, outcome)


def _is_held_as_closed(
    remote: Position, tombstone: Tombstone, inputs: SyncInputs, outcome: Outcome
) -> bool:
    """Return whether a listed position is held because the list may be older than its close."""
    if tombstone.version > inputs.asked_version:
        outcome.holds.append(newer(remote))
        return True
    sentence = f"Ticket {remote.ticket} was closed here and the broker still lists it"
    if inputs.is_settling(tombstone.touched_ns):
        outcome.holds.append(settling(remote, sentence, tombstone.touched_ns, inputs))
        return True
    # After the settle window deals decide: they can prove that the list is still late.
    if _is_late(remote, 0.0, tombstone.touched_ns, inputs, outcome):
        outcome.holds.append(late(remote, sentence))
        return True
    return False


def _has_deals_to_count(remote: Position, inputs: SyncInputs) -> bool:
    """Return whether a position's deals count from its adoption on.

    That is so if an order of ours opened the position, or if some deals were counted before.
    """
    book = inputs.book
    tombstone = book.closed.get(remote.identifier)
    if remote.identifier in book.unexplained or (tombstone is not None and tombstone.deals):
        return True
    # The ticket may have changed; the identifier is the ticket of the opening order.
    return _may_be_our_order(remote.identifier, inputs) or (
        remote.ticket != remote.identifier and _may_be_our_order(remote.ticket, inputs)
    )


def _may_be_our_order(ticket: int, inputs: SyncInputs) -> bool:
    """Return whether an order of ours with this ticket may have opened a position."""
    book = inputs.book
    return (
        (ticket in book.orders_by_ticket and inputs.own_order(ticket) is not None)
        or ticket in book.pending
        or ticket in book.unbooked
    )


def for_drift(drift: Drift, inputs: SyncInputs, protection: Outcome, others: Outcome) -> None:
    """Correct a drift: the stops in a first event, all other fields in a second event."""
    local, remote = drift.local, drift.remote
    holding = inputs.book.holdings[local.identifier]
    # The list may be older than our own change, so do not undo that change by an old list. On a
    # netting account the book may have taken our fill into another position of the symbol.
    if holding.version > inputs.asked_version or changed_here(remote.symbol, inputs):
        others.holds.append(newer(local))
        return
    if inputs.is_settling(holding.touched_ns):
        sentence = (
            f"Ticket {local.ticket} was changed here and the broker shows {describe_at(remote)}"
        )
        others.holds.append(settling(local, sentence, holding.touched_ns, inputs))
        return
    # A wrong volume is expensive, so let the deals decide if our change is still recent.
    if (
        {"volume", "side"} & set(drift.fields)
        and inputs.is_recent(holding.touched_ns)
        and _is_late(local, local.net_volume, holding.touched_ns, inputs, others)
    ):
        sentence = (
            f"Ticket {local.ticket} was changed here and the broker shows {describe_at(remote)}"
        )
        others.holds.append(late(local, sentence))
        return
    # The policy has separate actions for stops and for the rest, so the events are separate too.
    stops = tuple(name for name in drift.fields if name in PROTECTION)
    rest = tuple(name for name in drift.fields if name not in PROTECTION)
    between = local
    if stops:
        between = msgspec.structs.replace(local, sl=remote.sl, tp=remote.tp)
        change = events.PositionCorrected(
            at_ns=inputs.now_ns, local=local, remote=between, fields=stops
        )
        if not protection.propose("protection", remote, inputs.policy.protection, inputs, change):
            between = local
    # The second event must not bring in stops that the policy held back.
    if rest:
        wanted = msgspec.structs.replace(remote, sl=between.sl, tp=between.tp)
        change = events.PositionCorrected(
            at_ns=inputs.now_ns, local=between, remote=wanted, fields=rest
        )
        taken = others.propose("drift", remote, inputs.policy.drift, inputs, change)
        if taken and MADE_BY_DEALS & set(rest):
            explain_change(remote, inputs, others)


def _is_late(
    row: Position, net_volume: float, touched_ns: int, inputs: SyncInputs, outcome: Outcome
) -> bool:
    """Return whether the list is late: the deals agree with the book, or lack our own last deal.

    The deals are independent evidence: a list that contradicts both book and deals is not trusted.
    """
    if inputs.snapshot.evidence is None:
        return False
    known = inputs.compare(row.identifier)
    # Without the deals wait for them, but not longer than any broker is late.
    if known is None:
        outcome.questions.append(row.identifier)
        return inputs.is_recent(touched_ns)
    # The deals that the broker has archived since belong to the sum, or the rest would add up to
    # the book by chance.
    if known.history.deals and known.all_units == to_units(net_volume):
        return True
    # If the deal of our own last order is missing, then list and deals are both late.
    ours = {
        order.ticket
        for order in inputs.book.orders.values()
        if order.fill_ns == touched_ns
        and (inputs.book.nets or row.identifier in {*order.named, order.ticket})
    }
    return inputs.is_recent(touched_ns) and not ours <= {deal.order for deal in known.history.deals}


def unprotected(inputs: SyncInputs, outcome: Outcome) -> None:
    """Show every position of ours without a stop loss, if the policy expects stops."""
    if not inputs.policy.expects_stop_loss:
        return
    for position in inputs.snapshot.positions:
        if position.sl == 0.0 and inputs.policy.owns(position):
            reason = f"Ticket {position.ticket}, {describe(position)}, has no stop loss"
            outcome.holds.append(
                Hold(
                    position.symbol,
                    reason,
                    "a stop loss at the broker",
                    position.identifier,
                    HoldKind.UNPROTECTED,
                )
            )
