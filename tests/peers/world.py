"""The broker and the simulated terminal that the packages trade on, and the faults of a trial.

Market and server run by the clock of this machine: the packages ask for the deals of today. The
terminal is called through a pipe, so the terminal survives a program that is killed.
"""

from __future__ import annotations

import os
import random
import threading
import time
from pathlib import Path
from typing import Any, Self

from trueup.gateway.server.sockets import Server, anybody
from trueup.sim.broker.broker import Broker
from trueup.sim.market.switches import Switches
from trueup.sim.market.symbols import DEFAULT_SYMBOLS, AccountSetup
from trueup.sim.process.module_port import ModulePort
from trueup.sim.process.person_desk import PersonDesk
from trueup.sim.process.process import LOOPBACK, MARGIN_MODES
from trueup.sim.process.whereabouts import Whereabouts, remove_state, write_state
from trueup.sim.terminal.terminal import SimulatedTerminal
from trueup.sim.terminal.terminal_faults import CallFault, SendFault

SYMBOL, LOGIN, SERVER, PASSWORD = "EURUSD", 5_000_001, "Simulated-Demo", "secret"
TURN_MS = 20
# Prices of the past, so that rates and ticks have something to show.
PAST_MINUTES, PAST_STEP_MS = 300, 10_000
STEP = 0.00001
LISTS = ("positions_get", "positions_total")
# More calls than a program makes in a trial.
MANY = 100_000


class PeersWorld:
    """One simulated terminal for one trial.

    Args:
        home: the folder of the state file, by which the door finds the terminal (TRUEUP_HOME).
        nets: whether the account is a netting account; a hedging account otherwise.
        seed: of the prices.
    """

    def __init__(self, home: Path, *, nets: bool = False, seed: int = 1) -> None:
        home.mkdir(parents=True, exist_ok=True)
        self._home = home
        self._past_msc: int | None = _now_msc() - PAST_MINUTES * 60_000
        account = AccountSetup(
            login=LOGIN, server=SERVER, margin_mode=MARGIN_MODES["netting" if nets else "hedging"]
        )
        broker = Broker(
            accounts=[account],
            symbols=DEFAULT_SYMBOLS,
            now_msc=self._market_msc,
            switches=Switches(server_offset_minutes=0),
        )
        self._terminal = SimulatedTerminal(broker=broker)
        self._module = SimulatedTerminal(broker=broker)
        self._chance, self._bid = random.Random(seed), 1.1
        self._lock, self._is_over = threading.Lock(), threading.Event()
        self.hangs: threading.Event = threading.Event()
        """Set while a call of the terminal does not return."""
        self._live_through_the_past()
        people = PersonDesk(self._terminal, SYMBOL, lambda: {"pid": os.getpid()}, lambda: None)
        self._people = Server(f"{LOOPBACK}:0", anybody(people.handle))
        self._port = ModulePort(self._module, self._lock)
        let_go = self._module.faults.on_hang

        def hang(function: str) -> None:
            self.hangs.set()
            let_go(function)

        self._module.faults.on_hang = hang
        self._thread = threading.Thread(target=self._live, daemon=True)

    @property
    def address(self) -> str:
        """The address of the terminal, for the stand-in of the module."""
        return self._port.address

    def __enter__(self) -> Self:
        os.environ["TRUEUP_HOME"] = str(self._home)
        write_state(
            Whereabouts(
                pid=os.getpid(),
                gateway=f"{LOOPBACK}:1",
                person=self._people.endpoint,
                account="hedging",
                symbol=SYMBOL,
                started="",
                module=self.address,
            )
        )
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()
        self._port.close()
        self._people.close()
        remove_state(os.getpid())

    def next_send(self, fault: SendFault) -> None:
        """Let a fault befall the next order."""
        with self._lock:
            self._module.faults.next_send(fault)

    def lists_fail(self, fault: CallFault) -> None:
        """Let a fault befall all lists and counts of positions, until `heal`."""
        with self._lock:
            for function in LISTS:
                self._module.faults.next_call(function, *[fault] * MANY)

    def heal(self) -> None:
        """End all faults."""
        with self._lock:
            self._module.faults.clear()

    @property
    def positions(self) -> list[Any]:
        """The open positions at the broker, whatever the terminal shows."""
        with self._lock:
            self._terminal.settle()
            return list(self._terminal.ledger.positions.values())

    @property
    def sends(self) -> int:
        """How many orders the trade server has answered."""
        with self._lock:
            return self._module.request_id

    # -- time passes -----------------------------------------------------------------------------

    def _market_msc(self) -> int:
        return _now_msc() if self._past_msc is None else self._past_msc

    def _live_through_the_past(self) -> None:
        while self._past_msc is not None:
            self._move_market()
            self._past_msc += PAST_STEP_MS
            if self._past_msc >= _now_msc():
                self._past_msc = None
        self._move_market()
        self._terminal.initialize()

    def _move_market(self) -> None:
        self._bid = round(self._bid + self._chance.choice((-1, 0, 1)) * STEP, 5)
        self._terminal.quote(SYMBOL, self._bid, round(self._bid + 10 * STEP, 5))

    def _live(self) -> None:
        while not self._is_over.is_set():
            self._people.serve_once(TURN_MS)
            with self._lock:
                self._move_market()
                self._terminal.settle()


def _now_msc() -> int:
    return time.time_ns() // 1_000_000
