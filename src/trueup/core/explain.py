"""Why a position left the list, or shrank: read off the deals of its identifier.

A position is proven closed when the volume that came in equals the volume that went out, at 1e-8
lots (MQL5 reference, "Deal Properties": DEAL_POSITION_ID ties every deal to its position). The
magic number is never asked: a hand that closes leaves magic 0, and it is our position all the same.

The realised result is the sum of profit, swap, commission and fee over all its deals, kept in whole
units of 1e-8 so that it is the broker's to the cent.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence

import msgspec

from trueup.core.model import Deal, DealReason, Entry, Position
from trueup.core.quantity import (
    format_lots,
    format_money,
    format_price,
    from_units,
    same,
    to_units,
)


class Exit(msgspec.Struct, frozen=True, gc=False):
    """How a position ended: the volume-weighted price, money of the account, server time."""

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
        """Profit, swap, commission and fee together."""
        parts = (self.profit, self.swap, self.commission, self.fee)
        return from_units(sum(map(to_units, parts)))


class History(msgspec.Struct, frozen=True):
    """The deals of one position, each once, oldest first."""

    deals: tuple[Deal, ...]

    @property
    def net_units(self) -> int:
        """What the deals leave open, in units of 1e-8 lots, negative when short."""
        return sum(to_units(d.volume) * d.side.sign for d in self.deals)

    def lacks(self, known: Iterable[int]) -> bool:
        """Return whether deals that were recorded before are not all among these."""
        return not {deal.ticket for deal in self.deals}.issuperset(known)

    @property
    def is_closed(self) -> bool:
        """Whether the deals prove that nothing is left open."""
        return self.closes_to(0.0)

    def closes_to(self, net_volume: float) -> bool:
        """Return whether there are deals, and they leave `net_volume` lots open, at 1e-8."""
        return bool(self.deals) and self.net_units == to_units(net_volume)

    @property
    def realised_units(self) -> int:
        """The realised result of all deals, in units of 1e-8 of the account's currency."""
        return sum(map(money_units, self.deals))


def history_of(identifier: int, deals: Iterable[Deal]) -> History:
    """Return the deals of one position: each ticket once, in the order they were made."""
    own = {deal.ticket: deal for deal in deals if deal.position == identifier}
    return History(tuple(sorted(own.values(), key=lambda d: (d.time_msc, d.ticket))))


def money_units(deal: Deal) -> int:
    """Return profit, swap, commission and fee of a deal in units of 1e-8."""
    return sum(map(to_units, (deal.profit, deal.swap, deal.commission, deal.fee)))


def exit_of(deals: Sequence[Deal]) -> Exit | None:
    """Return what the closing deals among `deals` say together, or None when none closes."""
    out = [deal for deal in deals if deal.entry is not Entry.IN]
    if not out:
        return None
    volume = sum(to_units(deal.volume) for deal in out)
    price = sum(deal.price * to_units(deal.volume) for deal in out) / volume
    return Exit(
        reason=_reason(out),
        price=from_units(to_units(price)),
        volume=from_units(volume),
        profit=_sum(deals, "profit"),
        swap=_sum(deals, "swap"),
        commission=_sum(deals, "commission"),
        fee=_sum(deals, "fee"),
        time_msc=out[-1].time_msc,
        deals=tuple(deal.ticket for deal in deals),
    )


def _reason(out: Sequence[Deal]) -> str:
    last = out[-1]
    if last.entry is Entry.OUT_BY:
        return "by an opposite position"
    if last.entry is Entry.IN_OUT:
        return f"by a reversal {last.reason.value}"
    # One broker's reason was found to contradict the comment it wrote itself; say both then.
    told = _told_by_comment(last.comment)
    if told is not None and told is not last.reason:
        return f"{last.reason.value} (the comment says {told.value})"
    return last.reason.value


def _told_by_comment(comment: str) -> DealReason | None:
    for prefix, reason in COMMENT_PREFIXES.items():
        if comment.startswith(prefix):
            return reason
    return None


REOPENS = (DealReason.ROLLOVER, DealReason.SPLIT, DealReason.VARIATION_MARGIN)
COMMENT_PREFIXES = {
    "[sl": DealReason.STOP_LOSS,
    "[tp": DealReason.TAKE_PROFIT,
    "[so": DealReason.STOP_OUT,
}


def _sum(deals: Sequence[Deal], name: str) -> float:
    return from_units(sum(to_units(getattr(deal, name)) for deal in deals))


def exit_sentence(ended: Exit, verb: str = "closed", *, digits: int | None = None) -> str:
    """Say how a position ended: closed by its stop loss: 0.10 lots at 1.0543, ...

    `digits` are the decimals of the account's money, None where they are not known.
    """
    when = dt.datetime.fromtimestamp(ended.time_msc / 1000, dt.UTC)
    profit, swap = format_money(ended.profit, digits), format_money(ended.swap, digits)
    costs = f"swap {swap}, commission {format_money(ended.commission + ended.fee, digits)}"
    return (
        f"{verb} {ended.reason}: {format_lots(ended.volume)} lots at {format_price(ended.price)}, "
        f"profit {profit}, {costs}, {when:%Y-%m-%d %H:%M:%S} server time"
    )


def entry_sentence(deals: Sequence[Deal], verb: str, *, digits: int | None = None) -> str:
    """Say how a position began or grew: opened: 0.10 lots at 1.0543, commission -0.35.

    `digits` are the decimals of the account's money, None where they are not known.
    """
    volume = sum(to_units(deal.volume) for deal in deals)
    price = sum(deal.price * to_units(deal.volume) for deal in deals) / volume
    costs = _sum(deals, "commission") + _sum(deals, "fee")
    lots = f"{format_lots(from_units(volume))} lots at {format_price(price)}"
    return f"{verb}: {lots}, commission {format_money(costs, digits)}"


def reopened_as(local: Position, deals: Sequence[Deal], zombies: Iterable[Position]) -> int:
    """Return the identifier under which the broker re-opened a position, or 0.

    A rollover, a split or variation margin can close a position and open it again under another
    identifier: same symbol, side and volume, within the same second.
    """
    fitting = _reopened(local, deals, zombies)
    return fitting[0] if len(fitting) == 1 else 0


def waits_for_reopening(
    local: Position, deals: Sequence[Deal], zombies: Iterable[Position]
) -> bool:
    """Return whether the last deal closed a position only to open it again, and that is not shown.

    A terminal that loses its link can show the one and not the other.
    """
    return bool(deals) and deals[-1].reason in REOPENS and not _reopened(local, deals, zombies)


def _reopened(local: Position, deals: Sequence[Deal], zombies: Iterable[Position]) -> list[int]:
    if not deals or deals[-1].reason not in REOPENS:
        return []
    return [
        z.identifier
        for z in zombies
        if (z.symbol, z.side) == (local.symbol, local.side)
        and same(z.volume, local.volume)
        and abs(z.time_msc - deals[-1].time_msc) <= 1000
    ]
