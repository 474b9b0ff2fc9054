"""`Door`: the official module's 32 functions for one account at a time."""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from trueup.core.dates import iso
from trueup.doors.account import Account, account_of
from trueup.doors.mt5 import requests
from trueup.doors.mt5.entry_gate import Question, Read
from trueup.doors.mt5.latest_error import LatestError
from trueup.doors.mt5.opening import (
    OPTIONS,
    Behind,
    NotInitialised,
    Opener,
    Options,
    open_behind,
    options_of,
)
from trueup.doors.mt5.readings import Readings
from trueup.doors.mt5.session import Session
from trueup.doors.mt5.streams import (
    book_with,
    comments_in,
    numbers_of,
    refuse_unusable,
    waits_elsewhere,
)
from trueup.errors import (
    BrokerUnknown,
    ClaimRefused,
    JournalConflict,
    OutcomeUnknown,
    Refused,
    TrueupError,
)
from trueup.gateway.client.execution_gateway import ExecutionGateway
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.gateway.terminal.call_wire import SUCCESS, Call, Error, failed
from trueup.gateway.terminal.forwarding import ForwardingTerminal
from trueup.gateway.terminal.mt5 import ModuleMissing
from trueup.journal.backends.location import is_file
from trueup.logs import Logger, logger
from trueup.runtime.control.programs import JOURNAL_FILE, Program, note_program
from trueup.runtime.control.state_files import state_folder
from trueup.runtime.time.clock import Clock
from trueup.settings import account_setting
from trueup.sim.market.structs import OrderSendResult, TradeRequest
from trueup.sim.terminal.arguments import (
    BadArgument,
    ListQuery,
    parse_history_query,
    parse_list_query,
    parse_request,
    parse_span,
)
from trueup.turns import Turn

log: Logger = logger("trueup.mt5")

# Downloads and subscriptions; over a gateway they have a connection of their own.
PRICES = frozenset(
    {
        *("copy_rates_from", "copy_rates_from_pos", "copy_rates_range"),
        *("copy_ticks_from", "copy_ticks_range"),
        *("market_book_add", "market_book_get", "market_book_release"),
    }
)
NOT_OPEN: Error = (
    mt5.RES_E_INTERNAL_FAIL_CONNECT,
    mt5.LAST_ERROR_TEXTS[mt5.RES_E_INTERNAL_FAIL_CONNECT],
)
OTHER_LOGIN: Error = (
    mt5.RES_E_AUTH_FAILED,
    f"{mt5.LAST_ERROR_TEXTS[mt5.RES_E_AUTH_FAILED]}: the gateway's terminal is logged in to "
    "another account; log in at that terminal",
)


class Door(ForwardingTerminal):
    """The functions of the official module, with the same arguments and return values.

    Lists and figures are returned only once they are proven, else the module's value for a failed
    call, with the reason in `last_error()`. Orders are journalled, and sent at most once.

    Thread-safe; see `LatestError` for `last_error()` in programs of several threads.

    Args:
        opener: opens what stands behind the door.
        clock: the source of time.
    """

    def __init__(self, opener: Opener = open_behind, clock: Clock | None = None) -> None:
        self._opener, self._clock = opener, clock
        self._turn = Turn()
        self._latest = LatestError()
        self._options = Options()
        self._behind: Behind | None = None
        self._session: Session | None = None
        # What the program was not told, also by a closed door. It outlives a session: many programs
        # initialize again after a call that failed, and then act by that call.
        self._unproven: dict[Question, Read] = {}
        self._unproven_at = ""

    @property
    def account(self) -> Account:
        """The account behind the functions.

        Raises:
            BrokerUnknown: `initialize` has not succeeded yet.
        """
        if self._session is None:
            raise BrokerUnknown("No account is open: call initialize() first.")
        return self._session.account

    def last_error(self) -> Error:
        """Code and text of the latest call."""
        return self._latest.asked()

    # -- open and close ------------------------------------------------------------------------

    def initialize(self, *args: Any, **kwargs: Any) -> bool:
        """Open the account and its journal; an open account is closed first.

        The arguments are those of the module, and further named ones of `Options`.
        """
        with self._latest.call(), self._turn:
            self.shutdown()
            named = {name: value for name, value in kwargs.items() if name not in OPTIONS}
            given = {name: value for name, value in kwargs.items() if name in OPTIONS}
            return self._opened(lambda: self._open(options_of(given), args, named))

    def _open(self, options: Options, args: tuple[Any, ...], named: Mapping[str, Any]) -> None:
        self._options = options
        self._behind = self._opener(options, args, named)
        self._session = self._first_session(named)
        atexit.register(self.shutdown)

    def login(self, *args: Any, **kwargs: Any) -> bool:
        """Log in to another account; its own book is opened, and doubts of the former stay."""
        with self._latest.call(), self._turn:
            behind = self._behind
            if behind is None:
                return self._fail(*NOT_OPEN)
            if not behind.login(*args, **kwargs):
                error = behind.lists.last_error()
                return self._fail(*(OTHER_LOGIN if error == SUCCESS else error))
            self._close_session()
            named = {**dict(zip(("login", "password", "server"), args, strict=False)), **kwargs}
            return self._opened(lambda: self._log_in(named))

    def _log_in(self, named: Mapping[str, Any]) -> None:
        self._session = self._first_session(named)

    def _opened(self, open_it: Callable[[], None]) -> bool:
        """Open, and return whether that succeeded; `last_error()` has the reason."""
        self._latest.error = SUCCESS
        try:
            open_it()
        except NotInitialised as error:
            self._fail(*error.error)
        except WrongAccount as error:
            self._fail(mt5.RES_E_AUTH_FAILED, _text(mt5.RES_E_AUTH_FAILED, error))
        except ModuleMissing as error:
            self._fail(mt5.RES_E_INTERNAL_FAIL_INIT, _text(mt5.RES_E_INTERNAL_FAIL_INIT, error))
        except ValueError as error:
            self._fail(mt5.RES_E_INVALID_PARAMS, _text(mt5.RES_E_INVALID_PARAMS, error))
        except TrueupError as error:
            self._fail(mt5.RES_E_FAIL, _text(mt5.RES_E_FAIL, error))
        if self._session is not None:
            return True
        # Close what is half open, and keep the reason.
        why = self._latest.error
        self.shutdown()
        return self._fail(*why)

    def shutdown(self, *args: Any, **kwargs: Any) -> bool:
        """Close journal, connections and worker; always True."""
        with self._latest.call(), self._turn:
            self._latest.error = SUCCESS
            self._close_session()
            behind, self._behind = self._behind, None
            if behind is not None:
                behind.close()
                atexit.unregister(self.shutdown)
        return True

    def _close_session(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.deliveries.note_arrival(is_last=True)
            session.account.manager.close_journal()
            session.account.gateway.release_claim()

    # -- which book ----------------------------------------------------------------------------

    def _first_session(self, named: Mapping[str, Any]) -> Session:
        """Open the book of the program if its magic number is known, else a book for reading."""
        assert self._behind is not None
        gateway = self._behind.gateway()
        name = account_of(gateway, self._clock).name
        _refuse_other_account(name, named)
        if self._unproven_at not in ("", name):
            self._unproven.clear()
        self._unproven_at = name
        if self._options.magic is not None:
            return self._session_of((self._options.magic,), name, gateway)
        # The first order tells the number. A book in the journal may be another program's, which
        # is not running now: nothing is claimed by a guess.
        refuse_unusable(self._journal())
        session = self._session_of((), name, gateway)
        session.readings.learn_comments(comments_in(self._journal(), name))
        return session

    def _session_of(
        self, magics: tuple[int, ...], name: str, gateway: ExecutionGateway | None = None
    ) -> Session:
        """Open the book of magic numbers; without any, a book in memory that is only for reading.

        Args:
            magics: the numbers.
            name: the account, as login@server.
            gateway: a gateway that no book has yet; by default a new one.

        Raises:
            JournalConflict: another process writes this book.
        """
        assert self._behind is not None
        account = Account(
            gateway or self._behind.gateway(),
            journal=self._journal() if magics else None,
            magics=magics,
            account=name,
            clock=self._clock,
            claims=bool(magics),
        )
        try:
            # The numbers that the program used before belong to its scope, too.
            for magic in sorted(numbers_of(account.orders.values()) - set(magics)):
                if magics:
                    account.widen(magic)
        except TrueupError:
            account.manager.close_journal()
            account.gateway.release_claim()
            raise
        session = Session(account, self._behind.lists, self._options.waits)
        session.gate.unproven = self._unproven
        if magics:
            note_program(_program_of(account))
        return session

    def _journal(self) -> Any:
        if self._options.journal:
            return self._options.journal
        folder = state_folder()
        folder.mkdir(parents=True, exist_ok=True)
        return folder / JOURNAL_FILE

    def _session_for(self, request: TradeRequest) -> Session:
        """Return the session whose book takes the request; the first order fixes the book.

        Raises:
            ClaimRefused: another program has claimed the magic number.
            JournalConflict, JournalError: the book cannot be opened; nothing was sent.
        """
        session = self._session
        assert session is not None
        account = session.account
        magic = session.magic_of(request)
        if magic is not None and not account.manager.keeps_journal:
            name, earlier, first = account.name, session, None
            try:
                first = book_with(self._journal(), name, magic)
                if first is None:
                    # A program that only trails the stops of others must not claim their number.
                    first = magic if requests.opens(request) else int(request.magic)
                self._session = session = self._session_of((first,), name)
                if requests.opens(request):
                    self._admit(session, magic)
            except TrueupError as error:
                # The reading book goes on: nothing was sent, and reading stays possible.
                self._session = self._session_of((), name)
                self._session.take_over(earlier)
                if requests.opens(request) or not isinstance(error, ClaimRefused | JournalConflict):
                    raise
                # The plain class: a newer writer's error, a kind of the first, has more arguments.
                refused = ClaimRefused if isinstance(error, ClaimRefused) else JournalConflict
                raise refused(
                    f"This program gave no magic number, and the book of magic {first or 0} is "
                    "another program's. A program that acts on positions of others takes a number "
                    f"of its own: initialize(magic=...), or the setting TRUEUP_MAGIC. ({error})"
                ) from error
            session.take_over(earlier)
        elif magic is not None and requests.opens(request):
            self._admit(session, magic)
        return session

    def _admit(self, session: Session, magic: int) -> None:
        """Take one more magic number into the program's book, if the number is new there.

        Raises:
            ClaimRefused: another program has claimed the number.
            Refused: another book has an order of it whose outcome was not given.
        """
        account = session.account
        if magic in account.reconciler.policy.magics:
            return
        why = waits_elsewhere(self._journal(), account.name, magic, account.manager.stream)
        if why:
            raise Refused(why)
        account.widen(magic)

    # -- calls ---------------------------------------------------------------------------------

    def _call(self, function: str, *args: Any, **kwargs: Any) -> Any:
        with self._latest.call():
            behind, session = self._behind, self._session
            if behind is None or session is None:
                self._fail(*NOT_OPEN)
                return failed(function)
            session.deliveries.note_arrival()
            terminal = behind.prices if function in PRICES else behind.lists
            value = getattr(terminal, function)(*args, **kwargs)
            self._latest.error = terminal.last_error()
            return value

    def _fail(self, code: int, text: str) -> bool:
        self._latest.error = (code, text)
        return False

    def _in_session(self, function: str, ask: Callable[[Session], Any]) -> Any:
        """Ask the session; a bad argument or a value without proof has its reason."""
        with self._latest.call():
            self._latest.error = SUCCESS
            session = self._session
            if session is None:
                self._fail(*NOT_OPEN)
                return failed(function)
            session.deliveries.note_arrival()
            try:
                value = ask(session)
            except BadArgument as bad:
                self._fail(mt5.RES_E_INVALID_PARAMS, bad.text)
                return failed(function)
            if value is None and self._latest.error == SUCCESS:
                # The call may have opened another book, and that one has the reason.
                why = (self._session or session).why
                if self._options.on_doubt == "raise":
                    kind = OutcomeUnknown if function == "order_send" else BrokerUnknown
                    raise kind(f"{function}: {why}")
                code = mt5.RES_E_INTERNAL_FAIL_TIMEOUT
                self._fail(code, f"{mt5.LAST_ERROR_TEXTS[code]}: {why}")
            return value

    def _proven(self, function: str, parse: Callable[[], tuple[Question, Read]]) -> Any:
        """Return a proven value; None without proof, and the question is kept."""
        with self._latest.call():
            if self._session is None:
                # A closed door tells nothing, and the program may take that for an empty list.
                with suppress(BadArgument, SystemError):
                    question, read = parse()
                    self._unproven[question] = read
            return self._in_session(function, lambda session: session.gate.proven(*parse()))

    # -- readings ------------------------------------------------------------------------------

    def account_info(self, *args: Any, **kwargs: Any) -> Any:
        """The account; None unless the terminal is proven to be logged in to it."""

        def parse() -> tuple[Question, Read]:
            return Question("account_info"), lambda asked: asked.own_account(*args, **kwargs)

        return self._proven("account_info", parse)

    def positions_total(self, *args: Any, **kwargs: Any) -> Any:
        """The number of open positions."""
        rows = self.positions_get(*args, **kwargs)
        return None if rows is None else len(rows)

    def orders_total(self, *args: Any, **kwargs: Any) -> Any:
        """The number of pending orders."""
        rows = self.orders_get(*args, **kwargs)
        return None if rows is None else len(rows)

    def positions_get(self, *args: Any, **kwargs: Any) -> Any:
        """Open positions of the account, by symbol, ticket or group; None without proof."""
        return self._list("positions_get", Readings.positions, args, kwargs)

    def orders_get(self, *args: Any, **kwargs: Any) -> Any:
        """Pending orders of the account, by symbol, ticket or group; None without proof."""
        return self._list("orders_get", Readings.orders, args, kwargs)

    def _list(self, function: str, read: Read, args: tuple[Any, ...], kwargs: Any) -> Any:
        def parse() -> tuple[Question, Read]:
            query = parse_list_query(function, args, kwargs)
            question = Question(function, None if query == ListQuery() else query)

            def chosen(asked: Readings) -> tuple[Any, ...] | None:
                rows = read(asked)
                return None if rows is None else query.chosen(rows)

            return question, chosen

        return self._proven(function, parse)

    def history_orders_total(self, *args: Any, **kwargs: Any) -> Any:
        """The number of finished orders in a span of server time; None without proof."""
        return self._counted("history_orders_total", args)

    def history_deals_total(self, *args: Any, **kwargs: Any) -> Any:
        """The number of deals in a span of server time; None without proof."""
        return self._counted("history_deals_total", args)

    def _counted(self, function: str, args: tuple[Any, ...]) -> Any:
        def parse() -> tuple[Question, Read]:
            since_one = _since_one(args)
            parse_span(function, since_one)
            call = Call(function, since_one)
            return Question(function), lambda asked: asked.counted(call)

        return self._proven(function, parse)

    def history_orders_get(self, *args: Any, **kwargs: Any) -> Any:
        """Finished orders in a span of server time, or by ticket or position."""
        return self._past("orders", args, kwargs)

    def history_deals_get(self, *args: Any, **kwargs: Any) -> Any:
        """Deals in a span of server time, or by ticket or position."""
        return self._past("deals", args, kwargs)

    def _past(self, listed: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        function = f"history_{listed}_get"

        def parse() -> tuple[Question, Read]:
            since_one = _since_one(args)
            query = parse_history_query(function, since_one, kwargs)
            call = Call(function, since_one, kwargs)
            # Spans end now, so each call has another one: a later span answers an earlier one.
            span = None if query.span is None else (0, 0)
            question = Question(function, msgspec.structs.replace(query, span=span))
            return question, lambda asked: asked.history(listed, call, query)

        return self._proven(function, parse)

    # -- orders --------------------------------------------------------------------------------

    def order_send(self, *args: Any, **kwargs: Any) -> Any:
        """Send a request at most once; None while its outcome is in doubt.

        An outcome that the program has not been given is given first, and then nothing is sent.
        """

        def ask(session: Session) -> OrderSendResult | None:
            request = parse_request("order_send", args, kwargs)
            # One order at a time; readings of other threads go on while an order is in doubt.
            with self._turn:
                if session.magic_of(request) is None and not session.account.manager.keeps_journal:
                    return self._said(session, session.not_listed(request))
                try:
                    taker = self._session_for(request)
                except TrueupError as error:
                    return self._said(session, session.refused(request, str(error)))
                return self._said(taker, taker.send(request))

        return self._in_session("order_send", ask)

    def _said(self, session: Session, result: OrderSendResult | None) -> OrderSendResult | None:
        """Return a result; `last_error()` has the reason too where the door sent nothing.

        Some programs look at `last_error()` alone, and take any other answer for an order.
        """
        if session.refusal:
            text = f"{mt5.LAST_ERROR_TEXTS[mt5.RES_E_FAIL]}: {session.refusal}"
            self._fail(mt5.RES_E_FAIL, text)
            session.refusal = ""
        return result


class WrongAccount(TrueupError):
    """The terminal is logged in to another account than the intended one."""


def _program_of(account: Account) -> Program:
    place = account.journal_place
    return Program(
        pid=os.getpid(),
        name=Path(sys.argv[0]).name or "python",
        started=iso(account.manager.clock.now_ns()),
        account=account.name,
        stream=account.manager.stream,
        journal_file=os.path.abspath(place) if place is not None and is_file(place) else "",
    )


def _refuse_other_account(name: str, named: Mapping[str, Any]) -> None:
    login, _, server = name.partition("@")
    wanted, at = named.get("login"), named.get("server")
    if (wanted and str(wanted) != login) or (at and at != server):
        raise WrongAccount(f"account {name} is logged in, and {wanted or ''}@{at or ''} was asked")
    setting = account_setting()
    if setting and setting != name:
        raise WrongAccount(f"account {name} is logged in, and TRUEUP_ACCOUNT={setting}")


def _since_one(dates: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the dates of a span with second 1 in place of second 0.

    The official module leaves a date of exactly 0 uninitialised, and programs mean "all" by it.
    """
    return tuple(1 if type(date) in (int, float) and 0 <= date < 1 else date for date in dates)


def _text(code: int, error: Exception) -> str:
    return f"{mt5.LAST_ERROR_TEXTS[code]}: {error}"
