"""`trueup doctor`: check everything between this machine and the broker."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import msgspec
import typer

from trueup import __version__
from trueup.cli.inspect.conformance import KeyFileOption, ServerKeyOption
from trueup.cli.shared.journal_place import JournalOption, default_journal
from trueup.cli.shared.json_document import JsonOption, print_document
from trueup.cli.shared.progress import progress
from trueup.cli.shared.say import say
from trueup.core.account.intended_account import account_named
from trueup.core.account.trust import Bound
from trueup.core.scope import EVERY_SYMBOL
from trueup.errors import NotSent, SettingsError, TrueupError
from trueup.gateway.client.endpoints import TERMINAL_HERE, endpoint_of, tcp
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
from trueup.observe.status.earlier import read_status
from trueup.observe.status.status import Status
from trueup.runtime.control.bots import Bot, ask_bot, find_bots, noted_bots
from trueup.runtime.control.state_files import short_path
from trueup.runtime.doctor.bots import UnheardBot, bot_rows, history_rows
from trueup.runtime.doctor.gateway import CHECKS, GatewayVisit, unasked
from trueup.runtime.doctor.journal import JournalCheck
from trueup.runtime.doctor.line import CHECKS as WAY
from trueup.runtime.doctor.line import Line, Target
from trueup.runtime.time.clock import SystemClock
from trueup.settings import Settings, load_settings
from trueup.sim.process.whereabouts import find_terminal

SICK = 1
OF_THE_TERMINAL = "the simulated terminal of this folder"
GIVEN = "--gateway"
OF_THE_BOT = "the bot of this folder"
OF_SETTINGS = "GTW_HOST and GTW_PORT"
NO_GATEWAY = (
    "no gateway is configured: GTW_HOST and GTW_PORT are not set, and neither a bot nor a "
    "simulated terminal runs in this folder"
)
OWN_TERMINAL = "the bot of this folder calls the terminal of this machine itself"


class BotsHere(NamedTuple):
    """The bots of this folder: those that answer, the others, and all by their state files."""

    answered: list[Status]
    unheard: list[UnheardBot]
    noted: list[Bot]


GatewayOption = Annotated[
    str | None,
    typer.Option(
        metavar="tcp://HOST:PORT",
        help="The gateway. By default the gateway of the bot of this folder; else GTW_HOST and "
        "GTW_PORT, if set; else the simulated terminal of this folder.",
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
        with progress("Checking"):
            rows = list(checks)
        print_document("doctor", {"healthy": is_healthy(rows), "rows": msgspec.to_builtins(rows)})
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
        risk = "no bot starts with these settings"
        yield sick(
            "settings", str(error), risk, "correct it in the environment, .env or trueup.toml"
        )
        return
    bots = _bots()
    target = target_of(gateway, settings, server_key, key_file, bots.noted)
    # The journal is read first, since the checks at the gateway compare with its book; its rows are
    # printed later.
    look = _journal(journal, stream, settings, bots)
    journal_rows = list(look.rows())
    if target is None and any(map(_calls_terminal, bots.noted)):
        yield ok("settings", f"{OWN_TERMINAL}, so no gateway is asked")
        yield from unasked((*WAY, *CHECKS))
    elif target is None:
        risk = "nothing between this machine and the broker is checked"
        remedy = "set GTW_HOST and GTW_PORT, or give --gateway tcp://HOST:PORT"
        yield warn("settings", f"{NO_GATEWAY}, so none is asked", risk, remedy)
        yield from unasked((*WAY, *CHECKS))
    else:
        yield _settings_row(target, settings, bots)
        symbols = sorted({*named, *(bot.symbol for bot in bots.noted)} - {EVERY_SYMBOL})
        yield from _at_the_gateway(target, look, symbols, _intended(settings, target))
    yield from journal_rows
    yield from bot_rows(bots.answered, bots.unheard, settings.sync_interval_sec)
    yield from history_rows(look.compared)


def _settings_row(target: Target, settings: Settings, bots: BotsHere) -> DoctorRow:
    """Return the row of the gateway's address, with the addresses that are not checked."""
    found = f"gateway {target.url} ({target.said_by})"
    if settings.gateway_is_configured and target.said_by not in (OF_SETTINGS, GIVEN):
        url = tcp(settings.gtw_host, settings.gtw_port)
        if url != target.url:
            found += f"; {OF_SETTINGS} name {url}, where no bot of this folder trades"
    served = (bot.endpoint for bot in bots.noted if bot.endpoint and not _calls_terminal(bot))
    others = sorted({*served} - {target.url})
    if others:
        found += f"; a bot of this folder trades at {', '.join(others)}: see --gateway"
    return ok("settings", found, gateway=target.url)


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
    bots: Sequence[Bot],
) -> Target | None:
    """Return the gateway of the options, the bots or the settings, with the keys for it."""
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
    gateway: str | None, settings: Settings, bots: Sequence[Bot]
) -> tuple[str, int, str] | None:
    """Return the gateway's address and the source of the address, or None without a source.

    The settings' default address is the guide's example, so only an explicit setting counts.
    """
    if gateway is not None:
        return *endpoint_of(gateway, GIVEN), GIVEN
    # Its state file tells where a bot trades, also if the bot hangs or was killed.
    running = find_terminal()
    of_a_bot = next((bot.endpoint for bot in bots if bot.endpoint), "")
    # A bot that calls its terminal itself has no gateway; a simulated terminal has one of its own.
    is_served = of_a_bot != TERMINAL_HERE
    if of_a_bot and is_served and (running is None or of_a_bot != running.gateway):
        return *endpoint_of(of_a_bot, "the bot's gateway"), OF_THE_BOT
    if settings.gateway_is_configured and not of_a_bot:
        return settings.gtw_host, settings.gtw_port, OF_SETTINGS
    if running is not None:
        return "127.0.0.1", running.port, OF_THE_TERMINAL
    return None


def _calls_terminal(bot: Bot) -> bool:
    return bot.endpoint == TERMINAL_HERE


def _journal(
    journal: str | None, stream: str | None, settings: Settings, bots: BotsHere
) -> JournalCheck:
    """Return the check of the journal of the option, of a bot, of the settings, or the default."""
    if journal is None and bots.noted:
        bot = bots.noted[0]
        file = short_path(Path(bot.journal_file)) if bot.journal_file else None
        return JournalCheck(file, stream or bot.stream or None, bots.answered)
    place = journal or settings.trueup_journal or default_journal()
    return JournalCheck(place, stream, bots.answered)


def _bots() -> BotsHere:
    """Ask each bot of this folder for its status."""
    found = BotsHere([], [], sorted(noted_bots(), key=lambda bot: (bot.started, bot.pid)))
    running = find_bots()
    for bot in found.noted:
        # A bot of another release may answer with other fields: that is no answer for us.
        try:
            if bot not in running:
                raise NotSent
            answer: dict[str, Any] = ask_bot(bot, "status")
            found.answered.append(read_status(answer["status"]))
        except (TrueupError, KeyError):
            unheard = UnheardBot(bot.pid, bot.symbol, bot.control, bot in running)
            found.unheard.append(unheard)
    return found
