"""`trueup reconcile`: compare the book's deals with the broker's history, deal by deal."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated, Any

import typer

from trueup.cli.inspect.conformance import KeyFileOption, ServerKeyOption
from trueup.cli.inspect.doctor import (
    NO_GATEWAY,
    OWN_TERMINAL,
    GatewayOption,
    StreamOption,
    target_of,
)
from trueup.cli.shared.journal_place import JournalOption, default_journal
from trueup.cli.shared.json_document import JsonOption, print_document
from trueup.cli.shared.progress import progress
from trueup.cli.shared.say import say
from trueup.core.realised.agreement import Counted
from trueup.core.realised.history_report import HistoryReport
from trueup.errors import TrueupError
from trueup.gateway.client.endpoints import TERMINAL_HERE
from trueup.gateway.client.execution_gateway import ExecutionGateway
from trueup.journal import open_reader
from trueup.observe.history_text import history_values, write_history
from trueup.observe.status.earlier import read_status
from trueup.observe.status.status import Status
from trueup.protocol.history import Span
from trueup.runtime.control.bots import Bot, ask_bot, find_bots
from trueup.runtime.sync.history_span import begin_msc, report_of, since_msc
from trueup.runtime.time.clock import SystemClock
from trueup.runtime.time.moments import HELP, moment_ns
from trueup.settings import load_settings

DIFFERS = 1


def reconcile(
    since: Annotated[
        str | None,
        typer.Option(help=f"Deals since this time: {HELP}. By default since the book began."),
    ] = None,
    gateway: GatewayOption = None,
    server_key: ServerKeyOption = None,
    key_file: KeyFileOption = None,
    journal: JournalOption = None,
    stream: StreamOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare the book with the broker's deal history.

    The book's deals are read from its journal, whether a bot runs or not; the broker's deals are
    requested page by page. Nothing is changed. A bot that runs on this journal is told the
    positions that differ, and counts the missed deals at its next sync. Exit code 0: both sides
    have the same deals. 1: they differ. 2: they could not be compared.
    """
    settings = load_settings()
    # The running bot names its journal and gateway, so that both sides belong together.
    bot, status = _bot_on(journal)
    target = target_of(gateway, settings, server_key, key_file, [] if bot is None else [bot])
    if target is None and bot is not None and bot.endpoint == TERMINAL_HERE:
        raise TrueupError(
            f"{OWN_TERMINAL[:1].upper()}{OWN_TERMINAL[1:]}, and the deals are asked of a gateway: "
            "start `trueup gateway` beside the terminal, and give --gateway."
        )
    if target is None:
        raise TrueupError(f"{NO_GATEWAY}: set GTW_HOST and GTW_PORT, or give --gateway.")
    place = journal or (status.journal_file if status is not None else "") or default_journal()
    # The whole journal, whatever --since says: a deal may be counted long after its time.
    with open_reader(place, stream or (status.stream if status is not None else None)) as reader:
        counted = Counted()
        with progress("Reading the journal", reader.position) as shown:
            for event in shown.watch(reader.read()):
                counted.take(event)
    with ExecutionGateway(
        target.host,
        target.port,
        target.timeout_ms,
        server_key=target.server_key,
        key_file=target.key_file or None,
    ) as source:
        report = _compared(source, counted, since)
    # A history with missing pages would report deals as missing that are not.
    if report.unknown:
        raise TrueupError(f"Nothing was compared. {report.unknown}.")
    if as_json:
        print_document("reconcile", history_values(report))
    else:
        say(write_history(report))
    if not report.agrees:
        _tell(bot, report)
        raise typer.Exit(DIFFERS)


def _compared(source: ExecutionGateway, counted: Counted, since: str | None) -> HistoryReport:
    if since is None:
        begin = begin_msc(counted.began_ns, None)
    else:
        # The trade server's offset from UTC is unknown here, so the span begins a day earlier.
        begin = since_msc(moment_ns(since, "--since", SystemClock().now_ns()) / 1e9, None)
    span = Span(begin)
    with progress("Asking the broker for its deals"):
        past = source.read_history(span, tuple(sorted(counted.symbols)))
    return report_of(past, span, counted)


def _bot_on(journal: str | None) -> tuple[Bot | None, Status | None]:
    """Return the bot that writes this journal, if the bot runs here and answers."""
    for bot in find_bots():
        with suppress(TrueupError, KeyError):
            answer: dict[str, Any] = ask_bot(bot, "status")
            status = read_status(answer["status"])
            if journal in (None, status.journal, status.journal_file):
                return bot, status
    return None, None


def _tell(bot: Bot | None, report: HistoryReport) -> None:
    """Have a running bot compare the differing positions again at its next sync."""
    if bot is None:
        return
    with suppress(TrueupError):
        ask_bot(bot, "recheck", positions=report.found.positions)
        say(f"The bot, process {bot.pid}, counts the missed deals at its next sync.")
