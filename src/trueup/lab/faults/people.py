"""Acts of people, other programs and the market at the account."""

from __future__ import annotations

import contextlib
import random
from typing import Any

import msgspec

from trueup.core.book.lifecycle import OrderStatus
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.lab.faults.struck_world import StruckWorld
from trueup.lab.plan.plan import SYMBOL, Fault
from trueup.sim.market.records import Position, Refusal
from trueup.sim.terminal.person import Person

STRANGE_MAGIC = 99
# The share of acts that concern the newest position.
NEWEST = 0.4
# How long a person waits before he moves stops back: longer than a yes takes.
BACK_AFTER_MS = 9_000
# How often somebody cancels a market order that works, each time that its market changes.
CANCELS_REST = 0.2
HANDS = (mt5.ORDER_REASON_CLIENT, mt5.ORDER_REASON_MOBILE, mt5.ORDER_REASON_WEB)


def _hand(world: StruckWorld, chance: random.Random) -> Person:
    """Return a person at a desktop, a phone or a browser."""
    return world.somebody(chance.choice(HANDS))


def _opener(world: StruckWorld, chance: random.Random) -> Person:
    """Return a person or program whose new positions are the bots' by the policy.

    That is a program with our magic number if the policy has magic numbers. Such a program opens
    more lots than the bots ever do: equal trades of two programs with the same number cannot be
    told apart.
    """
    if world.plan.setting.owns_magic:
        return world.somebody(mt5.ORDER_REASON_EXPERT, world.magic)
    return _hand(world, chance)


def one_held(world: StruckWorld, chance: random.Random) -> Position | None:
    """Return any position, and often the newest, whose last change readings may not show yet."""
    held = [row for row in world.ledger.positions.values() if row.symbol == world.symbol]
    if held and chance.random() < NEWEST:
        return held[-1]
    return chance.choice(held) if held else None


def _lots(world: StruckWorld, chance: random.Random) -> float:
    return round(chance.randint(6, 9) * world.lots_unit, 3)


def _side(chance: random.Random) -> int:
    return chance.choice((mt5.ORDER_TYPE_BUY, mt5.ORDER_TYPE_SELL))


def opens(world: StruckWorld, chance: random.Random) -> str:
    """Open a position, if the symbol has the name that the bots know."""
    if world.symbol != SYMBOL:
        return ""
    ticket = _opener(world, chance).open(world.symbol, _side(chance), _lots(world, chance))
    return f"ticket {ticket}"


def closes(world: StruckWorld, chance: random.Random) -> str:
    """Close a position."""
    one = one_held(world, chance)
    if one is None:
        return ""
    _hand(world, chance).close(one.ticket)
    return f"ticket {one.ticket}"


def closes_part(world: StruckWorld, chance: random.Random) -> str:
    """Close a part of a position."""
    one = one_held(world, chance)
    if one is None or one.steps < 2:
        return ""
    lots = world.lots_unit
    _hand(world, chance).close(one.ticket, lots)
    return f"{lots} lots of ticket {one.ticket}"


def moves_stops(world: StruckWorld, chance: random.Random) -> str:
    """Move stop loss and take profit."""
    one = one_held(world, chance)
    if one is None:
        return ""
    away = chance.choice((0.0, 0.0100, 0.0200))
    sign = 1 if one.is_buy else -1
    bid = world.bid
    sl = round(bid - sign * away, 5) if away else 0.0
    tp = round(bid + sign * (away + 0.01), 5)
    hand, before = _hand(world, chance), (one.sl, one.tp)
    hand.modify(one.ticket, sl=sl, tp=tp)
    # Where each change waits for a yes: there and back, and the same again needs a yes of its own.
    for number in range(1, 3) if world.plan.setting.asks == "protection" else ():
        levels = before if number == 1 else (sl, tp)
        world.schedule.after(
            number * BACK_AFTER_MS,
            lambda levels=levels: _set_stops(world, hand, one.ticket, *levels),  # type: ignore[misc]
        )
    return f"ticket {one.ticket}: SL {sl or 'none'}, TP {tp}"


def _set_stops(world: StruckWorld, hand: Person, ticket: int, sl: float, tp: float) -> None:
    """Set both stops, unless the faults or the position have ended or the market is beyond them."""
    with contextlib.suppress(Refusal):
        if not world.is_healed:
            hand.modify(ticket, sl=sl, tp=tp)


def closes_by(world: StruckWorld, chance: random.Random) -> str:
    """Close two opposite positions against each other; open the second if there is none."""
    one = one_held(world, chance)
    if one is None or world.symbol != SYMBOL:
        return ""
    hand = _hand(world, chance)
    rows = [row for row in world.ledger.positions.values() if row.symbol == world.symbol]
    tickets = [row.ticket for row in rows if row.is_buy is not one.is_buy]
    other = chance.choice(tickets) if tickets else 0
    if not other:
        lots = world.ledger.lots(world.symbol, one.steps)
        other = hand.open(world.symbol, one.closing_type, lots)
    hand.close_by(one.ticket, other)
    return f"ticket {one.ticket} by ticket {other}"


def reverses(world: StruckWorld, chance: random.Random) -> str:
    """Reverse a netting position."""
    one = one_held(world, chance)
    if one is None:
        return ""
    lots = world.ledger.lots(world.symbol, one.steps)
    _hand(world, chance).open(world.symbol, one.closing_type, round(lots + 2 * world.lots_unit, 3))
    return f"ticket {one.ticket}"


def places(world: StruckWorld, chance: random.Random) -> str:
    """Place a pending order, if the symbol has the name that the bots know."""
    if world.symbol != SYMBOL:
        return ""
    kind = chance.choice((mt5.ORDER_TYPE_BUY_LIMIT, mt5.ORDER_TYPE_SELL_STOP))
    ticket = _opener(world, chance).place(
        world.symbol, kind, _lots(world, chance), round(world.bid - 0.01, 5)
    )
    return f"ticket {ticket}"


def cancels(world: StruckWorld, chance: random.Random) -> str:
    """Cancel a pending order."""
    if not world.ledger.orders:
        return ""
    ticket = chance.choice(list(world.ledger.orders))
    _hand(world, chance).cancel(ticket)
    return f"ticket {ticket}"


def robot(world: StruckWorld, chance: random.Random) -> str:
    """Let another robot open or close a position of its own."""
    strange = world.somebody(mt5.ORDER_REASON_EXPERT, STRANGE_MAGIC)
    own = [row for row in world.ledger.positions.values() if row.magic == STRANGE_MAGIC]
    if own and chance.random() < 0.5:
        ticket = chance.choice(own).ticket
        strange.close(ticket)
        return f"closes ticket {ticket}"
    symbol = chance.choice((world.symbol, "GBPUSD"))
    return f"opens ticket {strange.open(symbol, _side(chance), _lots(world, chance))} in {symbol}"


def run_into_stops(world: StruckWorld, chance: random.Random) -> str:
    """Move the market further than the distance of most stops."""
    points = chance.choice((-0.004, 0.004, -0.012, 0.012))
    before = len(world.ledger.deals)
    world.move_market(points)
    return f"{points:+}" if len(world.ledger.deals) > before else ""


def fill_unseen(world: StruckWorld, chance: random.Random, looks: int = 20) -> None:
    """Move the market through a pending order, and close the new position before any reading.

    If there is no pending order, try again each second.
    """
    pending = [one for one in world.ledger.orders.values() if one.symbol == world.symbol]
    if world.is_healed or not looks:
        return
    if not pending:
        world.schedule.after(1_000, lambda: fill_unseen(world, chance, looks - 1))
        return
    # Price move and close happen within a single event, so no reading can come between them.
    order = chance.choice(pending)
    before = len(world.ledger.deals)
    world.move_market(round(order.price_open - world.bid, 5))
    deals = list(world.ledger.deals.values())[before:]
    opened = [deal.position_id for deal in deals if deal.order == order.ticket]
    left = world.ledger.positions.get(opened[0]) if opened else None
    if left is not None:
        with contextlib.suppress(Refusal):
            _hand(world, chance).close(left.ticket)
    if opened:
        world.struck(Fault.FILLED_UNSEEN, f"ticket {order.ticket}")


def fill_in_parts(world: StruckWorld, chance: random.Random, looks: int = 20) -> None:
    """Let the market supply less than a pending order's volume, and the rest some seconds later.

    If there is no pending order, try again each second.
    """
    works = [one for one in world.ledger.orders.values() if one.symbol == world.symbol]
    pending = [one for one in works if one.is_pending and one.steps_current > 1]
    if world.is_healed or not looks:
        return
    if not pending:
        world.schedule.after(1_000, lambda: fill_in_parts(world, chance, looks - 1))
        return
    # The market has the smallest volume only, so the first deal leaves the order working.
    order, broker = chance.choice(pending), world.terminal.broker
    broker.supply(world.symbol, world.lots_unit)
    world.move_market(round(order.price_open - world.bid, 5))
    left = world.ledger.orders.get(order.ticket)
    if left is not None and left.steps_current < order.steps_current:
        world.struck(Fault.FILLED_IN_PARTS, f"ticket {order.ticket}")
    wait_ms = chance.choice((2_000, 5_000, 9_000))
    world.schedule.after(wait_ms, lambda: broker.supply(world.symbol, None))


def supply_few_lots(world: StruckWorld, chance: random.Random) -> None:
    """Let the market of an exchange have few lots, none or all, in turn, until the faults end.

    So market orders are filled in parts. Now and then somebody cancels the rest of those that work.
    """
    if world.is_healed:
        return
    units = chance.choice((0, 1, 1, 1, 2, None))
    lots = None if units is None else round(units * world.lots_unit, 3)
    world.terminal.broker.supply(world.symbol, lots)
    working = [one.ticket for one in world.ledger.orders.values() if not one.is_pending]
    if working and chance.random() < CANCELS_REST:
        with contextlib.suppress(Refusal):
            _hand(world, chance).cancel(chance.choice(working))
    wait_ms = chance.choice((500, 1_500, 4_000))
    world.schedule.after(wait_ms, lambda: supply_few_lots(world, chance))


def move_balance(world: StruckWorld, chance: random.Random) -> str:
    """Pay money in or out."""
    kinds = (mt5.DEAL_TYPE_BALANCE, mt5.DEAL_TYPE_CREDIT, mt5.DEAL_TYPE_BONUS)
    kind, amount = chance.choice(kinds), chance.choice((-250.0, 0.01, 1_000.0))
    world.terminal.broker.balance_operation(world.terminal.home_login, kind, amount)
    return f"{amount:+}"


def stop_out(world: StruckWorld, chance: random.Random) -> str:
    """Withdraw money until the broker closes positions, and pay some money back."""
    ledger = world.ledger
    if not ledger.positions:
        return ""
    broker, login = world.terminal.broker, world.terminal.home_login
    equity = ledger.figures().equity
    broker.balance_operation(login, mt5.DEAL_TYPE_BALANCE, -(equity - 1.0), "Withdrawal")
    world.move_market(0.0)
    broker.balance_operation(login, mt5.DEAL_TYPE_BALANCE, equity, "Deposit")
    return f"{len(ledger.positions)} positions are left"


def change_ticket(world: StruckWorld, chance: random.Random) -> str:
    """Let the broker close and open a position again under another ticket."""
    one = one_held(world, chance)
    if one is None:
        return ""
    broker = world.terminal.broker
    broker.reopen(world.terminal.home_login, one.identifier, world.bid, mt5.DEAL_REASON_ROLLOVER)
    now = world.ledger.positions.get(one.identifier)
    return f"ticket {one.ticket} is now {now.ticket if now else 'another position'}"


def lose_fill(world: StruckWorld, chance: random.Random) -> str:
    """Let the server delete the newest deal that opened a position, and the position."""
    # Only fills that the bot has recorded, and positions without any other deal.
    ledger, pm = world.ledger, world.bot.pm
    filled = pm.book.orders_by_ticket if pm is not None else {}
    entries = [
        deal
        for deal in ledger.deals.values()
        if deal.order in filled
        and filled[deal.order].status is OrderStatus.FILLED
        and deal.position_id in ledger.positions
        and len(ledger.deals_of(deal.position_id)) == 1
    ]
    if not entries:
        return ""
    newest = entries[-1]
    ledger.delete_deal(newest.ticket)
    ledger.drop_position(newest.position_id)
    world.struck_out.add(newest.position_id)
    return f"deal {newest.ticket} of ticket {newest.position_id}"


def send_copied(world: StruckWorld) -> tuple[str, str]:
    """Send an order that the bot recorded and never sent; return the order id, and a phrase."""
    # Intents without any later row were never sent by the bot itself.
    prepared: dict[str, dict[str, object]] = {}
    for row in world.disk.rows():
        event = msgspec.json.decode(row.payload)
        if row.kind == "OrderCreated":
            prepared[event["order_id"]] = event
        else:
            prepared.pop(event.get("order_id", ""), None)
    orders = [one for one in prepared.values() if one.get("kind", "market") == "market"]
    orders = [one for one in orders if not one.get("position")]
    if not orders:
        return "", ""
    # The copy sends the intent with its own token, as the bot would have.
    order: Any = orders[-1]
    side = mt5.ORDER_TYPE_BUY if order["side"] == "buy" else mt5.ORDER_TYPE_SELL
    copy = world.somebody(mt5.ORDER_REASON_EXPERT, order.get("wire_magic", 0))
    ticket = copy.open(world.symbol, side, order["volume"], comment=order["token"])
    return order["order_id"], f"{order['order_id']}, as ticket {ticket}"
