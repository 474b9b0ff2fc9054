"""`Modes`: pause, allow only closes, resume and stop, as a person told the bot.

A mode is an event of the journal, so it outlives the process. It is journalled before the person is
answered. While the journal takes nothing, a mode that refuses more orders holds at once, from
memory, and is journalled when the journal works again; `resume` waits for the journal.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from trueup.core.account.health import Restriction
from trueup.core.book import events
from trueup.core.book.events import OrderKind, TradingMode, TradingPaused
from trueup.core.dates import iso
from trueup.core.limits.modes import UNTIL_RESUMED, mode_words, refused_by_mode
from trueup.errors import JournalConflict, JournalError, Paused
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.logs import Logger, logger
from trueup.runtime.bot.kept_book import KeptBook
from trueup.runtime.bot.noting import note
from trueup.runtime.bot.order_checks import check_texts

log: Logger = logger("trueup.portfolio")

SOMEBODY = "a person"
RETCODES = {
    TradingMode.PAUSED: mt5.TRADE_RETCODE_CLIENT_DISABLES_AT,
    TradingMode.CLOSE_ONLY: mt5.TRADE_RETCODE_CLOSE_ONLY,
}


class Modes:
    """The mode of one book.

    Args:
        kept: the book.
        audit: called with events that a person should find in the audit trail.
    """

    def __init__(self, kept: KeptBook, audit: Callable[[Sequence[events.Event]], None]) -> None:
        self._kept, self._audit = kept, audit
        # A mode that the journal has not taken yet.
        self._owed: TradingPaused | None = None
        self._say_standing()

    def note_found(self, history: Sequence[events.Event]) -> None:
        """Say a mode that came with the book of another stream."""
        if any(isinstance(event, events.StreamTakenOver) for event in history):
            self._say_standing()

    def _say_standing(self) -> None:
        """Log the mode that the journal has, so that nobody wonders why a new process is quiet."""
        paused = self.paused
        if paused is not None:
            log.warning(
                "[PERSON] As before the restart, %s since %s (until %s)",
                mode_words(paused),
                iso(paused.at_ns),
                UNTIL_RESUMED,
                extra={"event": f"trading.{paused.mode.value}"},
            )

    @property
    def paused(self) -> TradingPaused | None:
        """The mode that a person has set, None while every order is allowed."""
        return self._owed or self._kept.book.paused

    @property
    def owed(self) -> TradingPaused | None:
        """The mode if it is in memory alone, because the journal takes nothing."""
        return self._owed

    def set(self, mode: TradingMode, who: str, why: str) -> TradingPaused:
        """Set a mode and return it; the same mode again changes nothing.

        Raises:
            ValueError: the name or the reason is no text.
            JournalConflict: another process took the journal over.
        """
        by, why = _said(who, why)
        self._kept.follow()
        paused = self.paused
        if paused is not None and paused.mode is mode:
            return paused
        told = TradingPaused(at_ns=self._kept.clock.now_ns(), by=by, mode=mode, why=why)
        relaxes = paused is not None and mode is TradingMode.CLOSE_ONLY
        try:
            self._record(told)
        except JournalConflict:
            raise
        except JournalError as error:
            if relaxes:
                raise
            self._owed = told
            log.error("[PERSON] %s; kept in memory: %s", mode_words(told), error)
        return told

    def resume(self, who: str, why: str) -> bool:
        """Allow every order again; return whether a mode was set.

        Raises:
            ValueError: the name or the reason is no text.
            JournalError: the journal takes nothing; the mode stays.
        """
        by, why = _said(who, why)
        self._kept.follow()
        if self.paused is None:
            return False
        if self._kept.book.paused is not None:
            self._record(events.TradingResumed(at_ns=self._kept.clock.now_ns(), by=by, why=why))
        self._owed = None
        return True

    def note_stop(self, who: str, why: str) -> None:
        """Journal that a person ends the bot.

        Raises:
            ValueError: the name or the reason is no text.
            JournalError: the journal takes nothing.
        """
        self._note(events.BotStopped, who, why)

    def note_sync(self, who: str, why: str) -> None:
        """Journal that a person asked for a sync; raises as `note_stop`."""
        self._note(events.SyncAsked, who, why)

    def _note(self, kind: type[events.BotStopped | events.SyncAsked], who: str, why: str) -> None:
        by, why = _said(who, why)
        self._kept.follow()
        self._record(kind(at_ns=self._kept.clock.now_ns(), by=by, why=why))

    def record_owed(self) -> None:
        """Journal a mode that is in memory alone.

        Raises:
            JournalError: the journal still takes nothing.
        """
        owed = self._owed
        if owed is None:
            return
        known = self._kept.book.paused
        # An append that seemed to fail may be in the journal after all.
        if known is None or known.mode is not owed.mode:
            self._record(owed)
        self._owed = None

    def refuse(self, kind: OrderKind, *, position: int, target: int, by: str) -> None:
        """Refuse an order that the mode does not allow; see `refused_by_mode`.

        Raises:
            Paused: the mode refuses the order.
        """
        paused = self.paused
        why = refused_by_mode(paused, kind, position=position, target=target, by=by)
        if paused is not None and why:
            raise Paused(f"Nothing was sent: {why}.", retcode=RETCODES[paused.mode])

    def entries_refused(self) -> str:
        """Return why no position may be opened now, or an empty string."""
        return refused_by_mode(self.paused, OrderKind.MARKET)

    def orders_refused(self) -> str:
        """Return why the strategy may send no order at all, or an empty string."""
        paused = self.paused
        is_paused = paused is not None and paused.mode is TradingMode.PAUSED
        return refused_by_mode(paused, OrderKind.MARKET) if is_paused else ""

    def restrictions(self) -> tuple[Restriction, ...]:
        """Return the mode as a restriction of the whole account."""
        paused = self.paused
        if paused is None:
            return ()
        return (Restriction("", mode_words(paused), paused.at_ns, UNTIL_RESUMED),)

    def _record(self, event: events.Event) -> None:
        note(self._kept, self._audit, event)


def _said(who: str, why: str) -> tuple[str, str]:
    """Return a name and a reason without blanks at the ends."""
    by, reason = check_texts(who=who, why=why)
    return by.strip() or SOMEBODY, reason.strip()
