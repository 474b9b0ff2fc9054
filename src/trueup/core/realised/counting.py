"""Make the event that counts the deals of a position; its sentence names the new deals only.

Every rule that counts deals makes its event here, so that the realised result is always computed in
the same way: over all deals that the broker shows and all deals counted before, each deal once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from trueup.core.book import events
from trueup.core.book.events import AT_ONCE, OrderKind
from trueup.core.deals import Comparison, History
from trueup.core.explain import (
    Exit,
    canceled_sentence,
    cash_sentence,
    change_sentence,
    entry_sentence,
    exit_of,
    exit_sentence,
)
from trueup.core.look.inputs import SyncInputs
from trueup.core.look.outcome import Outcome
from trueup.core.model import Deal, DealKind, Entry, Position, describe_at
from trueup.core.quantity import format_money, from_units
from trueup.core.realised.reopening import REOPENS, Successor, followed, went_on_sentence
from trueup.core.recovery import BrokerShows, JournalSays, decide
from trueup.core.tokens import strategy_half


def deals_recorded(
    position: Position, net_units: int, known: Comparison, inputs: SyncInputs, outcome: Outcome
) -> events.DealsRecorded | None:
    """Return the event that counts the deals of a position; its sentence names the new deals.

    Return None while the deals show that the position continues as another position that the
    snapshot does not show yet but may still show.
    """
    successors = followed(position, known, net_units, inputs, outcome)
    if successors is None:
        return None
    # Shares split an open netting position between strategies; a closed one has no lots to split.
    is_split = inputs.is_shared and bool(net_units)
    return events.DealsRecorded(
        at_ns=inputs.now_ns,
        position=position,
        deals=known.tickets,
        realised_units=known.realised_units,
        because=_because(known, position, net_units, inputs) + _went_on(successors),
        shares=_shares(known, position.identifier, inputs) if is_split else (),
        ours=not known.changed and _are_ours(known.news, inputs),
        booked=known.booked,
        changed=tuple(change.now.ticket for change in known.changed),
        went_on_as=tuple(s.identifier for s in successors if s.is_ours),
    )


def _went_on(successors: tuple[Successor, ...]) -> str:
    return went_on_sentence(successors) if successors else ""


def _are_ours(news: Sequence[Deal], inputs: SyncInputs) -> bool:
    """Return whether replies to our orders reported these deals already (of the exits, if any)."""
    named = [deal for deal in news if deal.entry is not Entry.IN] or news
    return bool(named) and all(_was_answered(ticket, inputs) for ticket in orders_of(named))


def _was_answered(ticket: int, inputs: SyncInputs) -> bool:
    """Return whether a reply reported the fill of our order, which so was never in doubt."""
    order = inputs.own_order(ticket)
    return order is not None and order.kind in AT_ONCE and not order.doubt_ns


def _because(known: Comparison, position: Position, net_units: int, inputs: SyncInputs) -> str:
    """Say how new deals changed a position, and how the broker changed old deals."""
    digits = inputs.money_digits
    sentences = list(_of_news(known, position, net_units, inputs))
    sentences += [change_sentence(change, digits=digits) for change in known.changed]
    if not sentences and known.differs:
        both = (known.realised_units, known.known.realised_units)
        now, before = (format_money(from_units(units), digits) for units in both)
        sentences = [f"its deals come to {now} at the broker, and {before} were counted"]
    return "; ".join(sentences) or "its deals were recorded before"


def _of_news(
    known: Comparison, position: Position, net_units: int, inputs: SyncInputs
) -> Iterable[str]:
    # Cancelled deals moved no lots in the end, so they get a sentence of their own below.
    news = [deal for deal in known.news if deal.kind is not DealKind.CANCELED]
    ended = exit_of(news, known.history.deals, known.begun_with(net_units))
    if ended is not None:
        yield _of_exit(ended, news, position, net_units, inputs)
    elif any(deal.units for deal in news):
        verb = "opened" if position.ticket in orders_of(news) else "added"
        is_ours = any(map(inputs.own_order, orders_of(news)))
        sentence = entry_sentence(news, verb, digits=inputs.money_digits)
        yield sentence + (label(BrokerShows.OPEN) if is_ours else "")
    elif news:
        yield cash_sentence(news, digits=inputs.money_digits)
    yield from (canceled_sentence(d) for d in known.news if d.kind is DealKind.CANCELED)


def _of_exit(
    ended: Exit, news: Sequence[Deal], position: Position, net_units: int, inputs: SyncInputs
) -> str:
    last = next(deal for deal in reversed(news) if deal.units)
    closing = next(d for d in reversed(news) if d.units and d.entry is not Entry.IN)
    digits = inputs.money_digits
    # The position left the list: the case of the recovery table helps to find our order's end.
    if not net_units:
        sentence = exit_sentence(ended, digits=digits)
        return (
            sentence + label(BrokerShows.CLOSED) if inputs.own_order(position.ticket) else sentence
        )
    if closing.entry is Entry.IN_OUT:
        return f"{exit_sentence(ended, digits=digits)}; it goes on as {describe_at(position)}"
    # A rollover or split under the same identifier is no exit by the strategy, so name both halves.
    if closing.reason in REOPENS and last.entry is Entry.IN:
        sentence = exit_sentence(ended, "closed and opened again", digits=digits)
        return f"{sentence}, as {describe_at(position)}"
    return exit_sentence(ended, "closed in part", digits=digits)


def label(shows: BrokerShows) -> str:
    """Return the case of the recovery table for a filled order of ours, in brackets."""
    return f" (case {decide(JournalSays.FILLED, shows, settled=True).label})"


def orders_of(deals: Iterable[Deal]) -> dict[int, None]:
    """Return the tickets of the orders that made the deals."""
    return dict.fromkeys(deal.order for deal in deals)


def _shares(known: Comparison, identifier: int, inputs: SyncInputs) -> tuple[events.Share, ...]:
    """Return the shares of the orders that made new deals, and those that the book has lost."""
    found = (_share(ticket, known.history, inputs) for ticket in orders_of(known.news))
    shares = tuple(share for share in found if share is not None)
    return shares + _lost_shares(known, identifier, frozenset(s.order for s in shares), inputs)


def _share(ticket: int, history: History, inputs: SyncInputs) -> events.Share | None:
    order = inputs.own_order(ticket)
    if order is None:
        return _share_of_another(ticket, history, inputs)
    if order.kind is OrderKind.MARKET:
        return None  # the fill of the order gave its share already
    deals = [deal for deal in history.deals if deal.order == ticket]
    return events.Share(ticket, strategy_half(deals[0].magic), sum(deal.units for deal in deals))


def _share_of_another(ticket: int, history: History, inputs: SyncInputs) -> events.Share | None:
    """Return the share of an order that the book does not know, by the magic number of its deals.

    None for orders made by hand, or by an expert that is not ours.
    """
    deals = [deal for deal in history.deals if deal.order == ticket]
    magic, magics = strategy_half(deals[0].magic) if deals else 0, inputs.policy.magics
    if not magic or (magics and magic not in magics):
        return None
    return events.Share(ticket, magic, sum(deal.units for deal in deals))


def _lost_shares(
    known: Comparison, identifier: int, named: frozenset[int], inputs: SyncInputs
) -> tuple[events.Share, ...]:
    """Return the shares of counted orders, other than those `named`, without a claim in the book.

    The book drops all claims of a symbol when our fill closes all lots that the book has. Other
    lots may still be open: filled by a pending order that no reading showed yet. Then the position
    returns to the book, and the claims have to return with the position.
    """
    units: Counter[int] = Counter()
    for deal in known.booked:
        if deal.order and deal.order not in named:
            units[deal.order] += deal.lots
    lost: list[events.Share] = []
    for ticket, lots in units.items():
        order = inputs.own_order(ticket)
        claim = inputs.book.claims.get(str(ticket) if order is None else order.order_id)
        # A change of the margin mode makes a single claim of all lots of a position: with other
        # claims beside that claim, these lots would count twice.
        if claim is not None and claim.units != lots:
            return ()
        if claim is not None or not lots:
            continue
        if order is not None:
            lost.append(events.Share(ticket, order.magic, lots))
        # The memory of finished orders is bounded. In a position that the book has, the claim of a
        # forgotten order stays under the id of the order, so its ticket must not claim again.
        elif identifier not in inputs.book.holdings:
            share = _share_of_another(ticket, known.history, inputs)
            lost += [share] if share is not None else []
    return tuple(lost)
