"""Run a strategy: the book and its journal, the loop, the live view, the control port."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
from rich.console import Console

from trueup.cli.shared.ending import stop_on_signals
from trueup.core.model import describe
from trueup.core.policy import Policy
from trueup.errors import Refused
from trueup.gateway.client.endpoints import tcp
from trueup.gateway.client.execution_gateway import ExecutionGateway
from trueup.journal import open_journal
from trueup.journal.backends.location import database_at, is_file
from trueup.logs import Logger, logger
from trueup.observe.live_view.view import LiveView
from trueup.observe.log import when_console_closes
from trueup.observe.status.facts import BotFacts
from trueup.runtime.bot.portfolio import PortfolioManager
from trueup.runtime.control.listener import Control, listening
from trueup.runtime.sync.reconciler import StateReconciler
from trueup.runtime.time.clock import SystemClock, utc
from trueup.runtime.trading.loop import TradingLoop
from trueup.runtime.trading.prices import GatewayPrices, Prices
from trueup.runtime.trading.strategy import Strategy
from trueup.settings import Settings
from trueup.sim.process.playback import LocalPrices
from trueup.sim.process.process import TerminalOptions, play
from trueup.sim.process.whereabouts import Whereabouts

log: Logger = logger("trueup.journal")


class Place(msgspec.Struct, frozen=True):
    """The gateway of the orders; `terminal` is set for the simulated terminal, else None."""

    host: str
    port: int
    terminal: Whereabouts | None = None

    @property
    def url(self) -> str:
        """The gateway's endpoint."""
        return tcp(self.host, self.port)

    @property
    def title(self) -> str:
        """The gateway's name in the title of the live view."""
        kind = "" if self.terminal is None else " (simulated terminal)"
        return f"at {self.url}{kind}"


class Run(msgspec.Struct, frozen=True):
    """The options of a run; `journal` is a file, a URL, or None for no journal.

    `magic` is the magic number of its orders, `volume` the lots of an entry, `real_money` whether
    the user allowed an account with real money.
    """

    place: Place
    settings: Settings
    options: TerminalOptions
    policy: Policy
    magic: int
    volume: float
    journal: str | Path | None
    stream: str
    take_over: bool = False
    real_money: bool = False


def trade(run: Run, trader: Strategy, duration: float | None, *, live: bool) -> None:
    """Trade until an interrupt, or for `duration` seconds.

    Raises:
        JournalConflict: another process writes this stream.
        JournalError: the journal cannot be opened.
        Refused: the account has or may have real money, and `real_money` is not set.
    """
    options = run.options
    # Everything is closed in reverse order, whatever fails: the book last.
    with contextlib.ExitStack() as stack:
        pm = stack.enter_context(_book(run))
        gateway = stack.enter_context(_connection(run))

        def local_prices() -> Prices:
            playback = play(options.feed, options.seed, options.speed, pm.clock)
            return LocalPrices(playback, options.symbol)

        is_simulated = run.place.terminal is not None
        reconciler = StateReconciler(
            pm,
            gateway,
            run.settings.sync_interval_sec,
            policy=run.policy,
            # The account of the settings is not the simulated terminal's.
            account="" if is_simulated else None,
            real_money=run.real_money,
        )
        # A gateway of the guide's protocol has no prices; then the local feed is used.
        prices = GatewayPrices(gateway, pm.symbol, local_prices)
        loop = TradingLoop(pm, reconciler, trader, {pm.symbol: prices}, volume=run.volume)
        stop_on_signals(loop.stop)
        when_console_closes(loop.stop)
        control = stack.enter_context(_controlled(loop, run))
        draw = stack.enter_context(_view(control, prices)) if live else None

        # Control commands run between two turns, so no command sees the book half changed.
        def after_turn() -> None:
            control.turn()
            if draw is not None:
                draw()

        try:
            loop.run(duration, after_turn, control.answer)
        except Refused as refused:
            raise Refused(f"{refused} Give --real-money if you want that.") from None


def _connection(run: Run) -> ExecutionGateway:
    # Keys are for real gateways; the simulated terminal listens on this machine only, without keys.
    plain = None if run.place.terminal is None else ""
    return ExecutionGateway(
        run.place.host, run.place.port, run.settings.gtw_timeout_ms, server_key=plain
    )


@contextlib.contextmanager
def _book(run: Run) -> Iterator[PortfolioManager]:
    """Open the book, restored from its journal."""
    if run.journal is None:
        yield PortfolioManager(symbol=run.options.symbol, stream=run.stream, magic=run.magic)
        return
    clock = SystemClock()
    if isinstance(run.journal, Path):
        run.journal.parent.mkdir(parents=True, exist_ok=True)
    kept = open_journal(
        run.journal,
        run.stream,
        holder="trueup paper",
        take_over=run.take_over,
        now_ns=clock.now_ns,
    )
    pm = PortfolioManager(
        symbol=run.options.symbol, journal=kept, stream=run.stream, magic=run.magic, clock=clock
    )
    # Closed on every way out, so that the next start need not wait for the lock.
    try:
        held = ", ".join(
            f"ticket {h.position.ticket}, {describe(h.position)}" for h in pm.book.holdings.values()
        )
        log.info(
            "[JOURNAL] %s, stream %s: %d events; the book is %s",
            database_at(run.journal).name,
            run.stream,
            kept.position,
            held or "flat",
        )
        yield pm
    finally:
        pm.close_journal()


@contextlib.contextmanager
def _controlled(loop: TradingLoop, run: Run) -> Iterator[Control]:
    """Let a second shell find this bot and send commands."""
    kept = run.journal
    facts = BotFacts(
        pid=os.getpid(),
        started=utc(loop.pm.clock.now_ns()).isoformat(timespec="seconds"),
        gateway=run.place.title,
        endpoint=run.place.url,
        journal="" if kept is None else database_at(kept).name,
        journal_file=str(Path(kept).resolve()) if kept is not None and is_file(kept) else "",
        stream="" if kept is None else run.stream,
    )
    # A connection of its own: a command must not wait behind the loop's requests.
    with _connection(run) as second, listening(loop, second, facts) as control:
        yield control


@contextlib.contextmanager
def _view(control: Control, prices: GatewayPrices) -> Iterator[Callable[[], None]]:
    with LiveView(Console()) as view:

        def draw() -> None:
            foot = "Ctrl-C ends this; positions stay open."
            if prices.is_local:
                foot = f"PRICES FROM THE LOCAL FEED. {foot}"
            view.show(control.status(), foot)

        draw()
        yield draw
