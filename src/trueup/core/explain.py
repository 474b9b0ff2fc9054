"""Explain in sentences how a position began, changed and ended, from the deals of its identifier.

Magic numbers are ignored here: when a person closes our position by hand, the closing deal has
magic 0. `core.deals` sums up the money of deals.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence

import msgspec

from trueup.core.deals import Change, money_units
from trueup.core.model import Deal, DealKind, DealReason, Entry
from trueup.core.quantity import (
    format_lots,
    format_money,
    format_price,
    from_units,
    to_units,
)

COMMENT_PREFIXES = {
    "[sl": DealReason.STOP_LOSS,
    "[tp": DealReason.TAKE_PROFIT,
    "[so": DealReason.STOP_OUT,
}


class Exit(msgspec.Struct, frozen=True, gc=False):
    """How a position ended: the volume-weighted price, money of the account, server time.

    `volume` and `price` cover the closing part only: a deal that reverses a position closes the
    open volume and opens the rest in the other direction.
    """

    reason: str
    price: float
    volume: float
    profit: float
    swap: float
    commission: float
    fee: float
    time_msc: int
    deals: tuple[int, ...]

    @property
    def result(self) -> float:
        """The sum of profit, swap, commission and fee."""
        parts = (self.profit, self.swap, self.commission, self.fee)
        return from_units(sum(map(to_units, parts)))


def exit_of(
    deals: Sequence[Deal], history: Sequence[Deal] | None = None, begun_with: int = 0
) -> Exit | None:
    """Return the exit that the closing deals among `deals` make together, or None without any.

    Args:
        deals: the deals to summarise.
        history: all deals of the position at the broker, oldest first; by default `deals`.
        begun_with: the volume that was open before the first deal of `history`, in units of 1e-8
            lots, negative when short; 0 if the history is complete.
    """
    # The whole history decides which part of a reversing deal closes: that needs the running net.
    closes = closing_units(deals if history is None else history, begun_with)
    closing = [deal for deal in deals if closes.get(deal.ticket)]
    if not closing:
        return None
    volume = sum(closes[deal.ticket] for deal in closing)
    price = sum(deal.price * closes[deal.ticket] for deal in closing) / volume
    # The money covers all given deals: commission and swap of the others belong to the result too.
    return Exit(
        reason=_reason(closing),
        price=from_units(to_units(price)),
        volume=from_units(volume),
        profit=_sum(deals, "profit"),
        swap=_sum(deals, "swap"),
        commission=_sum(deals, "commission"),
        fee=_sum(deals, "fee"),
        time_msc=closing[-1].time_msc,
        deals=tuple(deal.ticket for deal in deals),
    )


def closing_units(deals: Sequence[Deal], begun_with: int = 0) -> Mapping[int, int]:
    """Return the lots (units of 1e-8) that each closing deal closed, by ticket."""
    closes: dict[int, int] = {}
    net = begun_with
    for deal in deals:
        units = abs(deal.units)
        if deal.entry is not Entry.IN and units:
            turns = deal.entry is Entry.IN_OUT and net * deal.units < 0
            closes[deal.ticket] = min(units, abs(net)) if turns else units
        net += deal.units
    return closes


def _reason(closing: Sequence[Deal]) -> str:
    last = closing[-1]
    if last.entry is Entry.OUT_BY:
        return "by an opposite position"
    if last.entry is Entry.IN_OUT:
        return f"by a reversal {last.reason.value}"
    # A broker's reason can contradict the comment that the broker wrote itself; then show both.
    in_comment = _reason_in_comment(last.comment)
    if in_comment is not None and in_comment is not last.reason:
        return f"{last.reason.value} (the comment says {in_comment.value})"
    return last.reason.value


def _reason_in_comment(comment: str) -> DealReason | None:
    for prefix, reason in COMMENT_PREFIXES.items():
        if comment.startswith(prefix):
            return reason
    return None


def _sum(deals: Sequence[Deal], name: str) -> float:
    return from_units(sum(to_units(getattr(deal, name)) for deal in deals))


def exit_sentence(ended: Exit, verb: str = "closed", *, digits: int | None = None) -> str:
    """Say how a position ended: closed by its stop loss: 0.10 lots at 1.0543, ...

    `digits` are the decimals of the account's money, None where they are not known.
    """
    lots = f"{format_lots(ended.volume)} lots at {format_price(ended.price)}"
    money = _money(ended.profit, ended.swap, ended.commission + ended.fee, digits)
    return f"{verb} {ended.reason}: {lots}, {money}, {_server_time(ended.time_msc)}"


def _money(profit: float, swap: float, commission: float, digits: int | None) -> str:
    sentence = f"profit {format_money(profit, digits)}, swap {format_money(swap, digits)}"
    return f"{sentence}, commission {format_money(commission, digits)}"


def entry_sentence(deals: Sequence[Deal], verb: str, *, digits: int | None = None) -> str:
    """Say how a position began or grew: opened: 0.10 lots at 1.0543, commission -0.35.

    Deals without lots add only their costs to the sentence. `digits` is as in `exit_sentence`.
    """
    lots = {deal.ticket: abs(deal.units) for deal in deals}
    volume = sum(lots.values())
    price = sum(deal.price * lots[deal.ticket] for deal in deals) / volume if volume else 0.0
    costs = _sum(deals, "commission") + _sum(deals, "fee")
    sentence = f"{format_lots(from_units(volume))} lots at {format_price(price)}"
    other = _sum(deals, "profit") + _sum(deals, "swap")
    charged = f", other money {format_money(other, digits)}" if to_units(other) else ""
    return f"{verb}: {sentence}, commission {format_money(costs, digits)}{charged}"


def cash_sentence(deals: Sequence[Deal], *, digits: int | None = None) -> str:
    """Say which money came from deals without lots: money without a trade by variation margin."""
    last = deals[-1]
    why = "" if last.reason is DealReason.OTHER else f" {last.reason.value}"
    costs = _sum(deals, "commission") + _sum(deals, "fee")
    money = _money(_sum(deals, "profit"), _sum(deals, "swap"), costs, digits)
    return f"money without a trade{why}: {money}, {_server_time(last.time_msc)}"


def canceled_sentence(deal: Deal) -> str:
    """Say that the broker cancelled a deal."""
    deal_text = f"{deal.side.action} {format_lots(deal.volume)} lots at {format_price(deal.price)}"
    return f"the broker cancelled deal {deal.ticket} ({deal_text})"


def change_sentence(change: Change, *, digits: int | None = None) -> str:
    """Say how the broker changed a deal that the book had counted."""
    now, before = change.now, change.before
    was, has = (format_money(from_units(u), digits) for u in (before.money, money_units(now)))
    money = f"result {was} → {has}"
    if now.kind is DealKind.CANCELED and before.lots:
        return f"{canceled_sentence(now)}: {money}"
    parts = (("profit", now.profit), ("swap", now.swap), ("commission", now.commission + now.fee))
    made_of = ", ".join(f"{n} {format_money(v, digits)}" for n, v in parts if to_units(v))
    # Name the lots only if the broker changed them: in most corrections only the money changes.
    lots = ""
    if now.units != before.lots:
        had, moves = (format_lots(from_units(abs(u))) for u in (before.lots, now.units))
        lots = f", {had} → {moves} lots"
    return f"the broker changed deal {now.ticket}: {money}{lots} (now {made_of or 'no money'})"


def _server_time(time_msc: int) -> str:
    when = dt.datetime.fromtimestamp(time_msc / 1000, dt.UTC)
    return f"{when:%Y-%m-%d %H:%M:%S} server time"
