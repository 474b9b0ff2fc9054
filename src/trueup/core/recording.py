"""Deals that are taken into the realised result of a position, as soon as they are there.

A volume that changed waits for the deals that changed it: in the book's `unexplained`, and in the
questions of every look until they are seen and add up.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from trueup.core import events
from trueup.core.events import OrderKind
from trueup.core.explain import History, entry_sentence, exit_of, exit_sentence
from trueup.core.look import Look, Outcome
from trueup.core.model import Deal, Entry, Position
from trueup.core.quantity import same, to_units
from trueup.core.recovery import BrokerShows, JournalSays, decide
from trueup.core.tokens import strategy_half


def explanations(look: Look, outcome: Outcome) -> None:
    """Record the deals that were still to come, and ask for those that still are."""
    if look.snapshot.evidence is None or not look.book.unexplained:
        return
    listed = {position.identifier: position for position in look.snapshot.positions}
    told = {e.position.identifier for e in outcome.events if isinstance(e, events.DealsRecorded)}
    for identifier, position in look.book.unexplained.items():
        holding = look.book.holdings.get(identifier)
        if identifier in told or (holding is not None) != (identifier in listed):
            continue  # a ghost or a zombie: settled by its own rule
        net_volume = holding.position.net_volume if holding is not None else 0.0
        if holding is not None and not same(net_volume, listed[identifier].net_volume):
            continue  # a drift: it has its deals with it, or is held
        known = holding.deals if holding is not None else ()
        recorded = _recorded(position, net_volume, known, look) or _merged(position, look)
        if recorded is not None:
            outcome.events.append(recorded)
            continue
        outcome.questions.append(identifier)
        if holding is None and look.book.nets:
            outcome.order_questions.append(position.ticket)


def explain_change(remote: Position, known: tuple[int, ...], look: Look, outcome: Outcome) -> None:
    """Take the deals of a changed volume into the realised result, where they are there."""
    if look.snapshot.evidence is None:
        return
    recorded = _recorded(remote, remote.net_volume, known, look)
    if recorded is None:
        outcome.questions.append(remote.identifier)
    else:
        outcome.events.append(recorded)


def _merged(position: Position, look: Look) -> events.DealsRecorded | None:
    """Stop waiting for the deals of a position that its broker never made."""
    into = went_into(position, look.history(position.identifier), look)
    if not into:
        return None
    because = f"its fill went into position {into}, which the book did not know"
    return events.DealsRecorded(
        at_ns=look.now_ns, position=position, deals=(), realised_units=0, because=because
    )


# In part too: what is left of an order is canceled, or works on.
_EXECUTED = frozenset({"filled", "partial", "canceled"})


def went_into(local: Position, history: History | None, look: Look) -> int:
    """Return the position that our fill went into on a netting account, 0 where it made its own.

    Where somebody held the symbol and we did not know it yet, our order made no position. An order
    has a position as soon as it was executed (MT5 reference, ORDER_POSITION_ID).
    """
    evidence = look.snapshot.evidence
    if evidence is None or history is None or history.deals or not look.book.nets:
        return 0
    orders = (o for o in evidence.past_orders if o.ticket == local.ticket and o.state in _EXECUTED)
    into = next((order.position for order in orders), 0)
    return 0 if into == local.identifier else into


def _recorded(
    position: Position, net_volume: float, known: tuple[int, ...], look: Look
) -> events.DealsRecorded | None:
    """Return the deals of a position as an event, or None while they do not add up."""
    history = look.history(position.identifier)
    if history is None or history.lacks(known):
        return None
    if not history.closes_to(net_volume):
        return None
    news = [deal for deal in history.deals if deal.ticket not in known]
    return events.DealsRecorded(
        at_ns=look.now_ns,
        position=position,
        deals=tuple(deal.ticket for deal in history.deals),
        realised_units=history.realised_units,
        because=_because(news, position, is_open=net_volume != 0.0, look=look),
        shares=_shares(history, news, look) if look.is_shared and net_volume else (),
        ours=_are_ours(news, look),
    )


def _are_ours(news: Sequence[Deal], look: Look) -> bool:
    """Return whether answers told us of all that is told of these deals: the exits, if any."""
    told = [deal for deal in news if deal.entry is not Entry.IN] or news
    return bool(told) and all(_was_answered(ticket, look) for ticket in _orders(told))


def _was_answered(ticket: int, look: Look) -> bool:
    """Return whether an answer told us of this order's fill: it was in doubt at no time."""
    order = look.own_order(ticket)
    return order is not None and order.kind is OrderKind.MARKET and not order.doubt_ns


def _because(news: Sequence[Deal], position: Position, *, is_open: bool, look: Look) -> str:
    """Say what new deals did to a position."""
    if not news:
        return "its deals were recorded before"
    ended = exit_of(news)
    if ended is None:
        verb = "opened" if position.ticket in _orders(news) else "added"
        said = entry_sentence(news, verb, digits=look.money_digits)
        is_ours = any(map(look.own_order, _orders(news)))
        return said + label(BrokerShows.OPEN) if is_ours else said
    if is_open:
        return exit_sentence(ended, "closed in part", digits=look.money_digits)
    said = exit_sentence(ended, digits=look.money_digits)
    return said + label(BrokerShows.CLOSED) if look.own_order(position.ticket) else said


def label(shows: BrokerShows) -> str:
    """Return which case of the recovery table an order of ours is, that was filled."""
    return f" (case {decide(JournalSays.FILLED, shows, settled=True).label})"


def _orders(deals: Iterable[Deal]) -> dict[int, None]:
    return dict.fromkeys(deal.order for deal in deals)


def _shares(history: History, news: Sequence[Deal], look: Look) -> tuple[events.Share, ...]:
    """Return what the orders of new deals brought, where it is known whose they are."""
    return tuple(
        share for ticket in _orders(news) if (share := _share(ticket, history, look)) is not None
    )


def _share(ticket: int, history: History, look: Look) -> events.Share | None:
    deals = [deal for deal in history.deals if deal.order == ticket]
    magic, magics = strategy_half(deals[0].magic), look.policy.magics
    order = look.own_order(ticket)
    if order is None and (not magic or (magics and magic not in magics)):
        return None  # a hand, or a robot that is not ours
    if order is not None and order.kind is OrderKind.MARKET:
        return None  # its fill said so
    units = sum(to_units(deal.volume) * deal.side.sign for deal in deals)
    return events.Share(ticket, magic, units)
