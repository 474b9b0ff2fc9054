"""pytest fixtures with a simulated MetaTrader 5 account, for tests of your own strategy.

Add one line to your `conftest.py`, and request the fixtures by name:

    pytest_plugins = ["trueup.testing"]

pytest does not load this plugin automatically, so trueup costs nothing in a project that does not
use the fixtures. pytest is a dependency of your tests, not of trueup.

| fixture | value |
| --- | --- |
| `simulated_account` | the account; override this fixture for another account |
| `simulated_clock` | the time of account, terminal and gateway; stands until you move the clock |
| `simulated_terminal` | the terminal, with the functions of the official `MetaTrader5` module |
| `simulated_gateway` | a running gateway in front of that terminal, on a loopback port |

Each test has a new instance of every fixture. This module also exports the classes of the fixtures
and the faults for `simulated_terminal.faults`.
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
    """A gateway for a simulated terminal, in a separate thread.

    The gateway serves the real wire protocol on a real port, `host` and `port`, so your tests use
    the same client as your bot.
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
        """Whether the gateway answers requests."""
        return self._thread is not None

    def client(self, timeout_ms: int = 2_000) -> ExecutionGateway:
        """Return a new client of this gateway, as a bot uses."""
        return ExecutionGateway(self.host, self.port, timeout_ms)

    @contextlib.contextmanager
    def terminal(self) -> Iterator[SimulatedTerminal]:
        """Give exclusive access to the terminal for a block, between two requests of clients."""
        with self._lock:
            yield self._terminal

    def start(self) -> None:
        """Start a stopped gateway on the same port as before; a running gateway continues."""
        if self._thread is not None:
            return
        # A new name for each run: clients must see that the gateway was restarted.
        self._boots += 1
        clock = self._clock
        clocks = Clocks(clock.now_ns, clock.age_ns, clock.waiting_ns)
        desk = Desk(self._terminal, f"test{self._boots}", clock.now_ns, clocks=clocks)
        server = Server(f"tcp://{HOST}:{self.port}", anybody(self._alone(desk)))
        self.port = server.port
        self._stopped.clear()
        # A daemon, so that a test that forgets to stop the gateway does not keep the process alive.
        self._thread = threading.Thread(target=self._serve, args=(server, desk), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop the gateway: requests stay unanswered, and the account keeps its state."""
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

    Override this fixture in your `conftest.py`, for example for a netting account:

        @pytest.fixture
        def simulated_account() -> AccountSetup:
            return AccountSetup(margin_mode=0, balance=2_500.0)
    """
    return AccountSetup()


@pytest.fixture
def simulated_clock() -> ManualClock:
    """The time of the account, the terminal and the gateway; starts with the machine's time.

    The clock stands still until `simulated_clock.advance(seconds)`. Give the clock to your bot as
    well: `PortfolioManager(..., clock=simulated_clock)`.
    """
    return ManualClock(SystemClock().now_ns())


@pytest.fixture
def simulated_terminal(
    simulated_account: AccountSetup, simulated_clock: ManualClock
) -> SimulatedTerminal:
    """A terminal that is logged in, with a price of EURUSD (1.10000 and 1.10010).

    The terminal has the official module's functions as methods and its constants as attributes, and
    replaces `import MetaTrader5 as mt5`. `quote(symbol, bid, ask)` moves the market. `person`
    trades by hand, and `robot(magic)` trades as another program. `faults` makes calls fail,
    `disconnect()` cuts the link to the server, and `break_pipe()` breaks the pipe.
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
    """A running gateway for `simulated_terminal`; the gateway stops at the end of the test.

    While the gateway runs, use the terminal only inside
    `with simulated_gateway.terminal() as terminal:`.
    """
    gateway = SimulatedGateway(simulated_terminal, simulated_clock)
    try:
        yield gateway
    finally:
        gateway.stop()
