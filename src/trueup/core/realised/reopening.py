"""Follow a position that the broker closed and opened again: a rollover, split or contract roll.

Only the deals of the old position prove its end: they must add up to zero. The broker's history
shows the successor: an entry deal for the same kind of reason, at the same time, under another
identifier. The successor may have another volume (a split) or another symbol (the next contract),
and may have grown or closed since. If several positions match, all of them are followed.
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
# These change the volume of a position, so an equal volume is no evidence for a successor.
RESIZES = frozenset({DealReason.SPLIT, DealReason.CORPORATE_ACTION})
# A rollover closes and opens at the same time; a roll into the next contract takes longer.
APART_MSC = 60_000
# Without deals, only a position opened in the same second counts as a successor.
SAME_SECOND_MSC = 1_000
# How long to wait for the entry by our clock, if no price shows the trade server's time.
PATIENCE_NS = 60 * 1_000_000_000


class Successor(msgspec.Struct, frozen=True):
    """The position as which another position continues; `is_ours` if the book has to have it."""

    identifier: int
    symbol: str
    is_ours: bool


def moved_on(deals: Sequence[Deal], begun_with: int = 0) -> tuple[Deal, ...]:
    """Return the deals by which the broker closed a position to open another position instead.

    A position that the broker opened again under the same identifier does not count. `begun_with`
    is the volume open before the first deal (units of 1e-8 lots), if the history lost its
    beginning.
    """
    moving = [deal for deal in deals if deal.units]
    found, net = [], begun_with
    # Look at each deal with the next: an entry right after the exit continues the same position.
    for deal, after in itertools.zip_longest(moving, moving[1:]):
        net += deal.units
        is_out = deal.reason in REOPENS and deal.entry is not Entry.IN and not net
        goes_on = after is not None and after.reason in REOPENS and after.entry is Entry.IN
        if is_out and not goes_on:
            found.append(deal)
    return tuple(found)


def successors(local: Position, out: Deal, inputs: SyncInputs) -> tuple[Successor, ...]:
    """Return the successors of the position that `out` closed: all that match, or none."""
    deals = inputs.late_deals
    # Without the deals of the account, the list of open positions is the only evidence.
    if deals is None:
        return _listed_successors(local, out, inputs)
    found = reopened_by(out, local.identifier, deals)
    # Each test narrows the candidates down, but a test that none of them passes is skipped.
    for is_likelier in _likelier(out):
        found = [deal for deal in found if is_likelier(deal)] or found
    ours = (
        Successor(deal.position, deal.symbol, _is_ours(opened_by(deal), local, out, inputs))
        # Sort by ticket, so that the order of the broker's rows does not matter.
        for deal in sorted(found, key=lambda deal: deal.ticket)
    )
    return tuple({successor.identifier: successor for successor in ours}.values())


def reopened_by(out: Deal, identifier: int, deals: Sequence[Deal]) -> list[Deal]:
    """Return the deals that may have opened again the position that `out` closed."""
    return [
        deal
        for deal in {deal.ticket: deal for deal in deals}.values()
        if deal.entry is Entry.IN
        and deal.units
        and deal.reason in REOPENS
        and deal.position not in (0, identifier)
        and deal.ticket > out.ticket
        and -SAME_SECOND_MSC <= deal.time_msc - out.time_msc <= APART_MSC
    ]


def followed(
    local: Position,
    known: Comparison,
    net_units: int,
    inputs: SyncInputs,
    outcome: Outcome,
    waited_ns: int = 0,
) -> tuple[Successor, ...] | None:
    """Return the successors of a position by its new deals, or None while one may still appear.

    `net_units` is the volume that its deals leave open (1e-8 lots). `waited_ns` is how long the
    position has been missing by our clock, 0 if not known.
    """
    news = {deal.ticket for deal in known.news}
    found: list[Successor] = []
    for out in moved_on(known.history.deals, known.begun_with(net_units)):
        if out.ticket not in news:
            continue  # its successors were followed when this deal was counted
        # Deals under other identifiers are in no answer unless the history was asked for.
        if inputs.late_deals is None:
            outcome.want_history(out.time_msc - APART_MSC)
            if not inputs.has_asked_history:
                return None
        again = successors(local, out, inputs)
        # Terminals may show exit and entry at different times; to go on now would lose the entry.
        if not again and (
            may_still_show(out, inputs.server_time_msc, waited_ns)
            or (_is_incomplete(out, inputs) and waited_ns < PATIENCE_NS)
        ):
            return None
        found += again
    return tuple(dict.fromkeys(found))


def _is_incomplete(out: Deal, inputs: SyncInputs) -> bool:
    """Return whether the account's history lacks a deal that is within its time.

    A terminal that came back a moment ago shows a part of the history: what is not in it proves
    nothing.
    """
    evidence = inputs.snapshot.evidence
    if evidence is None or evidence.history is None:
        return False
    history = evidence.history
    begin_msc = inputs.server_time_msc - history.age_sec * 1000
    return out.time_msc > begin_msc and all(out.ticket != deal.ticket for deal in history.deals)


def _likelier(out: Deal) -> tuple[Callable[[Deal], bool], ...]:
    """Return the tests that tell successors apart, the most reliable test first."""
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
        Successor(row.identifier, row.symbol, _is_ours(row, local, out, inputs))
        for row in sorted(inputs.snapshot.positions, key=lambda row: row.identifier)
        if row.identifier != local.identifier
        and (row.symbol, row.side) == (local.symbol, local.side)
        and same(row.volume, out.volume)
        and abs(row.time_msc - out.time_msc) <= SAME_SECOND_MSC
    )


def _is_ours(again: Position, local: Position, out: Deal, inputs: SyncInputs) -> bool:
    """Return whether a successor is ours, because of the policy or because it was ours before.

    A broker may have renamed the symbol of a position of ours to a name that no policy has.
    """
    is_alike = again.symbol in (local.symbol, out.symbol) and again.magic == local.magic
    return is_alike or not inputs.policy.is_foreign(again)


def opened_by(deal: Deal) -> Position:
    """Return the position that a deal opened, as at the time of the deal."""
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
    """Return whether a terminal may have received the exit and not yet the entry of a re-opening.

    Args:
        out: the deal that closed the position.
        server_time_msc: the trade server's time by the latest price; 0 without a price.
        waited_ns: how long the position has been missing by our clock.
    """
    return server_time_msc - out.time_msc < LONGEST_MS and waited_ns < PATIENCE_NS


def went_on_sentence(found: Sequence[Successor]) -> str:
    """Name the successors of a position in a sentence."""
    if not found:
        return "; what it goes on as is not shown"
    names = ", ".join(str(successor.identifier) for successor in found)
    if len(found) > 1:
        return f"; it goes on as one of {names}"
    (successor,) = found
    symbol = successor.symbol
    scope = "" if successor.is_ours else f" in {symbol}, which is outside this book's scope"
    return f"; the broker opened it again as {names}{scope}"
