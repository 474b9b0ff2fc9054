"""Faults of the broker's back office: later changes of deals, positions and the history.

No trade and no order of the account causes these changes, so no reply tells a bot about them.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator, Sequence

from msgspec.structs import replace

from trueup.gateway.terminal import mt5_constants as mt5
from trueup.lab.faults.people import one_held
from trueup.lab.faults.struck_world import StruckWorld
from trueup.lab.plan.plan import NEXT_CONTRACT, Fault
from trueup.sim.market.records import Deal, Position
from trueup.sim.market.symbols import Charged

# Units of money in the account's currency: 1e-8.
UNITS = 100_000_000
TRADES = frozenset({mt5.DEAL_TYPE_BUY, mt5.DEAL_TYPE_SELL})
SPLITS = (mt5.DEAL_REASON_SPLIT, mt5.DEAL_REASON_CORPORATE_ACTION)
RATIOS = ((2, 1), (3, 2))
# The ratio of prices after and before a split two to one.
HALF = 0.5
DAILY_COMMISSION_PER_LOT = 3.5
# The price difference of the next contract, so large that prices of the two never mix.
NEXT_IS_DEARER = 0.1


def _recent_deal(world: StruckWorld, chance: random.Random) -> Deal | None:
    """Return a recent trade that the history shows; a bot cannot compare archived deals."""
    begins_msc = world.terminal.switches.history_begins_msc
    deals = world.ledger.deals.values()
    trades = [deal for deal in deals if deal.type in TRADES and deal.time_msc >= begins_msc]
    return chance.choice(trades[-8:]) if trades else None


# Deals.


def charge_late(world: StruckWorld, chance: random.Random) -> str:
    """Charge a commission on a deal that was made before."""
    deal = _recent_deal(world, chance)
    if deal is None:
        return ""
    amount = -chance.randint(1, 500) / 100
    world.terminal.broker.charge_commission(world.terminal.home_login, deal.ticket, amount)
    return f"{amount} on deal {deal.ticket} of position {deal.position_id}"


def block_commission(world: StruckWorld, chance: random.Random) -> None:
    """Block commissions from now on, and charge them when the day ends."""
    broker, login = world.terminal.broker, world.terminal.home_login
    # Commissions of the day's later deals are blocked first, and booked at its end.
    broker.market.change(
        world.symbol, commission_per_lot=DAILY_COMMISSION_PER_LOT, commission_charged=Charged.DAILY
    )
    broker.change_account(login, blocks_commission=True)

    def end_day() -> None:
        blocked = world.ledger.commission_blocked
        if world.is_healed:
            return
        if not blocked:
            # Without trades there is no commission to book yet.
            world.schedule.after(4_000, end_day)
            return
        broker.change_day()
        world.struck(Fault.COMMISSION_BLOCKED, f"{blocked}")

    world.schedule.after(chance.choice((4_000, 9_000, 15_000)), end_day)


def amend_deal(world: StruckWorld, chance: random.Random) -> str:
    """Give a deal that was made before another profit, swap or fee."""
    deal = _recent_deal(world, chance)
    if deal is None:
        return ""
    name = chance.choice(("profit", "profit", "swap", "fee"))
    amount = round(getattr(deal, name) + chance.choice((-1, 1)) * chance.randint(1, 5_000) / 100, 2)
    world.terminal.broker.amend_deal(world.terminal.home_login, deal.ticket, **{name: amount})
    return f"the {name} of deal {deal.ticket} of position {deal.position_id} is {amount}"


def cancel_deal(world: StruckWorld, chance: random.Random) -> str:
    """Cancel the newest trade, and restore the position of before."""
    ledger = world.ledger
    trades = [deal for deal in ledger.deals.values() if deal.position_id]
    deal = trades[-1] if trades else None
    if deal is None or not _is_the_last_change(world, deal):
        return ""
    if deal.time_msc < world.terminal.switches.history_begins_msc:
        # No history would ever show the cancellation of an archived deal.
        return ""
    was = world.held_before(deal.position_id)
    after_ms = chance.choice((None, 0, 5_000))
    world.terminal.broker.cancel_deal(world.terminal.home_login, deal.ticket, after_ms)
    if was is not None:
        # Its symbol may have another name since.
        ledger.put_position(replace(was, symbol=deal.symbol))
    elif deal.position_id in ledger.positions:
        ledger.drop_position(deal.position_id)
    return f"deal {deal.ticket} of position {deal.position_id}"


def _is_the_last_change(world: StruckWorld, deal: Deal) -> bool:
    """Return whether a deal is a trade, and alone made the last change of its position."""
    is_trade = deal.type in TRADES and deal.entry != mt5.DEAL_ENTRY_OUT_BY
    is_service = deal.reason in (*SPLITS, mt5.DEAL_REASON_ROLLOVER, mt5.DEAL_REASON_VMARGIN)
    return is_trade and not is_service and world.changed_last_by(deal.position_id) == deal.ticket


# Positions.


def reopen_anew(world: StruckWorld, chance: random.Random) -> str:
    """Close a position and open an equal position under another identifier."""
    one = one_held(world, chance)
    if one is None:
        return ""
    broker, login = world.terminal.broker, world.terminal.home_login
    with _identifiers_change(world, anew=True):
        broker.reopen(login, one.identifier, world.bid, mt5.DEAL_REASON_ROLLOVER)
    return _gone_on(world, [one])


def split(world: StruckWorld, chance: random.Random) -> str:
    """Split the symbol two to one or three to two, or back again; the price follows.

    Fractions of the smallest volume are not modelled: brokers pay fractions out, or drop them.
    """
    # After a first split only its reverse follows, so that the price stays in its usual range.
    held = list(world.ledger.held.of_symbol(world.symbol))
    ratio = chance.choice(RATIOS)
    if world.price_scale < 1.0:
        ratio = (1, 2) if world.price_scale == HALF else (2, 3)
    if not held or any(one.steps * ratio[0] < ratio[1] for one in held):
        return ""
    # Brokers differ: some keep the identifier, others open new positions.
    with _identifiers_change(world, anew=chance.random() < 0.5):
        world.terminal.broker.split(world.symbol, *ratio, chance.choice(SPLITS))
    said = _gone_on(world, held)
    world.scale_prices(ratio[1] / ratio[0])
    return f"{ratio[0]} to {ratio[1]}, {said}"


def roll(world: StruckWorld, chance: random.Random) -> str:
    """Close a position of an expiring contract, and open the same volume in the next contract."""
    one, ledger = one_held(world, chance), world.ledger
    if one is None or (ledger.setup.is_netting and ledger.held.of_symbol(NEXT_CONTRACT)):
        # On a netting account the roll would add to an open position; no server does that.
        return ""
    before = set(ledger.positions)
    world.terminal.broker.roll(
        world.terminal.home_login,
        one.identifier,
        NEXT_CONTRACT,
        price_out=world.bid,
        price_in=round(world.bid + NEXT_IS_DEARER, 5),
    )
    (new,) = ledger.positions.keys() - before
    return f"position {one.identifier} goes on as {new} in {NEXT_CONTRACT}"


def settle_margin(world: StruckWorld, chance: random.Random, *, by_money: bool) -> str:
    """Settle the variation margin of the symbol's positions."""
    if not world.ledger.held.of_symbol(world.symbol):
        return ""
    world.terminal.switches.variation_margin_reopens = not by_money
    price = round(world.bid + chance.choice((-0.002, 0.002)), 5)
    world.terminal.broker.settle_variation_margin(world.symbol, price)
    return f"at {price}"


@contextlib.contextmanager
def _identifiers_change(world: StruckWorld, *, anew: bool) -> Iterator[None]:
    """Let re-openings in the block change identifiers, or keep the identifiers."""
    switches = world.terminal.switches
    switches.reopening_changes_identifier = anew
    try:
        yield
    finally:
        switches.reopening_changes_identifier = False


def _gone_on(world: StruckWorld, held: Sequence[Position]) -> str:
    """Return a phrase with the new identifiers of positions that were just opened again.

    The broker opens positions again in the order of their closing.
    """
    now = list(world.ledger.positions)
    gone = [one.identifier for one in held if one.identifier not in world.ledger.positions]
    return f"{gone} go on as {now[len(now) - len(gone) :]}" if gone else "as themselves"


# The history.


def _present(deal: Deal) -> tuple[int, bool]:
    """Return the result of a deal (1e-8 of the currency), and whether the deal moves lots."""
    is_trade = deal.type in (mt5.DEAL_TYPE_BUY, mt5.DEAL_TYPE_SELL)
    return round(deal.result * UNITS), is_trade and bool(deal.steps)


def archive_history(world: StruckWorld, chance: random.Random) -> str:
    """Remove deals from the history that the bot has counted already.

    A broker archives deals after years. Deals that a bot has not read by then cannot be proven.
    """
    # A bot with an open question still needs the history.
    pm, switches = world.bot.pm, world.terminal.switches
    if pm is None or pm.book.in_doubt or pm.book.missing or pm.book.unexplained:
        return ""
    if pm.book.unbooked or pm.book.ending:
        return ""
    # Nor can the end of a pending order be proven that the bot has not read by then.
    if pm.book.pending.keys() - world.ledger.orders.keys():
        return ""
    booked = [one.booked for one in pm.book.holdings.values()]
    booked += [one.booked for one in pm.book.closed.values()]
    counted = {deal.ticket: (deal.money, bool(deal.lots)) for deals in booked for deal in deals}
    # Archive up to the oldest deal that the book has not counted as it is now. A deal that the
    # broker has cancelled since has another type, and may have brought nothing before.
    trades = [deal for deal in world.ledger.deals.values() if deal.position_id]
    unread_msc = [deal.time_msc for deal in trades if counted.get(deal.ticket) != _present(deal)]
    begins_msc = min([*unread_msc, world.terminal.broker.clock.server_msc() - 2_000])
    hidden = [deal for deal in trades if switches.history_begins_msc <= deal.time_msc < begins_msc]
    if not hidden:
        return ""
    switches.history_begins_msc = begins_msc
    return f"{len(hidden)} deals"
