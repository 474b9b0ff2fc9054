"""Count the deals of a position in its realised result as soon as the broker shows them.

After a change of volume the position waits for the deals of that change: the position is in the
book's `unexplained`, and every sync asks for its deals until they arrive and add up. If a price, a
ticket or the time of the last change moved, old deals prove nothing even if they add up to the
listed volume; then new deals are required. Recently counted deals are compared again from time to
time, because a broker may charge a commission late, amend a deal or cancel a deal.

`core.realised.placing` handles our orders whose position never appeared in a snapshot.
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
    """Record the awaited deals of a position, or ask for them again."""
    holding, listed = inputs.book.holdings.get(identifier), inputs.listed.get(identifier)
    if (holding is not None) != (listed is not None):
        return  # a ghost or a zombie: another rule decides
    # Closed on both sides: the deals must add up to zero, unless the fill went elsewhere.
    if holding is None or listed is None:
        recorded = (
            _recorded(position, 0, inputs, outcome)
            or _merged(position, inputs)
            or _without_deleted(position, inputs, outcome)
        )
    elif not same(holding.position.net_volume, listed.net_volume):
        return  # a drift: its correction counts the deals, or it is held
    else:
        update_msc = listed.time_update_msc
        now = msgspec.structs.replace(holding.position, time_update_msc=update_msc)
        recorded = _recorded(now, to_units(listed.net_volume), inputs, outcome)
    if recorded is not None:
        outcome.events.append(recorded)
        return
    outcome.questions.append(identifier)
    # On a netting account the order itself may name another position that took the fill.
    if holding is None and inputs.book.nets:
        outcome.order_questions.append(position.ticket)


def explain_change(remote: Position, inputs: SyncInputs, outcome: Outcome) -> None:
    """Count the deals of a changed position, or ask for the deals if they are not there yet."""
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
    """Count the deals of a position of which only the time of the last change differs.

    A person or an expert may have added lots and closed the same volume again. Some brokers change
    that time without a deal, so the wait for deals is limited to the longest known delay of a
    broker, and nothing is held.
    """
    holding = inputs.book.holdings[remote.identifier]
    # A change of our own after the question, or shortly before, may explain the new time.
    if holding.version > inputs.asked_version or inputs.is_settling(holding.touched_ns):
        return
    known = inputs.compare(remote.identifier)
    units = to_units(remote.net_volume)
    has_them = known is not None and known.has_news and _is_proven(known, remote, units, inputs)
    recorded = None
    if known is not None and (has_them or _has_waited(remote, inputs)):
        recorded = deals_recorded(remote, units, known, inputs, outcome)
    # The volume is right, so no hold is needed: it is enough to read the deals again.
    if recorded is None:
        outcome.rechecks.append(remote.identifier)
    else:
        outcome.events.append(recorded)


def recheck(position: Position, known: Comparison, inputs: SyncInputs, outcome: Outcome) -> None:
    """Compare the counted deals of a position with the deals that the broker shows now.

    `position` is the last state of the position in the book.
    """
    identifier = position.identifier
    holding, listed = inputs.book.holdings.get(identifier), inputs.listed.get(identifier)
    # With a difference in the position itself, the rule for that difference counts the deals.
    if (holding is not None) != (listed is not None) or not known.differs:
        return
    if holding and listed and not same(holding.position.net_volume, listed.net_volume):
        return
    units = to_units(listed.net_volume) if listed else 0
    # New or missing deals must explain the volume; amended deals alone need not add up. A charge on
    # a shown deal counts even if the broker has archived older deals.
    if not known.adds_up_to(units) and (known.news or (known.lacking and not known.is_charged)):
        return
    recorded = deals_recorded(listed or position, units, known, inputs, outcome)
    if recorded is None:
        outcome.rechecks.append(identifier)
    else:
        outcome.events.append(recorded)


def _merged(position: Position, inputs: SyncInputs) -> events.DealsRecorded | None:
    """Stop waiting for deals if our fill went into another position; return that as an event."""
    into = went_into(position, inputs.history(position.identifier), inputs)
    if not into:
        return None
    because = f"its fill went into position {into}, which the book did not know"
    return events.DealsRecorded(
        at_ns=inputs.now_ns, position=position, deals=(), realised_units=0, because=because
    )


def _without_deleted(
    position: Position, inputs: SyncInputs, outcome: Outcome
) -> events.DealsRecorded | None:
    """Count the deals of a closed position of which the server has deleted a counted deal.

    A deleted deal looks like an archived deal, and together with that deal the others may never add
    up. But book and list have no such position, and the deals that are left open and close one.
    """
    known = inputs.compare(position.identifier)
    if known is None or not known.lacking or not known.news:
        return None
    shown = known.history
    if shown.lost_its_beginning or shown.net_units:
        return None
    # The deal that is lacking in the sum may only be late.
    newest_msc = max(deal.time_msc for deal in shown.deals)
    if inputs.server_time_msc - newest_msc < LONGEST_MS:
        return None
    return deals_recorded(position, 0, known, inputs, outcome)


# States in which an order may have been executed, in part too: the rest is cancelled or active.
EXECUTED = frozenset({"filled", "partial", "canceled", "expired"})


def went_into(local: Position, history: History | None, inputs: SyncInputs) -> int:
    """Return the other position that our fill went into on a netting account, or 0.

    If the account already had a position in the symbol that we did not know, our order opened no
    new position. An order names its position as soon as it was executed (MT5 reference,
    ORDER_POSITION_ID).
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
    """Return the deals of a position as an event, or None while they do not explain its state."""
    known = inputs.compare(position.identifier)
    if known is None or not _is_proven(known, position, net_units, inputs):
        return None
    # Old deals can add up to the new volume by chance, so a recent change needs new deals.
    may_still_come = has_just_changed or _has_changed_lately(position, inputs)
    if may_still_come and not _has_fresh_deals(known, position):
        return None
    # The list names a later change than the newest deal: that deal may still arrive.
    if net_units and not _is_up_to_date(known, position) and not _has_waited(position, inputs):
        return None
    return deals_recorded(position, net_units, known, inputs, outcome)


def _has_changed_lately(position: Position, inputs: SyncInputs) -> bool:
    """Return whether the deals of a change in the list may still arrive."""
    changed_ns = inputs.book.changed_ns.get(position.identifier)
    return changed_ns is not None and inputs.waited.age_of_ns(changed_ns) < RECENT_NS


def _is_proven(known: Comparison, position: Position, net_units: int, inputs: SyncInputs) -> bool:
    """Return whether the deals prove the listed volume.

    Either all deals add up to the volume or, if the history lost its beginning, they do so together
    with the counted deals, or the newest deals lead from the last explained volume to that volume.
    """
    if known.adds_up_to(net_units) or known.continues_to(position.identifier, net_units):
        return True
    holding = inputs.book.holdings.get(position.identifier)
    kept = holding or inputs.book.closed.get(position.identifier)
    if kept is None or kept.explained_units is None:
        return False
    before = position if holding is None else holding.position
    # A late entry deal looks like an archived entry deal; in doubt, wait.
    if not kept.deals and entry_may_be_late(before, kept.touched_ns, inputs):
        return False
    since_msc = 0 if kept.deals else before.time_update_msc
    return known.leads(kept.explained_units, net_units, since_msc)


def entry_may_be_late(position: Position, touched_ns: int, inputs: SyncInputs) -> bool:
    """Return whether a position was opened so recently that its first deal may still arrive.

    The deals of a position can appear in any order. A history that begins with an exit has lost its
    entry only if the entry is older than the longest known delay of a broker.
    """
    if position.time_msc and inputs.server_time_msc:
        return inputs.server_time_msc - position.time_msc < LONGEST_MS
    return bool(touched_ns) and inputs.waited.age_of_ns(touched_ns) < LONGEST_MS * 1_000_000


def _has_fresh_deals(known: Comparison, position: Position) -> bool:
    """Return whether a deal can be the cause of the change, whether counted before or not."""
    deals = known.history.deals
    if position.time_update_msc and _is_up_to_date(known, position):
        return True
    if position.ticket != position.identifier and position.ticket in orders_of(deals):
        return True
    if any(same(deal.price, position.price_open) for deal in deals[1:]):
        return True
    # If no deal was counted yet, all deals are new, but the deal of the entry changed nothing.
    return known.has_news if known.known.tickets else len(deals) > 1


def _is_up_to_date(known: Comparison, position: Position) -> bool:
    """Return whether the newest deal is at least as new as the last change in the list."""
    newest = max((deal.time_msc for deal in known.history.deals), default=0)
    return newest >= position.time_update_msc


def _has_waited(position: Position, inputs: SyncInputs) -> bool:
    """Return whether the last change is older than the longest known delay of a broker."""
    evidence = inputs.snapshot.evidence
    now_msc = evidence.server_time_msc if evidence is not None else 0
    return now_msc - position.time_update_msc >= LONGEST_MS
