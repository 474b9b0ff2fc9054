"""The terminal as a program: its pipe, its link, its login, its buttons.

Everything that can befall the terminal between the Python module and the trade server is a method
or an attribute here. None of it touches the broker's ledger.
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
from trueup.sim.terminal.terminal_faults import CallFault, Fails, Hang, TerminalFaults
from trueup.sim.terminal.view import View

SUCCESS: tuple[int, str] = (mt5.RES_S_OK, mt5.LAST_ERROR_TEXTS[mt5.RES_S_OK])
"""What `last_error()` says after a call that went well."""


class Pipe(enum.Enum):
    """The connection between the Python module and the terminal."""

    CLOSED = "no handle: calls report -10004, those for lists of symbols -5"
    OPEN = "works"
    BREAKS_ON_SEND = "the next call reports -10001, later ones -10004"
    BREAKS_ON_RECEIVE = "the next call reports -10002, later ones -10004"
    JAMMED = "the handle stays and every call reports -10001"


class CallFailed(Exception):
    """A module call fails; `last_error()` says how. Never leaves the simulated terminal."""

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
        """Start logged in to `account`, synchronised, the pipe not yet open.

        Either a broker is made from `account`, `other_accounts`, `symbols` and `now_msc`, or the
        terminal joins the given `broker` and logs in to its account `login` (default: its first).
        """
        if broker is None:
            if now_msc is None:
                raise TypeError("a terminal needs now_msc or a broker")
            first = account if account is not None else AccountSetup()
            broker = Broker(
                accounts=(first, *other_accounts),
                symbols=symbols,
                now_msc=now_msc,
                switches=switches,
            )
        elif account is not None or switches is not None:
            raise TypeError("accounts and switches belong to the broker that is given")
        self.broker = broker
        self.switches: Switches = broker.switches
        self.faults: TerminalFaults = TerminalFaults()
        self.rng: random.Random = rng if rng is not None else random.Random(0)
        self.home_login: int = login if login is not None else next(iter(broker.desks))
        """The account that the terminal started with; `ledger` is its ledger."""
        self.view: View = self._new_view(self.home_login)
        self.selected: set[str] = {
            name for name, setup in broker.market.setups.items() if setup.selected
        }
        """Symbols shown in Market Watch."""
        self.books: set[str] = set()
        """Symbols whose depth of market is subscribed to."""
        self.pipe: Pipe = Pipe.CLOSED
        self.running: bool = True
        """The program runs; `initialize()` starts it otherwise."""
        self.build: int = 5120
        self.algo_trading = True
        """The Algo Trading button; off: sends are answered 10027."""
        self.python_trading_disabled = False
        """The option against automated trading by external Python programs."""
        self.request_id: int = self.switches.first_request_id
        self._owed: list[TradeRequest] = []
        # What the module remembers of the calls made so far.
        self.error: tuple[int, str] = SUCCESS
        self.fault: CallFault | None = None
        self.last_answers: dict[str, tuple[Any, ...]] = {}
        self.altered = 0
        """How many answers of a list a queued fault has changed."""
        self._account_row: tuple[tuple[object, ...], AccountInfo] | None = None

    def _new_view(self, login: int) -> View:
        self.current_login = login
        """The account that the terminal is logged in to now, by its number among the broker's."""
        return View(self.broker, self.broker.ledger(login), self.faults, self.rng)

    # -- the world around it -------------------------------------------------------------------

    @property
    def ledger(self) -> Ledger:
        """The broker's truth about the account that the terminal started with."""
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
        """The account's owner elsewhere: `ORDER_REASON_MOBILE`, `ORDER_REASON_WEB`."""
        return Person(self.broker, self.home_login, reason)

    def robot(self, magic: int) -> Person:
        """Another trading program on the account (reason EXPERT)."""
        return Person(self.broker, self.home_login, mt5.ORDER_REASON_EXPERT, magic)

    def quote(self, symbol: str, bid: float, ask: float) -> None:
        """Give the broker a new price; pending orders, stops and stop outs follow at once."""
        self.broker.quote(symbol, bid, ask)

    def next_request_id(self) -> int:
        """The number of an answer of the server."""
        if self.switches.random_request_ids:
            return self.rng.getrandbits(32)
        self.request_id += 1
        return self.request_id - 1

    def settle(self) -> None:
        """Let what is due by now happen at the server and arrive at the terminal."""
        self.broker.settle()
        self.view.refresh()

    # -- the pipe ------------------------------------------------------------------------------

    def break_pipe(self, *, on_send: bool = False) -> None:
        """Break the pipe: the next call fails in writing (-10001) or reading (-10002), later
        ones report -10004. A request cut off this way was not executed; for one that was, queue
        the fault `AnswerLost`."""
        if self.pipe is not Pipe.CLOSED:
            self.pipe = Pipe.BREAKS_ON_SEND if on_send else Pipe.BREAKS_ON_RECEIVE

    def jam_pipe(self) -> None:
        """Make every write fail with -10001 until `shutdown()` and `initialize()`."""
        if self.pipe is not Pipe.CLOSED:
            self.pipe = Pipe.JAMMED

    def reach(self, function: str) -> None:
        """Get a call through the pipe; `fault` is then the queued fault that shapes its answer."""
        broken = self.pipe
        if broken is not Pipe.OPEN:
            if broken in (Pipe.BREAKS_ON_SEND, Pipe.BREAKS_ON_RECEIVE):
                self.pipe = Pipe.CLOSED
            raise CallFailed(
                without_connection(function) if broken is Pipe.CLOSED else _PIPE_ERRORS[broken]
            )
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
            case _:
                pass

    # -- the program ---------------------------------------------------------------------------

    def stop(self) -> None:
        """End the terminal program; the module notices by a broken pipe."""
        self.break_pipe()
        self.running = False

    def start(self) -> None:
        """Start the program: it logs in again and has to synchronise."""
        self.running = True
        self.request_id = self.switches.first_request_id
        self.view.restart()

    def restart(self, *, build: int | None = None) -> None:
        """End and start the program, as an update of itself does."""
        self.stop()
        if build is not None:
            self.build = build
        self.start()

    # -- the link ------------------------------------------------------------------------------

    @property
    def is_connected(self) -> bool:
        """The link to the trade server is up, whatever the terminal shows."""
        return self.view.connected

    def disconnect(self) -> None:
        """Cut the link to the trade server."""
        self.settle()
        self.view.disconnect()

    def reconnect(self) -> None:
        """Bring the link back."""
        self.view.reconnect()
        owed, self._owed = self._owed, []
        for request in owed:
            self.broker.execute(self.current_login, request, mt5.ORDER_REASON_EXPERT)
        self.settle()

    def owe(self, request: TradeRequest) -> None:
        """Keep a request to execute it when the link is back."""
        self._owed.append(request)

    # -- the login -----------------------------------------------------------------------------

    @property
    def investor(self) -> bool:
        """Logged in read-only."""
        return self.view.investor

    @investor.setter
    def investor(self, is_investor: bool) -> None:
        self.view.investor = is_investor

    def switch_account(self, login: int, *, investor: bool = False) -> None:
        """Log in to another account, as a hand at the terminal can at any time."""
        connected = self.view.connected
        self.view.close()
        self.view = self._new_view(login)
        self.view.investor = investor
        self.view.restart()
        if not connected:
            self.view.disconnect()

    def authorise(self, login: int, password: str, server: str) -> bool:
        """Log in with credentials; False when the server refuses them."""
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
        """In Market Watch, by choice or because something is held or ordered in it."""
        if symbol in self.selected:
            return True
        exposure = self.view.held.by_symbol.get(symbol)
        held = exposure is not None and bool(exposure.identifiers)
        return held or any(order.symbol == symbol for order in self.view.orders.values())


def without_connection(function: str) -> int:
    """Return the error of a call while no pipe is open, as seen with module 5.0.6231.

    The lists of symbols compare the terminal's build first, and then there is none.
    """
    asks_the_build = function in ("symbols_total", "symbols_get")
    return mt5.RES_E_INVALID_VERSION if asks_the_build else mt5.RES_E_INTERNAL_FAIL_CONNECT


_PIPE_ERRORS = {
    Pipe.BREAKS_ON_SEND: mt5.RES_E_INTERNAL_FAIL_SEND,
    Pipe.BREAKS_ON_RECEIVE: mt5.RES_E_INTERNAL_FAIL_RECEIVE,
    Pipe.JAMMED: mt5.RES_E_INTERNAL_FAIL_SEND,
}
