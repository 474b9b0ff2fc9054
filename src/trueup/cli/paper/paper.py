"""`trueup paper`: run a strategy on paper and keep its book in agreement with the broker.

The book is journalled, so the next start continues after the last end, however the process ended.
Each simulated terminal is an account of its own that begins without positions, so each terminal has
a stream of its own in the journal.
"""

from __future__ import annotations

import datetime as dt
import sys
from pathlib import Path
from typing import Annotated

import typer

from trueup.cli.paper.policy import (
    PAPER_MAGIC,
    AdoptChoice,
    AdoptOption,
    AlertOption,
    AskOption,
    CommentOption,
    MagicOption,
    StopLossOption,
    make_policy,
)
from trueup.cli.paper.run import Place, Run, trade
from trueup.cli.shared.journal_place import PaperJournalOption, paper_journal
from trueup.cli.shared.log_options import LogJsonOption, set_up_log
from trueup.cli.shared.say import say
from trueup.cli.terminal.terminal import (
    Account,
    AccountOption,
    FeedOption,
    SeedOption,
    SpeedOption,
)
from trueup.errors import SettingsError
from trueup.gateway.client.endpoints import Endpoint, endpoint_of
from trueup.journal.backends.location import database_at
from trueup.runtime.bot.portfolio import PortfolioManager
from trueup.runtime.control.state_files import state_folder
from trueup.runtime.trading.strategy import MovingAverageCross
from trueup.runtime.trading.strategy_loading import load_strategy
from trueup.settings import Settings, load_settings
from trueup.sim.process.process import DEFAULT_SPEED, TerminalOptions, play
from trueup.sim.process.starting import start_terminal
from trueup.sim.process.whereabouts import find_terminal

LOG_FILE = "paper.log"


def paper(
    gateway: Annotated[
        str | None,
        typer.Option(
            metavar="tcp://HOST:PORT",
            help="Trade at this gateway. Without --gateway, trade at the simulated terminal of "
            "this folder, which is started if needed; GTW_HOST and GTW_PORT are not used.",
        ),
    ] = None,
    # Without this option an account that may be real is refused at the first look.
    real_money: Annotated[
        bool,
        typer.Option(
            "--real-money",
            help="Trade at the gateway even if its account may not be a demo.",
        ),
    ] = False,
    symbol: Annotated[str, typer.Option(help="The symbol to trade.")] = "EURUSD",
    volume: Annotated[float, typer.Option(min=0.00000001, help="Lots of an entry.")] = 0.01,
    strategy: Annotated[
        str | None,
        typer.Option(
            metavar="MODULE:CLASS", help="Your strategy; by default a moving-average cross."
        ),
    ] = None,
    # Where the book is kept, and under which name.
    journal: PaperJournalOption = None,
    no_journal: Annotated[
        bool, typer.Option("--no-journal", help="Keep the book only in memory.")
    ] = False,
    stream: Annotated[
        str | None,
        typer.Option(
            help="The name of this book in the journal. By default the symbol; at a simulated "
            "terminal, the symbol and when the terminal was started."
        ),
    ] = None,
    take_over: Annotated[
        bool,
        typer.Option(
            "--take-over",
            help="Take the journal over from the process that writes the journal. That process "
            "can then neither record nor send anything, and ends.",
        ),
    ] = False,
    # The policy: which positions are ours, and how each kind of difference is treated.
    magic: MagicOption = None,
    comment_prefix: CommentOption = "",
    adopt: AdoptOption = None,
    ask: AskOption = None,
    alert: AlertOption = None,
    expects_stop_loss: StopLossOption = False,
    # Only for a terminal that this command starts: a running terminal keeps its own.
    account: AccountOption = Account.HEDGING,
    feed: FeedOption = "bars",
    seed: SeedOption = 0,
    speed: SpeedOption = DEFAULT_SPEED,
    duration: Annotated[
        float | None,
        typer.Option(min=0.0, metavar="SECONDS", help="End after this long; Ctrl-C before."),
    ] = None,
    plain: Annotated[
        bool, typer.Option("--plain", help="Print log lines instead of the live view.")
    ] = False,
    log: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the log to a file as well.")
    ] = None,
    log_json: LogJsonOption = False,
) -> None:
    """Run a strategy on paper and keep its book reconciled.

    Without --gateway, the command finds or starts a simulated terminal, a process of its own. The
    terminal and its positions stay when this command ends, as with a real terminal. --account,
    --feed, --seed and --speed only apply to a terminal that this command starts.

    Meanwhile, commands in a second shell in this folder ask the bot: `trueup status`,
    `trueup plan`, `trueup approve`.
    """
    settings = load_settings()
    live = sys.stdout.isatty() and not plain
    # The live view takes the whole screen, so the log goes to a file.
    if live and log is None:
        log = state_folder() / LOG_FILE
    set_up_log(console=not live, file=log, as_json=log_json)
    policy = make_policy(
        symbol,
        magic,
        comment_prefix,
        adopt or (AdoptChoice.ALL if gateway is None else AdoptChoice.OURS),
        ask,
        alert,
        expects_stop_loss=expects_stop_loss,
    )
    # Everything that can be refused is checked before a terminal is started.
    kept = _journal_place(journal, no_journal=no_journal)
    trader = MovingAverageCross() if strategy is None else load_strategy(strategy)
    options = TerminalOptions(
        account=account.value, symbol=symbol, feed=feed, seed=seed, speed=speed
    )
    place = _place(gateway, settings, options)
    stream = stream or default_stream(symbol, place)
    own_magic = magic[0] if magic else PAPER_MAGIC
    run = Run(
        place,
        settings,
        options,
        policy,
        own_magic,
        volume,
        kept,
        stream,
        take_over=take_over,
        real_money=real_money,
    )
    trade(run, trader, duration, live=live)
    _say_what_stays(place, kept)


def _journal_place(journal: str | None, *, no_journal: bool) -> str | Path | None:
    """Return the place of the journal; refuse an invalid place before anything starts."""
    if no_journal:
        if journal is not None:
            raise SettingsError("--journal", journal, "--no-journal is given as well: give one")
        return None
    place = journal or paper_journal()
    database_at(place)
    return place


def default_stream(symbol: str, place: Place) -> str:
    """Return the name of the book in the journal: each simulated terminal is a new account."""
    if place.terminal is None:
        return symbol
    started = dt.datetime.fromisoformat(place.terminal.started)
    name = f"{symbol}-sim-{started:%Y%m%dT%H%M%S}"
    # The terminals of two folders may start in the same second, and their bots share a journal.
    # A terminal of an earlier release notes whole seconds: its book keeps its name.
    return f"{name}-{started:%f}" if started.microsecond else name


def _place(gateway: str | None, settings: Settings, options: TerminalOptions) -> Place:
    if gateway is not None:
        return Place(*endpoint_of(gateway, "--gateway"))
    if settings.gateway_is_configured:
        url = Endpoint(settings.gtw_host, settings.gtw_port).url
        say(f"GTW_HOST and GTW_PORT are not used: --gateway {url} trades there.")
    running = find_terminal()
    if running is None:
        play(options.feed, options.seed, options.speed, PortfolioManager().clock)
        running = start_terminal(options)
        say(f"Started a simulated terminal, process {running.pid} at {running.gateway}.")
    else:
        say(f"Found the simulated terminal, process {running.pid} at {running.gateway}.")
    return Place("127.0.0.1", running.port, running)


def _say_what_stays(place: Place, kept: str | Path | None) -> None:
    if place.terminal is None:
        say(f"Ended. What is open at {place.url} stays open.")
    else:
        say(
            f"Ended. The simulated terminal goes on, process {place.terminal.pid}, and so do its "
            "positions: see them with `trueup trade list`, stop it with `trueup terminal --stop`."
        )
    if kept is not None:
        say(f"All events are in {database_at(kept).name}: `trueup audit`, `trueup replay`.")
