"""Faults of a symbol's terms: the broker changes terms while the bots trade the symbol."""

from __future__ import annotations

import random

from trueup.gateway.terminal import mt5_constants as mt5
from trueup.lab.faults.struck_world import StruckWorld
from trueup.lab.plan.plan import NEXT_CONTRACT, SYMBOL
from trueup.sim.market.symbols import EURUSD

MODES = {
    mt5.SYMBOL_TRADE_MODE_DISABLED: "no trading",
    mt5.SYMBOL_TRADE_MODE_LONGONLY: "only buying",
    mt5.SYMBOL_TRADE_MODE_SHORTONLY: "only selling",
    mt5.SYMBOL_TRADE_MODE_CLOSEONLY: "only closing",
}
# Other names that the broker may give to the symbol.
NAMES = ("EURUSD.m", "EURUSDpro")
# The number of finest volume steps in a coarse step.
COARSE_STEPS = 10
FILLINGS = {mt5.SYMBOL_FILLING_FOK: "fill or kill", mt5.SYMBOL_FILLING_IOC: "immediate or cancel"}


def restrict_trading(world: StruckWorld, chance: random.Random) -> str:
    """Restrict trading for a while."""
    mode, seconds = chance.choice(list(MODES)), chance.choice((2, 8, 20))
    world.terminal.market.change(world.symbol, trade_mode=mode)
    world.schedule.after(seconds * 1000, lambda: _allow_everything(world))
    return f"{MODES[mode]} for {seconds} s"


def change_filling(world: StruckWorld, chance: random.Random) -> str:
    """Fill orders in another way from now on."""
    mode = world.terminal.market.setups[world.symbol].filling_mode
    other = chance.choice([one for one in FILLINGS if one != mode])
    world.terminal.market.change(world.symbol, filling_mode=other)
    return FILLINGS[other]


def change_steps(world: StruckWorld, chance: random.Random) -> str:
    """Take orders in coarser lots and prices for a while; open positions do not change."""
    lots, points = round(chance.choice((2, 4)) * world.lots_unit, 3), chance.choice((1, 5, 10))
    seconds = chance.choice((4, 12))
    world.terminal.market.change(world.symbol, volume_min=lots, tick_points=points)
    world.schedule.after(seconds * 1000, lambda: _take_usual_steps(world))
    return f"{lots} lots at least, prices by {points} points, for {seconds} s"


def make_steps_finer(world: StruckWorld, chance: random.Random) -> str:
    """Take orders in a tenth of the volume step until now."""
    if not world.is_coarse:
        return ""
    world.is_coarse = False
    _take_usual_steps(world)
    return f"{world.lots_unit} lots"


def rename(world: StruckWorld, chance: random.Random) -> str:
    """Give the symbol another name for a while; all records of the symbol get that name too.

    A bot cannot recognise positions and orders first seen under the new name as its own; so the
    broker cancels pending orders in the symbol first.
    """
    if world.symbol != SYMBOL or not _has_seen_all(world):
        return ""
    name, seconds = chance.choice(NAMES), chance.choice((3, 8))
    office = world.somebody(mt5.ORDER_REASON_CLIENT)
    for order in [one for one in world.ledger.orders.values() if one.symbol == SYMBOL]:
        office.cancel(order.ticket)
    _name(world, name)
    world.schedule.after(seconds * 1000, lambda: take_usual_name(world))
    return f"to {name} for {seconds} s"


def take_usual_name(world: StruckWorld) -> None:
    """Restore the name of the symbol that the bots know."""
    if world.symbol != SYMBOL:
        _name(world, SYMBOL)


def _name(world: StruckWorld, name: str) -> None:
    world.terminal.broker.rename_symbol(world.symbol, name)
    world.terminal.selected.add(name)
    world.symbol = name


def _has_seen_all(world: StruckWorld) -> bool:
    """Return whether the bot knows all open positions in the symbol and has no order in doubt."""
    pm, ledger = world.bot.pm, world.ledger
    if pm is None or pm.book.in_doubt or pm.book.missing or not world.terminal.is_connected:
        return False
    held = {one.identifier for one in ledger.held.of_symbol(SYMBOL)}
    return held <= pm.book.holdings.keys()


def allow_trading(world: StruckWorld) -> None:
    """Take every order in the symbol again, in the finest lots."""
    world.is_coarse = False
    _allow_everything(world)
    _take_usual_steps(world)


def _allow_everything(world: StruckWorld) -> None:
    world.terminal.market.change(world.symbol, trade_mode=mt5.SYMBOL_TRADE_MODE_FULL)


def _take_usual_steps(world: StruckWorld) -> None:
    steps = COARSE_STEPS if world.is_coarse else EURUSD.order_steps
    # The next contract has the same steps, or a position could not be closed after a roll.
    for symbol in (world.symbol, NEXT_CONTRACT):
        world.terminal.market.change(
            symbol,
            volume_min=world.lots_unit,
            tick_points=EURUSD.tick_points,
            order_steps=steps,
        )
