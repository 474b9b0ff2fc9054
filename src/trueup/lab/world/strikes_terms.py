"""What a broker changes about the terms of a symbol while it is traded."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from trueup.gateway.terminal import mt5_constants as mt5
from trueup.lab.world.plan import SYMBOL
from trueup.sim.market.symbols import EURUSD

if TYPE_CHECKING:
    from trueup.lab.world.world import World

MODES = {
    mt5.SYMBOL_TRADE_MODE_DISABLED: "no trading",
    mt5.SYMBOL_TRADE_MODE_LONGONLY: "only buying",
    mt5.SYMBOL_TRADE_MODE_SHORTONLY: "only selling",
    mt5.SYMBOL_TRADE_MODE_CLOSEONLY: "only closing",
}
FILLINGS = {mt5.SYMBOL_FILLING_FOK: "fill or kill", mt5.SYMBOL_FILLING_IOC: "immediate or cancel"}


def restrict_trading(world: World, chance: random.Random) -> str:
    """Allow less than everything for a while."""
    mode, seconds = chance.choice(list(MODES)), chance.choice((2, 8, 20))
    world.terminal.market.change(SYMBOL, trade_mode=mode)
    world.schedule.after(seconds * 1000, lambda: _allow_everything(world))
    return f"{MODES[mode]} for {seconds} s"


def change_filling(world: World, chance: random.Random) -> str:
    """Fill orders in another way from now on."""
    mode = world.terminal.market.setups[SYMBOL].filling_mode
    other = chance.choice([one for one in FILLINGS if one != mode])
    world.terminal.market.change(SYMBOL, filling_mode=other)
    return FILLINGS[other]


def change_steps(world: World, chance: random.Random) -> str:
    """Take orders in coarser lots and prices for a while; what is open stays as it is."""
    lots, points = chance.choice((0.02, 0.04)), chance.choice((1, 5, 10))
    seconds = chance.choice((4, 12))
    world.terminal.market.change(SYMBOL, volume_min=lots, tick_points=points)
    world.schedule.after(seconds * 1000, lambda: _take_usual_steps(world))
    return f"{lots} lots at least, prices by {points} points, for {seconds} s"


def allow_trading(world: World) -> None:
    """Take every order in the symbol again, as in the beginning."""
    _allow_everything(world)
    _take_usual_steps(world)


def _allow_everything(world: World) -> None:
    world.terminal.market.change(SYMBOL, trade_mode=mt5.SYMBOL_TRADE_MODE_FULL)


def _take_usual_steps(world: World) -> None:
    usual = {"volume_min": EURUSD.volume_min, "tick_points": EURUSD.tick_points}
    world.terminal.market.change(SYMBOL, **usual)
