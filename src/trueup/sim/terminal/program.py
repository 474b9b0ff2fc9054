"""State of the terminal program: pipe, link to the server, login, and buttons.

Each event that can happen to the terminal between the Python module and the trade server is a
method or an attribute of `TerminalProgram`. These events never change the broker's ledger.
"""

from __future__ import annotations

import enum
import random
from collections.abc import Callable, Sequence
from typing import Any

from trueup.gateway.terminal import mt5_constants as mt5
from trueup.sim.broker.broker import Broker
from trueup.sim.broker.ledger import Ledger
from trueup.sim.market.market import Market
from trueup.sim.market.structs import AccountInfo, TradeRequest
from trueup.sim.market.switches import Switches
from trueup.sim.market.symbols import DEFAULT_SYMBOLS, AccountSetup, SymbolSetup
from trueup.sim.terminal.person import Person
from trueup.sim.terminal.terminal_faults import CallFault, Fails, Hang, Meanwhile, TerminalFaults
from trueup.sim.terminal.view import View

SUCCESS: tuple[int, str] = (mt5.RES_S_OK, mt5.LAST_ERROR_TEXTS[mt5.RES_S_OK])
"""The value of `last_error()` after a successful call."""


class Pipe(enum.Enum):
    """The connection between the Python module and the terminal."""

    CLOSED = "no handle: calls report -10004, those for lists of symbols -5"
    OPEN = "works"
    BREAKS_ON_SEND = "the next call reports -10001, later ones -10004"
    BREAKS_ON_RECEIVE = "the next call reports -10002, later ones -10004"
    JAMMED = "the handle stays and every call reports -10001"


class CallFailed(Exception):
    """A module call failed; `last_error()` has the reason. Never leaves the simulated terminal."""

    def __init__(self, code: int, text: str | None = None) -> None:
        super().__init__(code)
        self.error: tuple[int, str] = (code, mt5.LAST_ERROR_TEXTS[code] if text is None else text)


class TerminalProgram:
    """A terminal program on a broker. Times are UTC milliseconds of the injected clock."""

    def __init__(
        self,
        *,
        account: AccountSetup | None = None,
        other_accounts: Sequence[AccountSetup] = (),
        symbols: Sequence[SymbolSetup] = DEFAULT_SYMBOLS,
        now_msc: Callable[[], int] | None = None,
        switches: Switches | None = None,
        rng: random.Random | None = None,
        broker: Broker | None = None,
        login: int | None = None,
    ) -> None:
        """Start logged in to `account`, synchronised, with a closed pipe.

        Without `broker` the terminal creates a broker from `account`, `other_accounts`, `symbols`
        and `now_msc`. With `broker` the terminal logs in to the broker's account `login` (default:
        the first account).

        Raises:
            TypeError: neither `now_msc` nor `broker` is given, or `broker` together with an account
                or switches.
        """
        if broker is None:
            if now_msc is None:
                raise TypeError("a terminal needs now_msc or a broker")
            # The first account of the broker is the login of this terminal.
            first = account if account is not None else AccountSetup()
            broker = Broker(
                accounts=(first, *other_accounts),
                symbols=symbols,
                now_msc=now_msc,
                switches=switches,
            )
        elif account is not None or switches is not None:
            raise TypeError("accounts and switches belong to the broker that is given")
        # The switches are the broker's, so that all terminals of a broker behave alike.
        self.broker = broker
        self.switches: Switches = broker.switches
        self.faults: TerminalFaults = TerminalFaults()
        self.rng: random.Random = rng if rng is not None else random.Random(0)
        self.home_login: int = login if login is not None else next(iter(broker.desks))
        """The account at the start of the terminal; `ledger` is its ledger."""
        self.view: View = self._new_view(self.home_login)
        self.selected: set[str] = {
            name for name, setup in broker.market.setups.items() if setup.selected
        }
        """Symbols shown in Market Watch."""
        self.books: set[str] = set()
        """Symbols with a subscription to the depth of market."""
        self.pipe: Pipe = Pipe.CLOSED
        self.running: bool = True
        """Whether the program runs; `initialize()` starts a stopped program."""
        self.build: int = 5120
        self.algo_trading = True
        """The Algo Trading button; off: sends are answered 10027."""
        self.python_trading_disabled = False
        """The option against automated trading by external Python programs."""
        self.request_id: int = self.switches.first_request_id
        self._owed: list[TradeRequest] = []
        # State of the module, which lasts from call to call.
        self.error: tuple[int, str] = SUCCESS
        self.fault: CallFault | None = None
        self.last_answers: dict[str, tuple[Any, ...]] = {}
        self.altered = 0
        """Number of list answers that a queued fault has changed."""
        self._account_row: tuple[tuple[object, ...], AccountInfo] | None = None

    def _new_view(self, login: int) -> View:
        self.current_login = login
        """The login of the account that the terminal is logged in to now."""
        return View(self.broker, self.broker.ledger(login), self.faults, self.rng)

    # -- broker and other traders --------------------------------------------------------------

    @property
    def ledger(self) -> Ledger:
        """The broker's ledger of the account at the start of the terminal."""
        return self.broker.ledger(self.home_login)

    @property
    def market(self) -> Market:
        """Specifications, sessions and liquidity of the broker's symbols."""
        return self.broker.market

    @property
    def person(self) -> Person:
        """The account's owner at another desktop terminal (magic 0, reason CLIENT)."""
        return Person(self.broker, self.home_login)

    def somebody(self, reason: int) -> Person:
        """Return the account's owner at a phone (`ORDER_REASON_MOBILE`) or browser (`..._WEB`)."""
        return Person(self.broker, self.home_login, reason)

    def robot(self, magic: int) -> Person:
        """Return another trading program on the account (reason EXPERT)."""
        return Person(self.broker, self.home_login, mt5.ORDER_REASON_EXPERT, magic)

    def quote(self, symbol: str, bid: float, ask: float) -> None:
        """Set a new price; pending orders, stops and stop outs are triggered at once."""
        self.broker.quote(symbol, bid, ask)

    def next_request_id(self) -> int:
        """Return the `request_id` of the next answer of the server."""
        if self.switches.random_request_ids:
            return self.rng.getrandbits(32)
        self.request_id += 1
        return self.request_id - 1

    def settle(self) -> None:
        """Run the due events of the server and deliver the due messages to the terminal."""
        self.broker.settle()
        self.view.refresh()

    # -- the pipe ------------------------------------------------------------------------------

    def break_pipe(self, *, on_send: bool = False) -> None:
        """Break the pipe: the next call fails at the write (-10001) or the read (-10002).

        Later calls report -10004. The request of the failed call is not executed; to lose the
        answer of an executed request, queue the fault `AnswerLost`.
        """
        if self.pipe is not Pipe.CLOSED:
            self.pipe = Pipe.BREAKS_ON_SEND if on_send else Pipe.BREAKS_ON_RECEIVE

    def jam_pipe(self) -> None:
        """Make every write fail with -10001 until `shutdown()` and `initialize()`."""
        if self.pipe is not Pipe.CLOSED:
            self.pipe = Pipe.JAMMED

    def reach(self, function: str) -> None:
        """Pass a call through the pipe; set `fault` to the fault that changes the answer."""
        broken = self.pipe
        if broken is not Pipe.OPEN:
            # The first call on a broken pipe reports the break; later calls find a closed pipe.
            if broken in (Pipe.BREAKS_ON_SEND, Pipe.BREAKS_ON_RECEIVE):
                self.pipe = Pipe.CLOSED
            raise CallFailed(
                without_connection(function) if broken is Pipe.CLOSED else _PIPE_ERRORS[broken]
            )
        # The call must see all events that are due by now.
        self.broker.settle()
        self.view.refresh()
        self.fault = self.faults.take_call(function)
        if self.fault is None:
            return
        match self.fault:
            case Fails(code, text, breaks_pipe):
                if breaks_pipe:
                    self.pipe = Pipe.CLOSED
                raise CallFailed(code, text)
            case Hang():
                self.faults.on_hang(function)
            case Meanwhile(deed):
                deed()
                self.broker.settle()
                self.view.refresh()
                self.fault = None
            case _:
                # The other faults change the rows of the answer, later in the call.
                pass

    # -- the program ---------------------------------------------------------------------------

    def stop(self) -> None:
        """End the terminal program; for the module the pipe is broken."""
        self.break_pipe()
        self.running = False

    def start(self) -> None:
        """Start the program; the terminal logs in again and synchronises."""
        self.running = True
        self.request_id = self.switches.first_request_id
        self.view.restart()

    def restart(self, *, build: int | None = None) -> None:
        """Stop and start the program, as an automatic update does."""
        self.stop()
        if build is not None:
            self.build = build
        self.start()

    # -- the link ------------------------------------------------------------------------------

    @property
    def is_connected(self) -> bool:
        """Whether the link to the trade server is up; the terminal can show another state."""
        return self.view.connected

    def disconnect(self) -> None:
        """Cut the link to the trade server."""
        self.settle()
        self.view.disconnect()

    def reconnect(self) -> None:
        """Restore the link, and execute the requests kept by `owe`."""
        self.view.reconnect()
        owed, self._owed = self._owed, []
        for request in owed:
            self.broker.execute(self.current_login, request, mt5.ORDER_REASON_EXPERT)
        self.settle()

    def owe(self, request: TradeRequest) -> None:
        """Keep a request for execution after the link is restored."""
        self._owed.append(request)

    # -- the login -----------------------------------------------------------------------------

    @property
    def investor(self) -> bool:
        """Whether the login is read-only."""
        return self.view.investor

    @investor.setter
    def investor(self, is_investor: bool) -> None:
        self.view.investor = is_investor

    def switch_account(self, login: int, *, investor: bool = False) -> None:
        """Log in to another account, as a person at the terminal can at any time."""
        connected = self.view.connected
        self.view.close()
        self.view = self._new_view(login)
        self.view.investor = investor
        self.view.restart()
        if not connected:
            self.view.disconnect()

    def authorise(self, login: int, password: str, server: str) -> bool:
        """Log in with credentials; False if the server refuses the credentials."""
        desk = self.broker.desks.get(login)
        if desk is None or server not in ("", desk.setup.server):
            return False
        setup = desk.setup
        investor = bool(setup.investor_password) and password == setup.investor_password
        if setup.password and password and password != setup.password and not investor:
            return False
        if login == self.current_login:
            self.view.investor = investor
        else:
            self.switch_account(login, investor=investor)
        return True

    def shows_symbol(self, symbol: str) -> bool:
        """Return whether Market Watch shows a symbol: selected, or with a position or order."""
        if symbol in self.selected:
            return True
        exposure = self.view.held.by_symbol.get(symbol)
        held = exposure is not None and bool(exposure.identifiers)
        return held or any(order.symbol == symbol for order in self.view.orders.values())


def without_connection(function: str) -> int:
    """Return the error of a call without an open pipe, as seen with module 5.0.6231.

    The lists of symbols check the terminal's build first, and report the missing build.
    """
    asks_the_build = function in ("symbols_total", "symbols_get")
    return mt5.RES_E_INVALID_VERSION if asks_the_build else mt5.RES_E_INTERNAL_FAIL_CONNECT


_PIPE_ERRORS = {
    Pipe.BREAKS_ON_SEND: mt5.RES_E_INTERNAL_FAIL_SEND,
    Pipe.BREAKS_ON_RECEIVE: mt5.RES_E_INTERNAL_FAIL_RECEIVE,
    Pipe.JAMMED: mt5.RES_E_INTERNAL_FAIL_SEND,
}
