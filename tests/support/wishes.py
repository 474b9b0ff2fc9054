"""What bots of the crash tests wish for, and what a person does behind their backs."""

from __future__ import annotations

import random

from tests.support.crash_world import Step, Terminal

# More than a bot gets done between two kills, so that there is always something under way.
WISHES_A_ROUND = 35


def job(chance: random.Random, account: str, count: int) -> list[Step]:
    """A list of wishes, each under its own key: every start of the bot asks for all of them."""
    steps: list[Step] = []
    for number in range(count):
        key, of = f"k{number}", f"k{chance.randrange(max(1, number))}"
        side = chance.choice(["buy", "sell"])
        open_one: Step = {"do": "submit", "side": side, "volume": chance.randint(1, 5) / 100}
        kinds = [open_one, {**open_one, "limit": 0.9 if side == "buy" else 3.0}]
        weights = [5, 1]
        if account == "hedging":
            kinds += [
                {"do": "close", "of": of},
                {"do": "close", "of": of, "volume": 0.01},
                {"do": "modify", "of": of, "sl": 0.0, "tp": 0.0},
                {"do": "cancel", "of": of},
                {"do": "sync"},
            ]
            weights += [2, 2, 1, 2, 1]
        steps.append({**chance.choices(kinds, weights)[0], "key": key})
    return steps


def meddle(terminal: Terminal, chance: random.Random) -> None:
    """Trade by hand, behind the back of a bot that is dead."""
    positions = terminal.positions()
    for _ in range(chance.randint(0, 2)):
        what = chance.choice(["open", "close", "modify"])
        if what == "open" or not positions:
            terminal.person("open", side=chance.choice(["buy", "sell"]), volume=0.02)
            continue
        ticket = chance.choice(positions)[0]
        if what == "close":
            terminal.person("close", ticket=ticket)
        else:
            terminal.person("modify", ticket=ticket, tp=0)
