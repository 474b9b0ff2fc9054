"""`LimitWatch`: the risk limits of one book, its figures in the journal, and its refusals.

The decisions are in `core.limits`. A believed reading brings the figures of the account; deals are
read only after the balance or the credit changed, and at the start of a day that nobody saw. Before
an entry, figures and deals are read anew, so an entry is judged by the money of that moment.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from trueup.core.account.health import Restriction
from trueup.core.account.trust import Unknown
from trueup.core.book import events
from trueup.core.book.book import Book
from trueup.core.limits.decide import Breach, LimitInputs, breaches
from trueup.core.limits.exposure import Entry, Seen
from trueup.core.limits.figures import (
    Ledger,
    Money,
    Unexplained,
    deals_since_ns,
    deals_wanted_ns,
    next_events,
)
from trueup.core.limits.limits import Limits
from trueup.core.model import Snapshot, SymbolSpec
from trueup.errors import JournalError
from trueup.journal import JournalAhead
from trueup.logs import Logger, logger
from trueup.observe.event_words.table import words_of
from trueup.runtime.limits.money import Asked, MoneyReader, money_of
from trueup.runtime.time.clock import Clock

log: Logger = logger("trueup.limits")

# A terminal shows a deal within seconds after the balance. Money without a deal waits this long.
UNEXPLAINED_NS = 10 * 1_000_000_000
NO_FIGURES = "the gateway sends no balance and no equity (it takes a `trueup gateway`)"
NOT_READ = "no reading of the account has been believed yet"


class Ours(Protocol):
    """The book that the limits protect."""

    @property
    def book(self) -> Book:
        """The book."""

    def commit(self, history: Sequence[events.Event]) -> None:
        """Journal events and apply them; raises JournalError."""


class Broker(Protocol):
    """What the limits need of the broker."""

    @property
    def gateway(self) -> Any:
        """The gateway for orders, or None."""

    @property
    def server_time_msc(self) -> int:
        """The trade server's clock, 0 if not known."""

    @property
    def specs(self) -> dict[str, SymbolSpec]:
        """The conditions of each symbol that a reading has shown."""


class LimitWatch:
    """Judges entries by risk limits, and journals what must survive a restart.

    Args:
        limits: the limits.
        ours: the book.
        broker: the gateway and the symbols.
        clock: the source of time.
        audit: called with events that a person should find in the audit trail.
    """

    def __init__(
        self,
        limits: Limits,
        ours: Ours,
        broker: Broker,
        clock: Clock,
        audit: Callable[[Sequence[events.Event]], None],
    ) -> None:
        self.limits: Limits = limits
        self.is_off: bool = limits.is_off
        """Whether there is no limit; then nothing is read, journalled or refused."""
        self._ours, self._broker, self._clock, self._audit = ours, broker, clock, audit
        self._reader = MoneyReader()
        self._seen: Seen | None = None
        self._unread = NOT_READ
        # The clock for waiting at the first reading that deals did not explain, 0 for none.
        self._unexplained_ns = 0
        # Since when (date, ns) each limit refuses entries, by its name and symbol.
        self._since: dict[tuple[str, str], int] = {}
        # The locks whose beginning this program has logged.
        self._logged: set[str] = set()

    def see(self, snapshot: Snapshot, asked_version: int) -> None:
        """Note a believed reading."""
        if self.is_off and not self._has_old_locks:
            return
        unread = str(snapshot.faults[0]) if snapshot.faults else ""
        orders = () if snapshot.evidence is None else snapshot.evidence.orders
        self._seen = Seen(snapshot.positions, orders, asked_version, unread)
        account = None if snapshot.evidence is None else snapshot.evidence.account
        if self.limits.needs_figures or self._has_old_locks:
            self._unread = NO_FIGURES
            if account is not None:
                try:
                    self._note(money_of(account))
                except JournalAhead as error:
                    # The book has newer events now; the next reading is judged by them.
                    self._unread = str(error).rstrip(".")
        self._say()

    def refusal(self, entry: Entry) -> str:
        """Return why a limit refuses an order that may open a position, or an empty string.

        With a limit on money, the account is read before the answer; with a limit on the spread,
        the price is.

        Raises:
            JournalAhead: the journal has events that the book had not applied: decide again.
        """
        if self.is_off:
            return ""
        if self.limits.needs_figures:
            self._read_now()
        spread = 0.0 if self.limits.spread is None else self._spread(entry.symbol)
        self._say()
        found = next(breaches(self._inputs(entry=entry, spread=spread)), None)
        return "" if found is None else _refused(found)

    def standing(self, symbol: str) -> str:
        """Return why a limit refuses every entry in a symbol, or an empty string; asks nothing."""
        found = (one for one in self._standing() if one.symbol in ("", symbol))
        first = next(found, None)
        return "" if first is None else _refused(first)

    def restrictions(self) -> tuple[Restriction, ...]:
        """Return the limits that refuse every entry of their scope; asks nothing."""
        if self.is_off:
            return ()
        now_ns = self._clock.now_ns()
        locks = self._ours.book.reached
        found = []
        for breach in self._standing():
            lock = locks.get(breach.limit)
            since_ns = self._since.get((breach.limit, breach.symbol), now_ns)
            since_ns = lock.at_ns if lock is not None else since_ns
            found.append(Restriction(breach.symbol, breach.reason, since_ns, breach.until))
        return tuple(found)

    def close(self) -> None:
        """Close the connection to the gateway."""
        self._reader.close()

    @property
    def _has_old_locks(self) -> bool:
        # Limits that were removed from the settings may have left a lock in the journal.
        return bool(self._ours.book.reached)

    def _standing(self) -> list[Breach]:
        return [] if self.is_off else list(breaches(self._inputs()))

    def _inputs(self, entry: Entry | None = None, spread: float | str = 0.0) -> LimitInputs:
        return LimitInputs(
            limits=self.limits,
            book=self._ours.book,
            seen=self._seen,
            now_ns=self._clock.now_ns(),
            figures_unread=self._unread,
            spread=spread,
            entry=entry,
        )

    # The figures.

    def _note(self, money: Money) -> None:
        """Journal the figures of a reading; where they need deals, read the account anew."""
        now_ns = self._clock.now_ns()
        since_ns = deals_wanted_ns(self.limits, self._ours.book.figures, money, now_ns)
        if since_ns is None:
            self._commit(money, None, now_ns)
        else:
            self._read(since_ns, now_ns)

    def _read_now(self) -> None:
        """Read figures and deals, and bring the journal up to date."""
        now_ns = self._clock.now_ns()
        # Also without a change of the balance: a deposit and a loss may have cancelled out.
        self._read(deals_since_ns(self.limits, self._ours.book.figures, now_ns), now_ns)

    def _read(self, since_ns: int, now_ns: int) -> None:
        """Read the account with its deals since a time, and journal what changed."""
        book = self._ours.book
        cursor_msc = 0 if book.figures is None else book.figures.deals_msc
        asked = Asked(since_ns, now_ns, cursor_msc, self._broker.server_time_msc)
        read = self._reader.read(self._broker.gateway, asked)
        if isinstance(read, str):
            self._unread = read
        elif book.bound is not None and read.name != book.bound.name:
            self._unread = f"the terminal is logged in to {read.name}"
        else:
            self._commit(read.money, read.ledger, now_ns)

    def _commit(self, money: Money, ledger: Ledger | None, now_ns: int) -> None:
        book, waiting_ns = self._ours.book, self._clock.waiting_ns()
        since_ns = self._unexplained_ns
        found = next_events(
            self.limits,
            book.figures,
            list(book.reached.values()),
            money,
            ledger,
            now_ns,
            is_last_try=bool(since_ns) and waiting_ns - since_ns >= UNEXPLAINED_NS,
        )
        if isinstance(found, Unexplained):
            self._unexplained_ns = since_ns or waiting_ns
            self._unread = found.why
            return
        self._unexplained_ns = 0
        try:
            self._ours.commit(found)
        except JournalAhead:
            raise
        except JournalError as error:
            self._unread = f"the journal takes nothing: {str(error).rstrip('.')}"
            return
        self._unread = ""
        corrections = [event for event in found if words_of(event).is_correction(event)]
        self._audit(corrections)
        for event in corrections:
            if isinstance(event, events.LimitReached):
                self._logged.add(event.limit)
            for line in words_of(event).lines(event):
                log.log(line.level, line.text, extra={"event": line.event})

    def _spread(self, symbol: str) -> float | str:
        spec = self._broker.specs.get(symbol)
        # Readings show the symbols of our positions alone, unless the policy names the symbol.
        gateway = self._broker.gateway
        digits = self._reader.digits(gateway, symbol) if spec is None else spec.digits
        if digits is None:
            return "the decimals of its price cannot be read"
        get_tick = getattr(gateway, "get_tick", None)
        if get_tick is None:
            return "the gateway serves no prices"
        tick = get_tick(symbol)
        if tick is None:
            return "no price came in time"
        if isinstance(tick, Unknown):
            return tick.sentence
        return float(round((tick.ask - tick.bid) * 10**digits, 1))

    # What a person is told.

    def _say(self) -> None:
        """Log each limit that begins to refuse entries, and each that ends, once."""
        now_ns, before = self._clock.now_ns(), self._since
        found = {(one.limit, one.symbol): one for one in self._standing()}
        self._since = {key: before.get(key, now_ns) for key in found}
        for key, breach in found.items():
            # A lock that begins has a line of its own; one of before a restart has none yet.
            if key not in before and breach.limit not in self._logged:
                where = f" in {breach.symbol}" if breach.symbol else ""
                log.warning(
                    "[LIMITS] Entries%s are refused: %s (until %s); nothing is closed",
                    where,
                    breach.reason,
                    breach.until,
                    extra={"event": "limits.refused"},
                )
        for name, symbol in before.keys() - found.keys():
            self._logged.discard(name)
            where = f" in {symbol}" if symbol else ""
            log.info(
                "[LIMITS] The limit of the %s no longer refuses entries%s",
                name,
                where,
                extra={"event": "limits.passed"},
            )


def _refused(breach: Breach) -> str:
    return f"refused by a risk limit: {breach.reason} (until {breach.until})"
