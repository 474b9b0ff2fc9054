"""Habits of terminals and brokers that differ, and that no documentation settles.

Each habit is a switch of the simulated terminal. The product has to be right under all of them, so
a strike draws several habits, which then hold until another strike draws them again.
"""

from __future__ import annotations

import random
from typing import Any

from trueup.lab.faults.struck_world import StruckWorld
from trueup.lab.plan.plan import Fault
from trueup.sim.market.switches import DealTicketMeans, OnReversal

HABITS: dict[str, tuple[Any, ...]] = {
    "account_lag_ms": (0, 500, 3_000),
    "deal_ticket_means": tuple(DealTicketMeans),
    "volume_dust": (True, False),
    "initialize_waits_for_synchronisation": (True, False),
    "stop_comment": ("[{kind} {level}]", "{kind}", ""),
    "stop_out_comment": ("[so {level:.2f}%/{equity:.2f}/{margin:.2f}]", ""),
    "stop_close_keeps_magic": (True, False),
    "stop_fills_at_level": (True, False),
    "stop_order_listed_ms": (0, 700, 3_000),
    "filled_orders_listed_ms": (0, 500, 2_000),
    "stops_refused_at_open": (True, False),
    "requests_per_second_max": (0, 1, 3),
    "first_request_id": (1, 4_000_000_000),
    "random_request_ids": (True, False),
    "answers_with_request_comment": (True, False),
    "reversal_time": tuple(OnReversal),
    "reversal_price_open": tuple(OnReversal),
    "reversal_magic": tuple(OnReversal),
    "reversal_comment": tuple(OnReversal),
    "addition_changes_magic": (True, False),
    "stale_ticket_refused": (True, False),
    "automatic_day_change": (True, False),
    "reopening_changes_ticket": (True, False),
}
"""The switches that are drawn here, and their values. Other switches are drawn with the fault that
needs them, except `dst_jumps` (a strike sets the server's clock), `zero_date_reads_as` (nothing
asks for a date of 0) and `positions_show_client`, which was seen at an exchange. The world draws
`exchange_answers_placed` for a whole run."""
AT_ONCE = 9


def take_on(world: StruckWorld, chance: random.Random) -> str:
    """Draw other values for some of the habits."""
    said = []
    for name in chance.sample(list(HABITS), AT_ONCE):
        now = getattr(world.terminal.switches, name)
        value = chance.choice([one for one in HABITS[name] if one != now])
        setattr(world.terminal.switches, name, value)
        said.append(f"{name} is {getattr(value, 'name', value)!r}")
    return ", ".join(said)


def usual(world: StruckWorld) -> None:
    """Let the broker accept every order again that a bot may send while agreement is due."""
    world.terminal.switches.requests_per_second_max = 0
    world.terminal.switches.stops_refused_at_open = False
    world.terminal.switches.initialize_waits_for_synchronisation = False
    world.terminal.switches.exchange_answers_placed = False


def drawn_in(text: str) -> list[str]:
    """Return the habits that a strike named."""
    told = text.removeprefix(f"{Fault.HABITS.value}: ")
    return [one.partition(" is ")[0] for one in told.split(", ")]
