"""Look at the broker again and again, and journal what was seen; send nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from trueup.core.account.trust import Unknown
from trueup.core.book import events
from trueup.core.claims import is_shadow, shadow_stream_of
from trueup.core.limits.limits import Limits
from trueup.core.model import Position
from trueup.core.policy import Policy
from trueup.core.quantity import same
from trueup.core.scope import EVERY_SYMBOL
from trueup.doors.shadow.deals import NOTHING_BEFORE, AccountDeals, Before, News
from trueup.doors.shadow.gateway import WatchingGateway, pause
from trueup.errors import JournalConflict, JournalError
from trueup.journal.backends.location import database_at, is_file
from trueup.journal.overview import overview
from trueup.logs import Logger, logger
from trueup.observe.shadow.making import ReportMaker
from trueup.observe.shadow.report import Finding, ShadowReport
from trueup.runtime.bot.portfolio import PortfolioManager
from trueup.runtime.sync.reconciler import SOON, StateReconciler
from trueup.runtime.time.clock import Clock

log: Logger = logger("trueup.watch")

EVERY_SEC = 2.0
# After a kill, the watch was away since its last row in the journal: so one is written this often.
ALIVE_NS = 60 * 1_000_000_000
# A terminal that restarted or a list that changed while it was read is believed a moment later.
SOON_NS = 10 * 1_000_000_000
NO_DEALS = "The account's deals cannot be read, so who opened and closed is not known"


class ShadowWatch:
    """A book of an account beside another program's bot, kept by reading alone.

    Args:
        gateway: the gateway, as a client that only reads.
        account: the account, as login@server.
        journal: the watch's own journal, a file or a `postgresql://` URL.
        clock: the source of time.
        magics: the bot's magic numbers; without any, all that programs do counts as the bot's.
        server_msc: a time that the trade server's clock had passed before, 0 if not known.

    Raises:
        JournalConflict: another watch writes this journal.
        JournalError: the journal cannot be opened, or has a bot's book, or is of another account.
    """

    def __init__(
        self,
        gateway: WatchingGateway,
        account: str,
        journal: str | Path,
        clock: Clock,
        magics: Sequence[int] = (),
        server_msc: int = 0,
    ) -> None:
        refuse_other_journals(journal, account)
        self._clock, self._gateway = clock, gateway
        self._manager = PortfolioManager(
            EVERY_SYMBOL,
            journal=journal,
            stream=shadow_stream_of(account),
            clock=clock,
            limits=Limits(),
        )
        self._terminal = gateway.terminal()
        self._deals = AccountDeals(self._terminal)
        self._maker = ReportMaker(magics)
        self._swaps: dict[int, float] = {}
        self._covered_msc, self._server_msc = 0, server_msc
        self._believed_ns = self._noted_ns = 0
        # The reason and the sentence of the silence that the journal has; None while all is well.
        self._silence: tuple[str, str] | None = None
        self._said = ""
        self._known: set[tuple[str, int, int, str]] = set()
        self._ended: set[tuple[str, int, int, str]] = set()
        self._reported = 0
        for event in self._manager.recorded() or ():
            self._take(event)
        self._manager.watch(self._take_all)
        policy = Policy(symbols=frozenset({EVERY_SYMBOL}))
        self._reconciler = StateReconciler(
            self._manager, gateway, EVERY_SEC, policy=policy, account=account
        )
        self.fresh()
        self._commit(events.WatchBegan(at_ns=clock.now_ns(), gateway=gateway.url))

    @property
    def trouble(self) -> str:
        """Why the latest look is not believed, or could not be journalled; empty if all is well."""
        unknown = self._reconciler.unknown
        return self._manager.journal_trouble or ("" if unknown is None else unknown.sentence)

    def report(self) -> ShadowReport:
        """Return the report of everything in the journal."""
        return self._maker.report()

    def fresh(self) -> list[Finding]:
        """Return the findings that are new, or have ended, since the last call."""
        if self._reported == self._maker.changes:
            return []
        self._reported, news = self._maker.changes, []
        for one in self._maker.report().findings:
            has_ended = bool(one.until_ns) and one.key not in self._ended
            if one.key not in self._known or has_ended:
                news.append(one)
            self._known.add(one.key)
            if one.until_ns:
                self._ended.add(one.key)
        return news

    def look(self) -> None:
        """Read the broker once, and journal what is new."""
        # Before the positions: a deal between the two readings is then new at the next look.
        first = None if self._deals.has_begun else self._deals_before()
        self._reconciler.refresh()
        unknown = self._reconciler.unknown
        if unknown is not None:
            self._lost(unknown)
            return
        # A journal that takes nothing has not got the book's changes: what follows them waits.
        if self._manager.journal_trouble:
            return
        try:
            self._seen(first)
        except JournalError as error:
            log.error("[WATCH] The journal took no note of this look: %s", error)

    def run(self, every_sec: float, is_over: Callable[[], bool], shown: Callable[[], None]) -> None:
        """Look once, and again and again until `is_over`; call `shown` after each look.

        Raises:
            JournalConflict: another watch has taken the journal over.
        """
        while True:
            self.look()
            shown()
            if self._manager.is_fenced_out:
                raise JournalConflict(f"{self._manager.journal_trouble.rstrip('.')}.")
            pause(self._clock, every_sec, is_over)
            if is_over():
                break
        self._note_end()

    def close(self) -> None:
        """Close the journal and the connections."""
        self._terminal.shutdown()
        self._manager.close_journal()
        self._gateway.disconnect()

    # One look.

    def _deals_before(self) -> Before | str:
        # No question of its own for the clock: each takes a number of the gateway's sequence.
        remote = self._reconciler.remote
        if remote is not None and remote.evidence is not None:
            self._server_msc = max(self._server_msc, remote.evidence.server_time_msc)
        return self._deals.before(self._server_msc, self._clock.now_ns())

    def _seen(self, first: Before | str | None) -> None:
        remote, now_ns = self._reconciler.remote, self._clock.now_ns()
        assert remote is not None
        assert remote.evidence is not None
        evidence = remote.evidence
        # A flat account gives its gateway no symbol to read the server's clock from. And a
        # quotation may come after a newer one.
        server_msc = evidence.server_time_msc or self._deals.server_msc()
        server_msc = max(server_msc, self._covered_msc)
        if first is None:
            news = self._deals.news(self._covered_msc, server_msc, now_ns)
        else:
            # The first look knows what was there before; what came since is news at the second.
            news = News(first if isinstance(first, str) else "")
        if news.trouble and news.trouble != self._said:
            log.warning("[WATCH] %s: %s", NO_DEALS, news.trouble)
        self._said = news.trouble
        before = first if isinstance(first, Before) else NOTHING_BEFORE
        if news.trouble:
            # Deals that were not read are not covered: they are not late when they come.
            server_msc = self._covered_msc
        elif first is not None:
            # The deals were read before the positions, so only up to then.
            server_msc = before.server_msc
        event = events.BrokerSeen(
            at_ns=now_ns,
            server_msc=server_msc,
            covered_msc=self._covered_msc,
            offset_sec=evidence.time_offset_sec,
            deals=tuple(news.deals),
            cash=tuple(news.cash),
            swaps=tuple(self._swap_moves(remote.positions)),
            begin_msc=before.begin_msc,
            known=before.tickets,
        )
        has_news = bool(event.deals or event.cash or event.swaps)
        is_silent = self._silence is not None or not self._believed_ns
        if before.begin_msc or has_news or is_silent or now_ns - self._noted_ns >= ALIVE_NS:
            self._commit(event)
            self._noted_ns = now_ns
        self._covered_msc, self._believed_ns, self._silence = server_msc, now_ns, None
        self._keep_swaps(remote.positions)

    def _lost(self, unknown: Unknown) -> None:
        now_ns = self._clock.now_ns()
        is_short = now_ns - self._believed_ns < SOON_NS
        if unknown.reason in SOON and (self._silence is not None or is_short):
            return
        silence = unknown.reason.value, unknown.sentence
        # A sentence may have a count that grows: only another reason is news.
        if self._silence is not None and self._silence[0] == silence[0]:
            return
        self._silence = silence
        lost = events.ReadingsLost(
            at_ns=now_ns,
            since_ns=self._believed_ns,
            reason=unknown.reason.value,
            because=unknown.sentence,
        )
        try:
            self._commit(lost)
        except JournalError as error:
            log.error("[WATCH] The journal took no note of the silence: %s", error)

    def _note_end(self) -> None:
        """Record the last look, so that the next watch knows how long this one was away."""
        if self._silence is None and self._believed_ns > self._noted_ns:
            try:
                self._commit(
                    events.BrokerSeen(
                        at_ns=self._believed_ns,
                        server_msc=self._covered_msc,
                        covered_msc=self._covered_msc,
                    )
                )
            except JournalError as error:
                log.error("[WATCH] The journal took no note of the end: %s", error)

    def _swap_moves(self, rows: Sequence[Position]) -> list[events.SwapMoved]:
        # The swap of a position that is new here is no change: the watch did not see it before.
        return [
            events.SwapMoved(row.identifier, row.ticket, row.symbol, before, row.swap)
            for row in rows
            if (before := self._swaps.get(row.identifier)) is not None
            and not same(before, row.swap)
        ]

    def _keep_swaps(self, rows: Sequence[Position]) -> None:
        self._swaps = {row.identifier: row.swap for row in rows}

    # The journal.

    def _commit(self, event: events.Event) -> None:
        self._manager.commit([event])

    def _take_all(self, history: Sequence[events.Event]) -> None:
        for event in history:
            self._take(event)

    def _take(self, event: events.Event) -> None:
        self._maker.take(event)
        match event:
            case events.BrokerSeen():
                self._deals.remember(event)
                self._covered_msc = max(self._covered_msc, event.server_msc)
                self._noted_ns = max(self._noted_ns, event.at_ns)
                self._swaps |= {swap.identifier: swap.after for swap in event.swaps}
            case events.PositionAdopted(position=row):
                self._swaps.setdefault(row.identifier, row.swap)
            case events.PositionClosed(position=row):
                self._swaps.pop(row.identifier, None)


def refuse_other_journals(place: str | Path, account: str) -> None:
    """Refuse a journal that has a bot's book, or the watch of another account.

    Raises:
        JournalError: it has, or it cannot be read.
    """
    if is_file(place) and not Path(place).exists():
        return
    own = shadow_stream_of(account)
    for row in overview(place).streams:
        if row.name == own:
            continue
        name = database_at(place).name
        if is_shadow(row.name):
            raise JournalError(
                f"{name} has the watch of {row.name.removeprefix('shadow ')}, and the terminal is "
                f"logged in to {account}: log in to the other account, or give this watch another "
                "--journal."
            )
        raise JournalError(
            f"{name} has the book of a bot ({row.name!r}): give the watch a --journal of its own."
        )
