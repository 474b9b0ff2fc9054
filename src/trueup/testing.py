"""pytest fixtures: a simulated MetaTrader 5 account to test your own strategy against.

Put one line into your `conftest.py`, and ask for the fixtures by name:

    pytest_plugins = ["trueup.testing"]

It is not a plugin that pytest finds by itself, so a project that has trueup installed and does not
ask pays nothing. pytest itself comes with your tests, and is no dependency of trueup.

| fixture | what it is |
| --- | --- |
| `simulated_account` | the account; override it to have another |
| `simulated_clock` | the time of account, terminal and gateway; it stands until you move it |
| `simulated_terminal` | the terminal, with the functions of the official `MetaTrader5` module |
| `simulated_gateway` | a running gateway in front of that terminal, on a loopback port |

Each test has its own. Beside the fixtures this module has what they are made of, and the faults
that `simulated_terminal.faults` takes.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

import pytest

from trueup.gateway.client.execution_gateway import ExecutionGateway
from trueup.gateway.desk.desk import Desk
from trueup.gateway.server.sockets import Server, anybody
from trueup.gateway.terminal.clocks import Clocks
from trueup.runtime.time.clock import ManualClock, SystemClock
from trueup.sim.market.switches import Switches
from trueup.sim.market.symbols import AccountSetup, SymbolSetup
from trueup.sim.terminal.terminal import SimulatedTerminal
from trueup.sim.terminal.terminal_faults import (
    Answered,
    AnswerLost,
    AnswersEmpty,
    AnswersPartial,
    AnswersStale,
    DoneWithoutDeal,
    Fails,
    Hang,
    Partial,
    PlacedLater,
    TimedOut,
)

__all__ = [
    "AccountSetup",
    "AnswerLost",
    "Answered",
    "AnswersEmpty",
    "AnswersPartial",
    "AnswersStale",
    "DoneWithoutDeal",
    "Fails",
    "Hang",
    "ManualClock",
    "Partial",
    "PlacedLater",
    "SimulatedGateway",
    "SimulatedTerminal",
    "Switches",
    "SymbolSetup",
    "TimedOut",
    "simulated_account",
    "simulated_clock",
    "simulated_gateway",
    "simulated_terminal",
]

HOST = "127.0.0.1"
SPREAD = 0.00010
_TURN_MS = 20
_ENDS_SEC = 10.0


class SimulatedGateway:
    """A gateway in front of a simulated terminal, in a thread of its own.

    It speaks the real wire on a real port, so that what you test is what you run. `host` and `port`
    say where.
    """

    def __init__(self, terminal: SimulatedTerminal, clock: ManualClock) -> None:
        self._terminal, self._clock = terminal, clock
        self._lock = threading.Lock()
        self._boots = 0
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self.host: str = HOST
        self.port: int = 0
        self.start()

    @property
    def is_running(self) -> bool:
        """Whether it answers."""
        return self._thread is not None

    def client(self, timeout_ms: int = 2_000) -> ExecutionGateway:
        """Return a new client, as a bot has one."""
        return ExecutionGateway(self.host, self.port, timeout_ms)

    @contextlib.contextmanager
    def terminal(self) -> Iterator[SimulatedTerminal]:
        """Have the terminal to yourself for a block: between two requests, never inside one."""
        with self._lock:
            yield self._terminal

    def start(self) -> None:
        """Start it, on the port that it had before; one that runs goes on."""
        if self._thread is not None:
            return
        self._boots += 1
        clock = self._clock
        clocks = Clocks(clock.now_ns, clock.age_ns, clock.waiting_ns)
        desk = Desk(self._terminal, f"test{self._boots}", clock.now_ns, clocks=clocks)
        server = Server(f"tcp://{HOST}:{self.port}", anybody(self._alone(desk)))
        self.port = server.port
        self._stopped.clear()
        self._thread = threading.Thread(target=self._serve, args=(server, desk), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End it: from here on nobody answers, and the account lives on."""
        if self._thread is not None:
            self._stopped.set()
            self._thread.join(_ENDS_SEC)
            self._thread = None

    def _alone(self, desk: Desk) -> Callable[[bytes], bytes]:
        def handle(raw: bytes) -> bytes:
            with self._lock:
                return desk.handle(raw)

        return handle

    def _serve(self, server: Server, desk: Desk) -> None:
        with server, contextlib.closing(desk):
            while not self._stopped.is_set():
                server.serve_once(_TURN_MS)


@pytest.fixture
def simulated_account() -> AccountSetup:
    """The account: hedging, 10,000 USD, leverage 100.

    Override it in your `conftest.py` for another, such as a netting one:

        @pytest.fixture
        def simulated_account() -> AccountSetup:
            return AccountSetup(margin_mode=0, balance=2_500.0)
    """
    return AccountSetup()


@pytest.fixture
def simulated_clock() -> ManualClock:
    """The time of the account, the terminal and the gateway, beginning with the machine's.

    It stands still until `simulated_clock.advance(seconds)`. Give it to what is tested as well:
    `PortfolioManager(..., clock=simulated_clock)`.
    """
    return ManualClock(SystemClock().now_ns())


@pytest.fixture
def simulated_terminal(
    simulated_account: AccountSetup, simulated_clock: ManualClock
) -> SimulatedTerminal:
    """A terminal that is logged in, with a price of EURUSD (1.10000 and 1.10010).

    It has the official module's functions as methods and its constants as attributes, and stands
    where `import MetaTrader5 as mt5` would. Move the market with `quote(symbol, bid, ask)`; trade
    by hand with `person`, as another program with `robot(magic)`; let calls fail with `faults`, the
    link with `disconnect()`, the pipe with `break_pipe()`.
    """
    terminal = SimulatedTerminal(
        account=simulated_account, now_msc=lambda: simulated_clock.now_ns() // 1_000_000
    )
    assert terminal.initialize()
    terminal.quote("EURUSD", 1.10000, 1.10000 + SPREAD)
    return terminal


@pytest.fixture
def simulated_gateway(
    simulated_terminal: SimulatedTerminal, simulated_clock: ManualClock
) -> Iterator[SimulatedGateway]:
    """A running gateway in front of `simulated_terminal`; it ends with the test.

    While it runs, touch the terminal inside `with simulated_gateway.terminal() as terminal:` only.
    """
    gateway = SimulatedGateway(simulated_terminal, simulated_clock)
    try:
        yield gateway
    finally:
        gateway.stop()
