"""A position that the broker closed only to open it again: a rollover, a split, a contract roll.

That the old position is over is proven by its deals, which add up to zero, and by nothing else. As
what it went on, the broker's history says: deals that open, for the same kind of reason and at the
same time, under another identifier. It may have another volume (a split), another symbol (the next
contract), it may have grown since or be closed. Where several fit, all of them are followed.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import msgspec

from trueup.core.deals import Comparison
from trueup.core.look.inputs import SyncInputs
from trueup.core.look.outcome import Outcome
from trueup.core.look.settle_window import LONGEST_MS
from trueup.core.model import Deal, DealReason, Entry, Position
from trueup.core.quantity import same

REOPENS = frozenset(
    {
        DealReason.ROLLOVER,
        DealReason.SPLIT,
        DealReason.VARIATION_MARGIN,
        DealReason.CORPORATE_ACTION,
    }
)
# These change a position's volume, so that an equal one is no sign: it may be another's.
RESIZES = frozenset({DealReason.SPLIT, DealReason.CORPORATE_ACTION})
# The two halves of a re-opening are made together; a roll into the next contract takes longer.
APART_MSC = 60_000
# Without the deals only a position opened in the same second is taken for it.
SAME_SECOND_MSC = 1_000
# How long the other half is waited for by our clock, where no price tells the trade server's.
PATIENCE_NS = 60 * 1_000_000_000


class Successor(msgspec.Struct, frozen=True):
    """As what a position goes on; `is_ours` says whether it is within the policy's scope."""

    identifier: int
    symbol: str
    is_ours: bool


def moved_on(deals: Sequence[Deal], begun_with: int = 0) -> tuple[Deal, ...]:
    """Return the deals by which the broker closed a position to open it again as another one.

    What it opened again under the same identifier goes on as itself. `begun_with` is what was open
    before the first of the deals (units of 1e-8 lots), where they are the end of a history only.
    """
    moving = [deal for deal in deals if deal.units]
    found, net = [], begun_with
    for deal, after in itertools.zip_longest(moving, moving[1:]):
        net += deal.units
        is_out = deal.reason in REOPENS and deal.entry is not Entry.IN and not net
        goes_on = after is not None and after.reason in REOPENS and after.entry is Entry.IN
        if is_out and not goes_on:
            found.append(deal)
    return tuple(found)


def successors(local: Position, out: Deal, inputs: SyncInputs) -> tuple[Successor, ...]:
    """Return as what a position goes on that `out` closed: one, several that fit, or none."""
    deals = inputs.late_deals
    if deals is None:
        return _listed_successors(local, out, inputs)
    found = [
        deal
        for deal in {deal.ticket: deal for deal in deals}.values()
        if deal.entry is Entry.IN
        and deal.units
        and deal.reason in REOPENS
        and deal.position not in (0, local.identifier)
        and deal.ticket > out.ticket
        and -SAME_SECOND_MSC <= deal.time_msc - out.time_msc <= APART_MSC
    ]
    for is_likelier in _likelier(out):
        found = [deal for deal in found if is_likelier(deal)] or found
    ours = (
        Successor(deal.position, deal.symbol, not inputs.policy.is_foreign(opened_by(deal)))
        # As they were made, in whatever order they are told.
        for deal in sorted(found, key=lambda deal: deal.ticket)
    )
    return tuple({one.identifier: one for one in ours}.values())


def followed(
    local: Position,
    known: Comparison,
    net_units: int,
    inputs: SyncInputs,
    outcome: Outcome,
    waited_ns: int = 0,
) -> tuple[Successor, ...] | None:
    """Return as what a position goes on by its new deals, None while that may still show.

    `net_units` is what its deals leave open (1e-8 lots). `waited_ns` is how long it has been
    missing by our clock, 0 where that says nothing.
    """
    news = {deal.ticket for deal in known.news}
    found: list[Successor] = []
    for out in moved_on(known.history.deals, known.begun_with(net_units)):
        if out.ticket not in news:
            continue  # it was followed when it was counted
        if inputs.late_deals is None:
            outcome.want_history(out.time_msc - APART_MSC)
            if not inputs.has_asked_history:
                return None
        again = successors(local, out, inputs)
        if not again and may_still_show(out, inputs.server_time_msc, waited_ns):
            return None
        found += again
    return tuple(dict.fromkeys(found))


def _likelier(out: Deal) -> tuple[Callable[[Deal], bool], ...]:
    """Return what tells one re-opening from another, the surest first."""
    return (
        lambda deal: deal.time_msc == out.time_msc,
        lambda deal: abs(deal.time_msc - out.time_msc) <= SAME_SECOND_MSC,
        lambda deal: deal.reason is out.reason,
        lambda deal: deal.side is not out.side,
        lambda deal: deal.magic == out.magic,
        lambda deal: deal.symbol == out.symbol,
        lambda deal: out.reason in RESIZES or same(deal.volume, out.volume),
    )


def _listed_successors(local: Position, out: Deal, inputs: SyncInputs) -> tuple[Successor, ...]:
    return tuple(
        Successor(one.identifier, one.symbol, not inputs.policy.is_foreign(one))
        for one in sorted(inputs.snapshot.positions, key=lambda one: one.identifier)
        if one.identifier != local.identifier
        and (one.symbol, one.side) == (local.symbol, local.side)
        and same(one.volume, out.volume)
        and abs(one.time_msc - out.time_msc) <= SAME_SECOND_MSC
    )


def opened_by(deal: Deal) -> Position:
    """Return the position that a deal opened, as it was then."""
    return Position(
        ticket=deal.order or deal.position,
        identifier=deal.position,
        symbol=deal.symbol,
        side=deal.side,
        volume=deal.volume,
        price_open=deal.price,
        magic=deal.magic,
        comment=deal.comment,
        time=deal.time_msc // 1000,
        time_msc=deal.time_msc,
    )


def may_still_show(out: Deal, server_time_msc: int, waited_ns: int) -> bool:
    """Return whether a terminal may have seen one half of a re-opening and not the other yet.

    Args:
        out: the deal that closed the position.
        server_time_msc: the trade server's time, as the latest price tells it; 0 where none does.
        waited_ns: how long the position has been missing by our clock.
    """
    return server_time_msc - out.time_msc < LONGEST_MS and waited_ns < PATIENCE_NS


def went_on_sentence(found: Sequence[Successor]) -> str:
    """Say as what a position goes on."""
    if not found:
        return "; what it goes on as is not shown"
    names = ", ".join(str(one.identifier) for one in found)
    if len(found) > 1:
        return f"; it goes on as one of {names}"
    (one,) = found
    scope = "" if one.is_ours else f" in {one.symbol}, which is outside this book's scope"
    return f"; the broker opened it again as {names}{scope}"
