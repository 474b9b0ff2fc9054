"""A simulated terminal in this process, for programs in other processes, with its ledger watched.

Programs reach the terminal through its pipe, as they reach a real one, and find it by the state
file in `home`. What is watched is the broker's own ledger: no program and no fault of the terminal
can change what is seen there.
"""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from tests.support.crash_world import DEADLINE_SEC
from tests.support.servers import until
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.runtime.control.state_files import HOME_VARIABLE
from trueup.sim.market.records import Channel, Deal, Order, Position
from trueup.sim.process.process import TerminalOptions, TerminalProcess
from trueup.sim.process.whereabouts import read_state
from trueup.sim.terminal.terminal import SimulatedTerminal
from trueup.sim.terminal.terminal_faults import TerminalFaults

MINUTES, QUOTES_PER_SEC, STEP_POINTS, SPREAD_POINTS = 60, 4, 6, 10
START_MSC = 1_704_067_200_000


def moving_prices(path: Path, seed: int) -> Path:
    """Write ticks of an hour that reach stops within seconds, and return the file."""
    chance, points = random.Random(seed), 110_000
    lines = ["time_msc,bid,ask"]
    for number in range(MINUTES * 60 * QUOTES_PER_SEC):
        points += round(chance.uniform(-STEP_POINTS, STEP_POINTS))
        bid, ask = points / 100_000, (points + SPREAD_POINTS) / 100_000
        lines.append(f"{START_MSC + number * 1000 // QUOTES_PER_SEC},{bid:.5f},{ask:.5f}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


class Watch:
    """What a ledger shows of the programs, each known by its magic number.

    `faults` has a sentence for every state that no program wanted.
    """

    def __init__(self) -> None:
        self.open: dict[int, Position] = {}
        self.seen: dict[int, Position] = {}
        """Every position there ever was, by identifier."""
        self.entries: dict[int, int] = {}
        """Positions that were opened, by magic number."""
        self.exits: dict[str, int] = {"bot": 0, "stop": 0}
        self.doubled: list[str] = []
        self.bare: list[str] = []
        """Positions without a stop loss or a take profit."""
        self.crossed: list[str] = []
        """Positions that were closed by the program with another magic number."""

    def hear(self, channel: Channel, key: int, record: Any) -> None:
        """Note a change of the ledger."""
        if channel is Channel.POSITION:
            self._position(key, record)
        elif channel is Channel.DEAL and isinstance(record, Deal):
            self._deal(record)

    def _position(self, identifier: int, position: Position | None) -> None:
        if position is None:
            self.open.pop(identifier, None)
            return
        if identifier not in self.seen:
            self.entries[position.magic] = self.entries.get(position.magic, 0) + 1
            others = [one.ticket for one in self.open.values() if one.magic == position.magic]
            if others:
                self.doubled.append(f"position {position.ticket} was opened beside {others}")
        if not (position.sl and position.tp):
            self.bare.append(f"{position.ticket} has sl={position.sl} and tp={position.tp}")
        self.open[identifier] = self.seen[identifier] = position

    def _deal(self, deal: Deal) -> None:
        if deal.entry != mt5.DEAL_ENTRY_OUT:
            return
        self.exits["bot" if deal.reason == mt5.DEAL_REASON_EXPERT else "stop"] += 1
        position = self.seen[deal.position_id]
        if deal.reason == mt5.DEAL_REASON_EXPERT and deal.magic != position.magic:
            self.crossed.append(f"{position.ticket} of {position.magic} by {deal.magic}")

    @property
    def faults(self) -> list[str]:
        """Everything that is wrong."""
        return [
            *self.doubled,
            *(f"without a stop: {text}" for text in self.bare),
            *(f"closed by another program: {text}" for text in self.crossed),
        ]


class HostedTerminal:
    """A simulated terminal that is served by a thread of this process.

    Args:
        home: the state folder of the programs, and of this process while the terminal runs.
        seed: of the prices.
    """

    def __init__(self, home: Path, seed: int) -> None:
        home.mkdir(parents=True, exist_ok=True)
        self.home = home
        self._home_before = os.environ.get(HOME_VARIABLE)
        os.environ[HOME_VARIABLE] = str(home)
        feed = moving_prices(home / "prices.csv", seed)
        self._process = TerminalProcess(
            TerminalOptions(feed=str(feed), speed=1.0, balance=10_000_000.0, idle_exit_min=0.0)
        )
        self.watch = Watch()
        self._process.terminal.ledger.listeners.append(self.watch.hear)
        self.sends = 0
        """How many orders the terminal got."""
        self.around_send: Callable[[str], None] = lambda moment: None
        """Called with "before" and "after" an order is carried out; no answer is under way yet."""
        self._wrap_order_send()
        self._thread = threading.Thread(target=self._process.run, daemon=True)
        self._thread.start()
        until(lambda: read_state() is not None, DEADLINE_SEC)

    def _wrap_order_send(self) -> None:
        module = self._process.module
        send = module.order_send

        def watched(*args: Any, **kwargs: Any) -> Any:
            self.sends += 1
            self.around_send("before")
            result = send(*args, **kwargs)
            self.around_send("after")
            return result

        # What serves the pipe looks the function up by its name.
        setattr(module, "order_send", watched)  # noqa: B010

    @property
    def gateway(self) -> str:
        """The endpoint of the gateway that the terminal has besides its pipe."""
        return self._process.whereabouts.gateway

    @contextmanager
    def faults(self) -> Iterator[TerminalFaults]:
        """The faults of the terminal that programs call, while no call is under way."""
        with self._process._lock:
            yield self._process.module.faults

    def trade(self, do: Callable[[SimulatedTerminal], Any]) -> Any:
        """Do something at another terminal of the account, as a person does."""
        with self._process._lock:
            return do(self._process.terminal)

    def positions(self, magic: int) -> dict[int, Position]:
        """The open positions of a program, by ticket."""
        with self._process._lock:
            known = list(self.watch.open.values())
        return {one.ticket: one for one in known if one.magic == magic}

    def realised(self, magic: int) -> float:
        """What all deals in the positions of a program came to, in the account's currency."""
        with self._process._lock:
            deals = list(self._process.terminal.ledger.deals.values())
            seen = dict(self.watch.seen)
        ours = [deal for deal in deals if deal.position_id in seen]
        return round(sum(deal.result for deal in ours if seen[deal.position_id].magic == magic), 2)

    def orders(self) -> dict[int, Order]:
        """Every finished order of the account."""
        with self._process._lock:
            return dict(self._process.terminal.ledger.order_history)

    def close(self) -> None:
        """End the terminal, with its account."""
        self._process.stop()
        self._thread.join(DEADLINE_SEC)
        if self._home_before is None:
            del os.environ[HOME_VARIABLE]
        else:
            os.environ[HOME_VARIABLE] = self._home_before

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
