"""Deals that are taken into the realised result of a position, as soon as they are there.

A volume that changed waits for the deals that changed it: in the book's `unexplained`, and in the
questions of every look until they are seen and add up. Old deals that add up to the volume that is
listed prove nothing where a price, a ticket or the time of the last change moved: that takes new
ones. What was counted lately is compared again now and then, because a broker may charge a
commission late, amend a deal or cancel it.

The orders of ours whose position no look ever showed are `core.realised.placing`.
"""

from __future__ import annotations

import msgspec

from trueup.core.book import events
from trueup.core.book.realised import RECENT_NS
from trueup.core.deals import Comparison, History
from trueup.core.look.inputs import SyncInputs
from trueup.core.look.outcome import Outcome
from trueup.core.look.settle_window import LONGEST_MS
from trueup.core.model import Position
from trueup.core.quantity import same, to_units
from trueup.core.realised.counting import deals_recorded, orders_of


def explanation(identifier: int, position: Position, inputs: SyncInputs, outcome: Outcome) -> None:
    """Record the deals of one position that were still to come, or ask for them again."""
    holding, listed = inputs.book.holdings.get(identifier), inputs.listed.get(identifier)
    if (holding is not None) != (listed is not None):
        return  # a ghost or a zombie: settled by its own rule
    if holding is None or listed is None:
        recorded = _recorded(position, 0, inputs, outcome) or _merged(position, inputs)
    elif not same(holding.position.net_volume, listed.net_volume):
        return  # a drift: it has its deals with it, or is held
    else:
        update_msc = listed.time_update_msc
        now = msgspec.structs.replace(holding.position, time_update_msc=update_msc)
        recorded = _recorded(now, to_units(listed.net_volume), inputs, outcome)
    if recorded is not None:
        outcome.events.append(recorded)
        return
    outcome.questions.append(identifier)
    if holding is None and inputs.book.nets:
        outcome.order_questions.append(position.ticket)


def explain_change(remote: Position, inputs: SyncInputs, outcome: Outcome) -> None:
    """Take the deals of a changed position into the realised result, where they are there."""
    if inputs.snapshot.evidence is None:
        return
    is_known = remote.identifier in inputs.book.holdings
    units = to_units(remote.net_volume)
    recorded = _recorded(remote, units, inputs, outcome, has_just_changed=is_known)
    if recorded is None:
        outcome.questions.append(remote.identifier)
    else:
        outcome.events.append(recorded)


def updated(remote: Position, inputs: SyncInputs, outcome: Outcome) -> None:
    """Look for the deals of a position that differs in nothing but the time of its last change.

    Somebody may have added to it and closed as much again. Some brokers change that time without a
    deal, so it is waited for no longer than any broker is late, and nothing is held.
    """
    holding = inputs.book.holdings[remote.identifier]
    if holding.version > inputs.asked_version or inputs.is_settling(holding.touched_ns):
        return
    known = inputs.compare(remote.identifier)
    units = to_units(remote.net_volume)
    has_them = known is not None and known.has_news and _is_proven(known, remote, units, inputs)
    recorded = None
    if known is not None and (has_them or _has_waited(remote, inputs)):
        recorded = deals_recorded(remote, units, known, inputs, outcome)
    if recorded is None:
        outcome.rechecks.append(remote.identifier)
    else:
        outcome.events.append(recorded)


def recheck(position: Position, known: Comparison, inputs: SyncInputs, outcome: Outcome) -> None:
    """Compare what was counted of a position with what the broker shows of it now.

    `position` is the position as the book had it last.
    """
    identifier = position.identifier
    holding, listed = inputs.book.holdings.get(identifier), inputs.listed.get(identifier)
    if (holding is not None) != (listed is not None) or not known.differs:
        return
    if holding and listed and not same(holding.position.net_volume, listed.net_volume):
        return
    units = to_units(listed.net_volume) if listed else 0
    # With new deals its volume has changed, and they have to explain that.
    if not known.adds_up_to(units) and (known.news or known.lacking):
        return
    recorded = deals_recorded(listed or position, units, known, inputs, outcome)
    if recorded is None:
        outcome.rechecks.append(identifier)
    else:
        outcome.events.append(recorded)


def _merged(position: Position, inputs: SyncInputs) -> events.DealsRecorded | None:
    """Stop waiting for the deals of a position that its broker never made."""
    into = went_into(position, inputs.history(position.identifier), inputs)
    if not into:
        return None
    because = f"its fill went into position {into}, which the book did not know"
    return events.DealsRecorded(
        at_ns=inputs.now_ns, position=position, deals=(), realised_units=0, because=because
    )


# In part too: what is left of an order is canceled, or works on.
EXECUTED = frozenset({"filled", "partial", "canceled", "expired"})


def went_into(local: Position, history: History | None, inputs: SyncInputs) -> int:
    """Return the position that our fill went into on a netting account, 0 where it made its own.

    Where somebody held the symbol and we did not know it yet, our order made no position. An order
    has a position as soon as it was executed (MT5 reference, ORDER_POSITION_ID).
    """
    if history is None or history.deals or not inputs.book.nets:
        return 0
    past = inputs.past_order(local.ticket)
    if past is None or past.state not in EXECUTED:
        return 0
    return 0 if past.position == local.identifier else past.position


def _recorded(
    position: Position,
    net_units: int,
    inputs: SyncInputs,
    outcome: Outcome,
    *,
    has_just_changed: bool = False,
) -> events.DealsRecorded | None:
    """Return the deals of a position as an event, or None while they do not explain it."""
    known = inputs.compare(position.identifier)
    if known is None or not _is_proven(known, position, net_units, inputs):
        return None
    may_still_come = has_just_changed or _has_changed_lately(position, inputs)
    if may_still_come and not _has_fresh_deals(known, position):
        return None
    if net_units and not _is_up_to_date(known, position) and not _has_waited(position, inputs):
        return None
    return deals_recorded(position, net_units, known, inputs, outcome)


def _has_changed_lately(position: Position, inputs: SyncInputs) -> bool:
    """Return whether deals of a change that the list showed may still come."""
    changed_ns = inputs.book.changed_ns.get(position.identifier)
    return changed_ns is not None and inputs.waited.age_of_ns(changed_ns) < RECENT_NS


def _is_proven(known: Comparison, position: Position, net_units: int, inputs: SyncInputs) -> bool:
    """Return whether deals leave what is listed: all of them, or where they begin too late, the
    newest from what was explained before."""
    if known.adds_up_to(net_units):
        return True
    holding = inputs.book.holdings.get(position.identifier)
    kept = holding or inputs.book.closed.get(position.identifier)
    if kept is None or kept.explained_units is None:
        return False
    before = position if holding is None else holding.position
    if not kept.deals and entry_may_be_late(before, kept.touched_ns, inputs):
        return False
    since_msc = 0 if kept.deals else before.time_update_msc
    return known.leads(kept.explained_units, net_units, since_msc)


def entry_may_be_late(position: Position, touched_ns: int, inputs: SyncInputs) -> bool:
    """Return whether a position was opened so lately that its first deal may still come.

    Deals of one position can show in any order. A history that begins with an exit has lost the
    entry only where that is older than any broker is late.
    """
    if position.time_msc and inputs.server_time_msc:
        return inputs.server_time_msc - position.time_msc < LONGEST_MS
    return bool(touched_ns) and inputs.waited.age_of_ns(touched_ns) < LONGEST_MS * 1_000_000


def _has_fresh_deals(known: Comparison, position: Position) -> bool:
    """Return whether there is a deal that a change can have come from, counted before or not."""
    deals = known.history.deals
    if position.time_update_msc and _is_up_to_date(known, position):
        return True
    if position.ticket != position.identifier and position.ticket in orders_of(deals):
        return True
    if any(same(deal.price, position.price_open) for deal in deals[1:]):
        return True
    # Where nothing was counted yet all are new; but the one that opened it changed nothing.
    return known.has_news if known.known.tickets else len(deals) > 1


def _is_up_to_date(known: Comparison, position: Position) -> bool:
    """Return whether the newest deal is as young as the last change that the list tells of."""
    newest = max((deal.time_msc for deal in known.history.deals), default=0)
    return newest >= position.time_update_msc


def _has_waited(position: Position, inputs: SyncInputs) -> bool:
    """Return whether the last change of a position is longer ago than any broker is late."""
    evidence = inputs.snapshot.evidence
    now_msc = evidence.server_time_msc if evidence is not None else 0
    return now_msc - position.time_update_msc >= LONGEST_MS
