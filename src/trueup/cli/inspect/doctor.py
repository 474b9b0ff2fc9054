"""`trueup doctor`: check everything between this machine and the broker."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from trueup import __version__
from trueup.cli.inspect.conformance import KeyFileOption, ServerKeyOption
from trueup.cli.operate.bot import JsonOption, print_json
from trueup.cli.shared.endpoint import endpoint_of
from trueup.cli.shared.journal_place import JournalOption, default_journal, short_path
from trueup.cli.shared.say import say
from trueup.core.account.intended_account import account_named
from trueup.core.account.trust import Bound
from trueup.errors import SettingsError, TrueupError
from trueup.observe.doctor_text import (
    COLOURS,
    DoctorRow,
    Mark,
    is_healthy,
    ok,
    row_lines,
    sick,
    summary,
    warn,
)
from trueup.observe.status_text import BotStatus
from trueup.runtime.control.bots import ask_bot, find_bots
from trueup.runtime.doctor.book import JournalCheck, bot_rows, history_rows
from trueup.runtime.doctor.gateway import CHECKS, GatewayVisit, unasked
from trueup.runtime.doctor.line import CHECKS as WAY
from trueup.runtime.doctor.line import Line, Target
from trueup.runtime.time.clock import SystemClock
from trueup.settings import Settings, load_settings
from trueup.sim.process.whereabouts import find_terminal

SICK = 1
OF_THE_TERMINAL = "the simulated terminal of this folder"
NO_GATEWAY = (
    "no gateway is configured: GTW_HOST and GTW_PORT are not set, and neither a bot nor a "
    "simulated terminal runs in this folder"
)

GatewayOption = Annotated[
    str | None,
    typer.Option(
        metavar="tcp://HOST:PORT",
        help="The gateway. By default GTW_HOST and GTW_PORT, if set; else the gateway of the bot "
        "of this folder, else the simulated terminal of this folder.",
    ),
]
StreamOption = Annotated[
    str | None, typer.Option(help="The book of the journal, if the journal has several.")
]


def doctor(
    gateway: GatewayOption = None,
    server_key: ServerKeyOption = None,
    key_file: KeyFileOption = None,
    journal: JournalOption = None,
    stream: StreamOption = None,
    symbol: Annotated[
        list[str] | None,
        typer.Option(
            help="Check whether the broker has this symbol, beside the bots' symbols; repeatable."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check everything between this machine and the broker.

    The checks: the connection to the gateway, its key, its speed and clock; the terminal behind the
    gateway and its account; the journal and the bots of this folder. Nothing is changed, and no
    order is sent. Exit code 0: healthy, possibly with warnings. 1: a check failed.
    """
    # Lazy: the text report prints each row as soon as its check is done.
    checks = _rows(gateway, server_key, key_file, journal, stream, symbol or ())
    if as_json:
        rows = list(checks)
        print_json({"healthy": is_healthy(rows), "rows": msgspec.to_builtins(rows)})
    else:
        rows = list(map(_printed, checks))
        say(f"\n{summary(rows)}")
    if not is_healthy(rows):
        raise typer.Exit(SICK)


def _printed(row: DoctorRow) -> DoctorRow:
    """Print a row."""
    first, *others = row_lines(row)
    mark = row.mark.value
    typer.secho(mark, nl=False, fg=COLOURS[row.mark], bold=row.mark is Mark.SICK)
    say("\n".join([first.removeprefix(mark), *others]))
    return row


def _rows(
    gateway: str | None,
    server_key: str | None,
    key_file: str | None,
    journal: str | None,
    stream: str | None,
    named: Sequence[str],
) -> Iterator[DoctorRow]:
    yield _versions()
    # The order is that of the way from here to the broker, so the first failure is the cause.
    try:
        settings = load_settings()
    except SettingsError as error:
        remedy = "correct it in the environment, .env or trueup.toml"
        yield sick("settings", str(error), remedy)
        return
    bots, silent = _bots()
    target = target_of(gateway, settings, server_key, key_file, bots)
    # The journal is read first, since the checks at the gateway compare with its book; its row is
    # printed later.
    look = _journal(journal, stream, bots)
    journal_row = look.row()
    if target is None:
        remedy = "set GTW_HOST and GTW_PORT, or give --gateway tcp://HOST:PORT"
        yield warn("settings", f"{NO_GATEWAY}, so none is asked", remedy)
        yield from unasked((*WAY, *CHECKS))
    else:
        yield ok("settings", f"gateway {target.url} ({target.said_by})", gateway=target.url)
        symbols = sorted({*named, *(bot.symbol for bot in bots)})
        yield from _at_the_gateway(target, look, symbols, _intended(settings, target))
    yield journal_row
    yield from bot_rows(bots, silent, settings.sync_interval_sec)
    yield from history_rows(look.compared)


def _intended(settings: Settings, target: Target) -> Bound | None:
    """Return the account that the setting names; None at the simulated terminal, which has none."""
    if not settings.trueup_account or target.said_by == OF_THE_TERMINAL:
        return None
    return account_named(settings.trueup_account)


def _at_the_gateway(
    target: Target, journal: JournalCheck, symbols: list[str], intended: Bound | None
) -> Iterator[DoctorRow]:
    clock = SystemClock()
    line = Line(target, clock)
    yield from line.rows()
    if line.link is None:
        yield from unasked(CHECKS)
        return
    # A session of its own, so that the checks do not take a sequence number of a bot.
    session = f"doctor-{os.getpid():x}-{clock.now_ns():x}"
    try:
        visit = GatewayVisit(target, line.link, clock, journal.bound, session, symbols, intended)
        yield from visit.rows()
    finally:
        line.link.close()


def _versions() -> DoctorRow:
    pyzmq = importlib.metadata.version("pyzmq")
    python = platform.python_version()
    said = f"trueup {__version__}, Python {python}, pyzmq {pyzmq}, {sys.platform}"
    return ok("versions", said, trueup=__version__, python=python, pyzmq=pyzmq)


def target_of(
    gateway: str | None,
    settings: Settings,
    server_key: str | None,
    key_file: str | None,
    bots: list[BotStatus],
) -> Target | None:
    """Return the gateway of the options, the settings or the bots, with the keys for it."""
    where = _where(gateway, settings, bots)
    if where is None:
        return None
    host, port, said_by = where
    return Target(
        host,
        port,
        settings.gtw_timeout_ms,
        said_by,
        settings.gtw_server_key if server_key is None else server_key,
        settings.gtw_key_file if key_file is None else key_file,
    )


def _where(
    gateway: str | None, settings: Settings, bots: list[BotStatus]
) -> tuple[str, int, str] | None:
    """Return the gateway's address and the source of the address, or None without a source.

    The settings' default address is the guide's example, so only an explicit setting counts.
    """
    # The most explicit source wins; a bot knows the gateway that its book is kept with.
    if gateway is not None:
        return *endpoint_of(gateway, "--gateway"), "--gateway"
    if settings.gateway_is_configured:
        return settings.gtw_host, settings.gtw_port, "GTW_HOST and GTW_PORT"
    running = find_terminal()
    of_a_bot = next((bot.endpoint for bot in bots if bot.endpoint), "")
    if of_a_bot and (running is None or of_a_bot != running.gateway):
        return *endpoint_of(of_a_bot, "the bot's gateway"), "the bot of this folder"
    if running is not None:
        return "127.0.0.1", running.port, OF_THE_TERMINAL
    return None


def _bots() -> tuple[list[BotStatus], list[str]]:
    """Return the status of each bot of this folder, and a sentence for each bot without answer."""
    bots, silent = [], []
    for bot in find_bots():
        # A bot of another release may answer with other fields: that is no answer for us.
        try:
            answer: dict[str, Any] = ask_bot(bot, "status")
            bots.append(msgspec.convert(answer["status"], BotStatus))
        except (TrueupError, msgspec.ValidationError, KeyError):
            silent.append(f"process {bot.pid} at {bot.control} does not answer")
    return bots, silent


def _journal(journal: str | None, stream: str | None, bots: list[BotStatus]) -> JournalCheck:
    if journal is not None or not bots:
        return JournalCheck(journal or default_journal(), stream, bots)
    bot = bots[0]
    place = short_path(Path(bot.journal_file)) if bot.journal_file else None
    return JournalCheck(place, stream or bot.stream, bots)
