"""A door, and a bare terminal beside it, on simulated accounts of their own and one clock."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from itertools import repeat
from pathlib import Path
from typing import Any

from tests.support.desk_world import BUY, HEDGING, SELL, DeskLink, terminal_at
from trueup.doors.local_gateway import LocalGateway
from trueup.doors.mt5.door import Door
from trueup.doors.mt5.opening import Options
from trueup.gateway.client.execution_gateway import ExecutionGateway
from trueup.gateway.desk.desk import Desk
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.gateway.terminal.call_wire import Call, Error, decode_answer, encode_call, perform
from trueup.gateway.terminal.forwarding import ForwardingTerminal
from trueup.gateway.terminal.terminal import Terminal
from trueup.gateway.worker.worker import LOST
from trueup.runtime.control.state_files import HOME_VARIABLE
from trueup.runtime.time.clock import ManualClock
from trueup.sim.market.symbols import DEFAULT_SYMBOLS, AccountSetup, SymbolSetup
from trueup.sim.terminal.person import Person
from trueup.sim.terminal.terminal import SimulatedTerminal

WORLDS: list[DoorWorld] = []
"""The worlds of the present test; `tests/doors/conftest.py` ends them."""
START_NS = 1_700_000_000_000_000_000


class Called(ForwardingTerminal):
    """A terminal whose calls pass through bytes, as through a worker's pipe."""

    def __init__(self, terminal: SimulatedTerminal) -> None:
        self._terminal = terminal
        self._error: Error = (1, "Success")
        self.calls: list[str] = []
        self.elsewhere: Iterator[bool] = repeat(False)
        """Whether each next `account_info` shows an account of the same number at "Elsewhere"."""

    def last_error(self) -> Error:
        """Code and text of the latest call."""
        return self._error

    def _call(self, function: str, *args: Any, **kwargs: Any) -> Any:
        self.calls.append(function)
        raw = encode_call(Call(function, args, kwargs))
        value, self._error = decode_answer(perform(self._terminal, raw))
        if self._error[0] in LOST and function != "initialize":
            # A worker that lost its terminal is replaced, and the new one connects again.
            self._terminal.initialize()
        if function == "account_info" and next(self.elsewhere):
            value = value._replace(server="Elsewhere")
        return value


class _Behind:
    """A terminal of this process, without a worker."""

    def __init__(self, world: DoorWorld) -> None:
        self._world = world
        self.lists: Terminal = world.called
        self.prices: Terminal = world.called
        self._local: LocalGateway | None = None

    def gateway(self) -> ExecutionGateway:
        """Return a gateway in this process."""
        if self._local is not None:
            self._local.disconnect()
        world = self._world
        self._local = LocalGateway(world.called, claims=world.folder / "claims", clock=world.clock)
        return self._local

    def login(self, *args: Any, **kwargs: Any) -> bool:
        """Log in."""
        return self._world.called.login(*args, **kwargs)

    def close(self) -> None:
        """Close the gateway."""
        if self._local is not None:
            self._local.disconnect()


class _FarBehind(_Behind):
    """A terminal of another machine, behind a gateway there that outlives the program."""

    def gateway(self) -> ExecutionGateway:
        """Return a client of the gateway."""
        return ExecutionGateway(
            "127.0.0.1", 5555, 2_000, link=lambda _: DeskLink(self._world.answer_from_afar)
        )


class DoorWorld:
    """One simulated terminal, and the programs that call it through doors.

    Args:
        folder: for journals and records.
        account: what the terminal is logged in to.
        others: further accounts at the same broker.
        specs: the broker's symbols.
        clock: shared with another world.
        opened: whether a program is started.
        far: whether the terminal is behind a gateway on another machine.
        switches: fields of `Switches`.
    """

    def __init__(
        self,
        folder: Path,
        account: AccountSetup = HEDGING,
        *,
        others: tuple[AccountSetup, ...] = (),
        specs: tuple[SymbolSetup, ...] = DEFAULT_SYMBOLS,
        clock: ManualClock | None = None,
        opened: bool = True,
        far: bool = False,
        **switches: Any,
    ) -> None:
        self.folder, self.clock = folder, clock or ManualClock(START_NS)
        self.terminal = terminal_at(self.clock, account, others, specs, **switches)
        for spec in specs:
            self.terminal.quote(spec.name, 1.1, 1.1001)
        self.person = Person(self.terminal.broker, account.login)
        self.called = Called(self.terminal)
        self._doors: list[Door] = []
        # The state files of the programs, which are in no folder of the developer's.
        self._home_before = os.environ.get(HOME_VARIABLE)
        os.environ[HOME_VARIABLE] = str(folder / "state")
        self._far_desk = Desk(self.called, "far", self.clock.now_ns) if far else None
        WORLDS.append(self)
        if opened:
            folder.mkdir(parents=True, exist_ok=True)
            self.door = self.open()

    def open(self, journal: str = "bot.db", **options: Any) -> Door:
        """Start a program: its door, opened."""
        door = Door(self._open_behind, self.clock)
        self._doors.append(door)
        assert door.initialize(journal=str(self.folder / journal), **options), door.last_error()
        return door

    def end(self) -> None:
        """Close the doors that are open: each holds a journal, a record and a claim."""
        while self._doors:
            self._doors.pop().shutdown()
        os.environ.pop(HOME_VARIABLE, None)
        if self._home_before is not None:
            os.environ[HOME_VARIABLE] = self._home_before

    def _open_behind(
        self, options: Options, args: tuple[Any, ...], named: Mapping[str, Any]
    ) -> _Behind:
        return _Behind(self) if self._far_desk is None else _FarBehind(self)

    def answer_from_afar(self, message: bytes) -> bytes:
        """Answer a request as the gateway on the other machine, which sees to its record first."""
        assert self._far_desk is not None
        self._far_desk.tend()
        return self._far_desk.handle(message)

    def restart(self, **options: Any) -> Door:
        """End the program without a word, as a kill does, and start it again."""
        session = self.door._session
        assert session is not None
        # The locks of a killed process end with it; nothing else is written.
        session.deliveries._returned.clear()
        self.door.shutdown()
        self.door = self.open(**options)
        return self.door

    def quote(self, bid: float, symbol: str = "EURUSD") -> None:
        """Move the market."""
        self.terminal.quote(symbol, bid, round(bid + 0.0001, 5))

    def wait(self, seconds: float) -> None:
        """Let time pass at the program and at the broker."""
        self.clock.advance(seconds)
        self.terminal.settle()

    @property
    def rows(self) -> tuple[Any, ...]:
        """The positions at the broker, whatever the terminal shows."""
        return tuple(self.terminal.view.position_rows())

    @property
    def open_lots(self) -> float:
        """The lots of all open positions at the broker."""
        return float(round(sum(row.volume for row in self.rows), 8))


def deal(kind: int = BUY, volume: float = 0.1, **fields: Any) -> dict[str, Any]:
    """A market order, as bots write it."""
    return {
        "action": mt5.TRADE_ACTION_DEAL,
        "symbol": "EURUSD",
        "volume": volume,
        "type": kind,
        "price": 1.1001 if kind == BUY else 1.1,
        "deviation": 20,
        "magic": 7,
        "comment": "bot",
        "type_time": mt5.ORDER_TIME_GTC,
        "type_filling": mt5.ORDER_FILLING_FOK,
        **fields,
    }


__all__ = ["BUY", "SELL", "DoorWorld", "deal"]
