"""`trueup run`: run a strategy of one's own on an account, with the settings of this folder."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from typer.core import TyperGroup

from trueup.cli.run.install import install
from trueup.cli.run.many import run_many
from trueup.cli.shared.accounts_place import accounts_option
from trueup.cli.shared.journal_place import JournalOption, paper_journal
from trueup.cli.shared.log_options import LogJsonOption, set_up_log
from trueup.cli.shared.say import say
from trueup.core.model import describe
from trueup.doors.account import Account
from trueup.doors.running.opening import opened
from trueup.doors.running.run import run
from trueup.errors import Refused, SettingsError
from trueup.journal.backends.location import database_at
from trueup.logs import Logger, logger
from trueup.observe.live_view.view import LiveView
from trueup.observe.status.status import Status
from trueup.runtime.control.state_files import state_folder
from trueup.runtime.trading.strategy import METHODS
from trueup.runtime.trading.strategy_loading import load_strategy
from trueup.settings import Settings, listed, load_settings

log: Logger = logger("trueup.run")


LOG_FILE = "run.log"
FOOT = "Ctrl-C ends this; positions stay open."


class RunGroup(TyperGroup):
    """The group of `trueup run`: its first word is a strategy, unless it is a command's name."""

    def parse_args(self, ctx: Any, args: list[str]) -> Any:
        """Put in an empty strategy in front of a command, which would be taken for the strategy."""
        if args[:1] == ["install"]:
            return super().parse_args(ctx, ["", *args])
        # Options may come after the strategy, as in any command.
        ctx.allow_interspersed_args = True
        return super().parse_args(ctx, args)


app: typer.Typer = typer.Typer(cls=RunGroup, invoke_without_command=True, rich_markup_mode=None)
app.command("install")(install)


@app.callback()
def start(
    ctx: typer.Context,
    strategy: Annotated[
        str | None,
        typer.Argument(metavar="[MODULE:CLASS]", help="Your strategy; by default TRUEUP_STRATEGY."),
    ] = None,
    # Each option replaces a setting, so that a single run can differ from the file.
    gateway: Annotated[
        str | None,
        typer.Option(
            metavar="tcp://HOST:PORT",
            help="Trade at this gateway; by default TRUEUP_GATEWAY, or the terminal of this "
            "machine.",
        ),
    ] = None,
    simulated: Annotated[
        bool, typer.Option("--simulated", help="Trade at the simulated terminal of this folder.")
    ] = False,
    journal: JournalOption = None,
    symbol: Annotated[
        list[str] | None,
        typer.Option(help="A symbol of the bot; repeatable. By default TRUEUP_SYMBOLS."),
    ] = None,
    magic: Annotated[
        int | None,
        typer.Option(min=0, max=2**64 - 1, help="The bot's magic number; by default TRUEUP_MAGIC."),
    ] = None,
    volume: Annotated[
        float | None,
        typer.Option(help="Lots of an entry by a signal; by default TRUEUP_VOLUME."),
    ] = None,
    real_money: Annotated[
        bool,
        typer.Option("--real-money", help="Trade even if the account may not be a demo."),
    ] = False,
    duration: Annotated[
        float | None,
        typer.Option(min=0.0, metavar="SECONDS", help="End after this long; Ctrl-C before."),
    ] = None,
    plain: Annotated[
        bool, typer.Option("--plain", help="Print log lines instead of the live view.")
    ] = False,
    log_file: Annotated[
        Path | None,
        typer.Option("--log", metavar="FILE", help="Write the log to a file as well."),
    ] = None,
    log_json: LogJsonOption = False,
    accounts: Annotated[
        str | None,
        accounts_option(
            "Run all accounts of this file, or of the table in this database, in one process, "
            "instead of one bot."
        ),
    ] = None,
) -> None:
    """Run your strategy on an account, with its settings.

    Settings come from the environment, `.env` and `trueup.toml` of this folder; `trueup config
    show` prints them. From a second shell in this folder, `trueup status`, `plan`, `approve`,
    `pause`, `close` and the other commands reach the bot. `trueup run install` writes a service
    file that keeps the bot running.

    With --accounts, one process runs all accounts of a file or of a table in PostgreSQL, and
    follows its changes; `trueup accounts` lists them, and the commands take --account NAME.
    """
    if ctx.invoked_subcommand is not None:
        return
    if accounts is not None:
        others = {
            "a strategy": strategy,
            "--gateway": gateway,
            "--simulated": simulated,
            "--journal": journal,
            "--symbol": symbol,
            "--magic": magic,
            "--volume": volume,
            "--real-money": real_money,
        }
        run_many(
            accounts, duration_sec=duration, log_file=log_file, log_json=log_json, others=others
        )
        return
    settings = load_settings(
        trueup_strategy=strategy or None,
        trueup_gateway=gateway,
        trueup_simulated=simulated or (False if gateway else None),
        trueup_symbols=",".join(symbol) if symbol else None,
        trueup_magic=magic,
        trueup_volume=volume,
        trueup_real_money=real_money or None,
        trueup_journal=journal,
    )
    if simulated and gateway is None:
        settings = settings.model_copy(update={"trueup_gateway": ""})
    live = sys.stdout.isatty() and not plain
    # The live view takes the whole screen, so the log goes to a file.
    if live and log_file is None:
        log_file = state_folder() / LOG_FILE
    set_up_log(console=not live, file=log_file, as_json=log_json)
    # Everything that can be refused is checked before a terminal is started.
    trader = load_strategy(named_strategy(settings), METHODS, "TRUEUP_STRATEGY")
    if trader.has("on_tick") and not listed(settings.trueup_symbols):
        valid = "name the symbols whose prices on_tick gets: --symbol EURUSD, or TRUEUP_SYMBOLS"
        raise SettingsError("TRUEUP_SYMBOLS", settings.trueup_symbols, valid)
    place = settings.trueup_journal or paper_journal()
    database_at(place)
    with opened(settings, place) as account, _view(live=live) as view:
        _log_book(account, place)
        try:
            run(
                account,
                trader,
                volume=settings.trueup_volume,
                duration_sec=duration,
                view=view,
            )
        except Refused as refused:
            # The only refusal that ends the loop: orders are refused one by one.
            said = f"{refused} Give --real-money (TRUEUP_REAL_MONEY=1) if you want that."
            raise Refused(said) from None
    say("Ended. Positions and pending orders stay as they are.")


@contextlib.contextmanager
def _view(*, live: bool) -> Iterator[Callable[[Status], None] | None]:
    """Yield the function that draws the live view; None if the log is on the console."""
    if not live:
        yield None
        return
    with LiveView(Console()) as screen:
        yield lambda status: screen.show(status, FOOT)


def named_strategy(settings: Settings) -> str:
    """Return the name of the strategy.

    Raises:
        SettingsError: none is named.
    """
    if not settings.trueup_strategy:
        valid = "name your strategy: trueup run my_bot:Breakout, or TRUEUP_STRATEGY"
        raise SettingsError("TRUEUP_STRATEGY", "", valid)
    return settings.trueup_strategy


def _log_book(account: Account, place: str | Path) -> None:
    manager = account.manager
    held = ", ".join(
        f"ticket {h.position.ticket}, {describe(h.position)}"
        for h in manager.book.holdings.values()
    )
    log.info(
        "[JOURNAL] %s, stream %s: the book is %s",
        database_at(place).name,
        manager.stream,
        held or "flat",
    )
