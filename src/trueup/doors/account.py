"""`Account`: the book of a whole account, with one reading of the broker for all its symbols."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Self, Unpack

import msgspec

from trueup.core.account.trust import Unknown
from trueup.core.book.events import Event, TradingPaused
from trueup.core.claims import stream_of
from trueup.core.holds import Hold
from trueup.core.limits.limits import Limits
from trueup.core.model import Account as BrokerAccount
from trueup.core.model import Snapshot
from trueup.core.policy import Adopt, Policy
from trueup.core.scope import ALL, EVERY_SYMBOL, Scope
from trueup.core.sync.plan import Plan
from trueup.core.tables import table
from trueup.doors.data import DEAL_COLUMNS, DEALS, Data, data_of
from trueup.doors.frames import AUDIT, Library, audit_rows, frame
from trueup.doors.local_gateway import LocalGateway, record_file
from trueup.doors.taking_over import take_over
from trueup.errors import BrokerUnknown, ClaimRefused, FormerWriter, JournalError, Refused
from trueup.gateway.client.execution_gateway import ExecutionGateway
from trueup.gateway.terminal.terminal import Terminal
from trueup.journal import Journal, open_journal
from trueup.journal.database.database import Database
from trueup.logs import Logger, logger
from trueup.runtime.bot.order_checks import SideWord, Wish, check_magic
from trueup.runtime.bot.order_desk import Intent
from trueup.runtime.bot.part import Part
from trueup.runtime.bot.portfolio import PortfolioManager
from trueup.runtime.bot.portfolio_view import PortfolioView
from trueup.runtime.bot.views import Position
from trueup.runtime.sync.reconciler import StateReconciler
from trueup.runtime.sync.results import ReconcilerStatus, SyncResult
from trueup.runtime.time.clock import Clock, SystemClock
from trueup.runtime.trading.callbacks import Callbacks, Called
from trueup.turns import Turn

log: Logger = logger("trueup.account")

# The first question to a gateway is the guide's and proves nothing; the second has the evidence.
READINGS_LEAST = 3
# A terminal that just started, or fails for a moment, is asked again for so long.
ACCOUNT_MS = 2_000
_PAUSE_SEC = 0.05


class Account:
    """The positions, pending orders, deals and money of an account, in one book.

    A sync reads the broker once for all symbols. Several programs may share an account, each with
    a scope of its own: magic numbers, symbols, or both. The stream in the journal is
    `login@server`, with the scope after it (`core.claims.stream_of`). The scope is claimed, so no
    two programs act on the same positions.

    Streams of this account that bots of single symbols wrote to the same journal end here: their
    positions, orders in doubt, keys and money enter this book in one transaction, and a later
    `PortfolioManager` with such a stream is refused. A part of an account takes over the streams
    whose orders and positions are all in its scope.

    Args:
        source: an `ExecutionGateway`, or a terminal: an object with the official module's
            functions, whose calls are then made in this process.
        journal: as for `PortfolioManager`, or a database that is not connected yet.
        magics: the magic numbers of this program; positions with another magic number are foreign.
            The first is the default of its orders. Without any, every position is ours.
        symbols: the symbols of this program; without any, every symbol of the account.
        policy: replaces the policy that follows from `magics` and `symbols`.
        account: the intended account, as login@server; "" for the account of the terminal.
        clock: the source of time.
        claims: whether the scope is claimed; not needed by a book that sends no order.
        limits: risk limits for entries; by default those of the settings, as for
            `PortfolioManager`.
        real_money: whether trading is allowed on an account that is not known to be a demo.
        sync_interval_sec: seconds between two syncs; by default the setting SYNC_INTERVAL_SEC.
        permit: called in the transaction that makes this process the writer of the journal; it
            raises `JournalConflict` to refuse. If it does not, any other writer is fenced out.
        run: as for `PortfolioManager`.

    Raises:
        BrokerUnknown: the account cannot be read.
        ClaimRefused: another program has claimed a part of the scope; the message names it.
        JournalConflict, JournalError, SettingsError: as for `PortfolioManager`; the first also if
            another process writes a stream that is to be taken over.
        ValueError: a magic number, a symbol or the account's name is not valid.
    """

    def __init__(
        self,
        source: ExecutionGateway | Terminal,
        *,
        journal: Journal | Database | str | Path | None = None,
        magics: Iterable[int] = (),
        symbols: Iterable[str] = (),
        policy: Policy | None = None,
        account: str = "",
        clock: Clock | None = None,
        claims: bool = True,
        limits: Limits | None = None,
        real_money: bool = True,
        sync_interval_sec: float | None = None,
        permit: Callable[[Database], None] | None = None,
        run: str | None = None,
    ) -> None:
        self.gateway: ExecutionGateway = (
            source if isinstance(source, ExecutionGateway) else LocalGateway(source, clock=clock)
        )
        self.journal_place: str | Path | None = journal if isinstance(journal, str | Path) else None
        """The file or URL of the journal; None for an open journal, or without one."""
        numbers, names = tuple(dict.fromkeys(magics)), tuple(dict.fromkeys(symbols))
        policy = policy or scope_policy(numbers, names)
        self.name: str = account_of(self.gateway, clock).name
        stream = stream_of(self.name, numbers, names)
        with ExitStack() as undo:
            if isinstance(journal, Database) or (permit and isinstance(journal, str | Path)):
                opened = open_journal(
                    journal,
                    stream,
                    take_over=permit is not None,
                    permit=permit,
                    now_ns=(clock or SystemClock()).now_ns,
                )
                undo.callback(opened.close)
                journal = opened
            self.manager: PortfolioManager = PortfolioManager(
                names[0] if len(names) == 1 else EVERY_SYMBOL,
                journal=journal,
                stream=stream,
                magic=numbers[0] if numbers else 0,
                clock=clock,
                run=run,
                limits=limits,
            )
            undo.pop_all()
        self._intervals: list[float] = []
        self.callbacks: Callbacks = Callbacks(self.manager)
        """The functions that `on` registered."""
        self.claims: bool = claims
        """Whether the scope is claimed."""
        # Also after a value that is not valid, or Ctrl-C: the next attempt must find all free.
        with ExitStack() as undo:
            if self.gateway is not source:
                undo.callback(self.gateway.disconnect)
            undo.callback(self.gateway.release_claim)
            undo.callback(self.manager.close_journal)
            self._claim(policy)
            self._is_named: bool = not self.claims or self.manager.journal is None
            self.manager.watch(self._name_journal)
            # Only after the claim: a refused program must not end the streams of others.
            self.taken_over: tuple[str, ...] = take_over(self.manager, self.name)
            """The earlier streams whose books entered this one now."""
            self.reconciler: StateReconciler = StateReconciler(
                self.manager,
                self.gateway,
                sync_interval_sec,
                policy=policy,
                account=account or self.name,
                real_money=real_money,
            )
            # Only now: the journal and the claim say by name who else has this book.
            if isinstance(self.gateway, LocalGateway) and self.journal_place is not None:
                self.gateway.keep_record(record_file(self.journal_place, self.manager.stream))
            undo.pop_all()

    def _claim(self, policy: Policy) -> None:
        """Claim the scope of a policy, in place of what was claimed so far."""
        if not self.claims:
            return
        magics = tuple(sorted(policy.magics))
        scope = Scope(
            self.manager.run_id,
            self.manager.stream,
            adopt="ours" if magics else ALL,
            magics=magics,
            account=self.name,
            symbols=tuple(sorted(policy.symbols)),
        )
        try:
            self._claim_fenced(scope)
        except ClaimRefused:
            raise
        except Refused as error:
            # An older gateway keeps no claims; its programs are warned of neighbours, as before.
            log.warning("[CLAIM] %s is not claimed: %s", self.manager.stream, error)

    def _claim_fenced(self, scope: Scope) -> None:
        """Claim a scope with the journal's token, before anything of the broker is judged."""
        manager = self.manager
        try:
            self.gateway.claim(scope, manager.journal_id, manager.journal_token)
        except FormerWriter as error:
            # The journal was put back from a backup, and counts from an older token. Only its
            # present writer can raise the token: a former writer fails here.
            manager.raise_token(error.token + 1)
            self.gateway.claim(scope, manager.journal_id, manager.journal_token)

    def _name_journal(self, _: Sequence[Event]) -> None:
        """Name the journal in the claim, once a new journal has its first event.

        Without it, a program that is killed in its first minutes would be refused at its restart.
        """
        if self._is_named:
            return
        # The next event comes soon; a journal in trouble is told elsewhere.
        with suppress(JournalError):
            self.gateway.name_journal(self.manager.journal_id)
            self._is_named = True

    @property
    def turn(self) -> Turn:
        """The lock of a thread that decides from the book; see `PortfolioManager.turn`."""
        return self.manager.turn

    def portfolio(self, symbol: str, *, magic: int | None = None) -> PortfolioView:
        """Return the positions and orders of one symbol as the guide's `PortfolioManager`.

        All portfolios share this account's book, journal and reconciler: `StateReconciler(view,
        account.gateway)` is a handle of the latter.

        Args:
            symbol: the symbol, as the broker spells it.
            magic: only positions and orders with this magic number; None for all of the symbol.
                Then orders carry the account's default number.

        Raises:
            ValueError: the symbol or the magic number is not of this account's scope.
        """
        policy = self.reconciler.policy
        if symbol == EVERY_SYMBOL or not policy.covers(symbol):
            raise ValueError(
                f"symbol={symbol!r:.40} is not valid: the account's symbols are "
                f"{', '.join(sorted(policy.symbols))}."
            )
        number = None if magic is None else check_magic(magic)
        why = "" if number is None else policy.why_not_ours(symbol, number, magic_token=False)
        if why:
            raise ValueError(f"magic={magic} is not valid: by the account's policy {why}.")
        return PortfolioView(
            self.manager, Part(symbol, number), lambda: self.reconciler, self._intervals
        )

    def on(self, kind: type[Event]) -> Callable[[Called], Called]:
        """Return a decorator for a function that is called with each later event of a class.

            @account.on(PositionRecovered)
            def recovered(event: PositionRecovered) -> None: ...

        The classes are in `trueup.events`. `sync` calls the function at its end, and `trueup.run`
        after each step of its loop: never while the book is being changed, so the function may send
        orders. After a restart, earlier events are not repeated.

        Raises:
            TypeError: `kind` is not a class of events.
        """
        return self.callbacks.on(kind)

    def sync(self) -> SyncResult:
        """Compare book and broker now, and correct the book; then call what waits for events.

        Raises:
            StrategyError: a function of `on` failed; the message has its file and line.
        """
        result = self.reconciler.sync_positions()
        self.callbacks.deliver()
        return result

    @property
    def positions(self) -> dict[int, Position]:
        """Each open position by its ticket."""
        return self.manager.get_local_positions()

    @property
    def orders(self) -> Mapping[str, Intent]:
        """All orders by order id, oldest first."""
        return self.manager.orders

    @property
    def realised(self) -> float:
        """The realised result of all counted deals, in the account's currency."""
        return self.manager.realised

    @property
    def health(self) -> str:
        """The state of reconciliation in one sentence."""
        return self.reconciler.health

    @property
    def status(self) -> ReconcilerStatus:
        """The state of reconciliation as plain values."""
        return self.reconciler.get_status()

    @property
    def holds(self) -> tuple[Hold, ...]:
        """The differences that are seen and not acted on, with the reason and the end of each."""
        return self.reconciler.holds

    def plan(self) -> Plan:
        """Return the corrections that a sync would make now; see `StateReconciler.plan`."""
        return self.reconciler.plan()

    def approve(self, hold_id: str, who: str = "a person") -> bool:
        """Approve a hold; see `StateReconciler.approve`."""
        return self.reconciler.approve(hold_id, who)

    def settle(self, order_id: str, ticket: int = 0, who: str = "a person") -> None:
        """Resolve an order in doubt by hand; see `StateReconciler.settle`."""
        self.reconciler.settle(order_id, ticket, who)

    @property
    def paused(self) -> TradingPaused | None:
        """The mode that a person has set; see `PortfolioManager.paused`."""
        return self.manager.paused

    def pause(self, who: str, *, why: str = "") -> TradingPaused:
        """Send nothing that the strategy asks for; see `PortfolioManager.pause`."""
        return self.manager.pause(who, why=why)

    def close_only(self, who: str, *, why: str = "") -> TradingPaused:
        """Refuse entries, and let closes pass; see `PortfolioManager.close_only`."""
        return self.manager.close_only(who, why=why)

    def resume(self, who: str, *, why: str = "") -> bool:
        """Allow every order again; see `PortfolioManager.resume`."""
        return self.manager.resume(who, why=why)

    def submit(self, side: SideWord, volume: float, **wish: Unpack[Wish]) -> Intent:
        """Open a position, or place a pending order; see `PortfolioManager.submit`.

        `symbol` is needed, unless the account's scope is a single symbol.
        """
        return self.manager.submit(side, volume, **wish)

    def close(self, position: Any, volume: float | None = None, **named: Any) -> Intent:
        """Close a position, or `volume` lots of the position; see `PortfolioManager.close`."""
        return self.manager.close(position, volume, **named)

    def modify(self, position: Any, sl: float, tp: float, **named: Any) -> Intent:
        """Set both stops of a position; see `PortfolioManager.modify`."""
        return self.manager.modify(position, sl, tp, **named)

    def cancel(self, order: Any, **named: Any) -> Intent:
        """Cancel a pending order; see `PortfolioManager.cancel`."""
        return self.manager.cancel(order, **named)

    def trades_frame(self, library: Library = "pandas") -> Any:
        """Return the positions, open and closed, as a table of pandas or polars, oldest first.

        docs/reference/data.md has the columns. The table has all positions of the journal; without
        a journal, the open ones and the recently closed ones.

        Raises:
            ImportError: the library is not installed.
            JournalError: the journal cannot be read.
        """
        with self._data() as data:
            return data.trades_frame(library)

    def deals_frame(self, library: Library = "pandas") -> Any:
        """Return the counted deals as a table of pandas or polars, oldest first.

        Columns: `time` (by the trade server's clock), `deal`, `order`, `position`, `symbol`,
        `magic`, `lots` (negative if sold, 0 if the deal moved none), `money` (profit, swap,
        commission and fee, in the account's currency) and `order_id` (the order of yours that made
        the deal). The table has all deals of the journal; without a journal, those of open and
        recently closed positions.

        Raises:
            ImportError: the library is not installed.
            JournalError: the journal cannot be read.
        """
        with self._data() as data:
            rows = (tuple(row[name] for name in DEAL_COLUMNS) for row in data.rows("deals"))
            return frame(library, DEALS, rows)

    def orders_frame(self, library: Library = "pandas") -> Any:
        """Return the orders as a table of pandas or polars, oldest first.

        docs/reference/data.md has the columns. The table has all orders of the journal; without a
        journal, those that the book still knows.

        Raises:
            ImportError: the library is not installed.
            JournalError: the journal cannot be read.
        """
        with self._data() as data:
            return data.orders_frame(library)

    def pnl_frame(self, library: Library = "pandas", *, daily: bool = False) -> Any:
        """Return the results of each strategy as a table of pandas or polars.

        The results add up to `account.realised`. With `daily` the table has the money of the deals
        of each day of the trade server. docs/reference/data.md has the columns.

        Raises:
            ImportError: the library is not installed.
            JournalError: the journal cannot be read.
        """
        with self._data() as data:
            return data.pnl_frame(library, daily=daily)

    def _data(self) -> Data:
        manager = self.manager
        source = manager.book if manager.journal is None else manager.journal
        return data_of(manager.stream, source)

    def audit_frame(self, library: Library = "pandas") -> Any:
        """Return the audit trail as a table of pandas or polars, oldest first.

        Columns: `time` (UTC), `event` (its position in the journal), `action`, `ticket`,
        `order_id`, `details`, `before` and `after`, as in `trueup audit`. Without a journal, the
        corrections that this process has made.

        Raises:
            ImportError: the library is not installed.
            JournalError: the journal cannot be read.
        """
        entries = self.reconciler.get_audit_trail()
        return frame(library, AUDIT, audit_rows(entries, self.manager.journal))

    def __repr__(self) -> str:
        return f"Account({self.name}, positions={len(self.positions)}, {self.health})"

    def _repr_html_(self) -> str:
        """Return the book as tables, for a notebook."""
        return self.manager._repr_html_() + table(self.health, (), ())

    def widen(self, magic: int) -> None:
        """Count the positions with one more magic number as ours from now on.

        Raises:
            ClaimRefused: another program has claimed the number; the scope stays as it was.
        """
        policy = self.reconciler.policy
        # Every other rule of the policy stays as it was given.
        wider = msgspec.structs.replace(policy, magics=policy.magics | {magic})
        self._claim(wider)
        self.reconciler = StateReconciler(
            self.manager,
            self.gateway,
            self.reconciler.sync_interval,
            policy=wider,
            account=self.name,
            real_money=self.reconciler.intended.real_money,
        )

    def shut(self) -> None:
        """Close the journal and the connections."""
        self.manager.close_journal()
        self.gateway.disconnect()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.shut()


def account_of(gateway: ExecutionGateway, clock: Clock | None = None) -> BrokerAccount:
    """Return the account behind a gateway; a reading that fails is repeated for `ACCOUNT_MS`.

    Raises:
        BrokerUnknown: the gateway cannot be read, or does not name its account.
    """
    clock = clock or SystemClock()
    why = "it names no account: it takes a `trueup gateway`"
    end_ns = clock.waiting_ns() + ACCOUNT_MS * 1_000_000
    for number in itertools.count(1):
        reading = gateway.read()
        if isinstance(reading, Unknown):
            why = reading.sentence
        elif reading.evidence is not None:
            return reading.evidence.account
        is_over = isinstance(reading, Snapshot) or clock.waiting_ns() >= end_ns
        if number >= READINGS_LEAST and is_over:
            break
        if isinstance(reading, Unknown):
            clock.sleep(_PAUSE_SEC)
    raise BrokerUnknown(f"The account behind {gateway.url} cannot be read: {why}")


def scope_policy(magics: Iterable[int], symbols: Iterable[str]) -> Policy:
    """Return the policy of a scope: magic numbers and symbols, all of them if none is given."""
    numbers, names = frozenset(magics), frozenset(symbols)
    return Policy(
        symbols=names or frozenset({EVERY_SYMBOL}),
        magics=numbers,
        adopt=Adopt.OURS if numbers else Adopt.ALL,
    )
