"""`trueup conformance`: is a gateway what it says it is?"""

from __future__ import annotations

import os
from typing import Annotated

import msgspec
import typer

from trueup.cli.bot import JsonOption, print_json
from trueup.cli.endpoint import endpoint_of
from trueup.conformance.examination import Examination, Options
from trueup.conformance.findings import Report
from trueup.conformance.run import examine
from trueup.conformance.text import write_report
from trueup.errors import NotSent, TrueupError
from trueup.gateway.greeting import greet
from trueup.gateway.link import Link
from trueup.gateway.zmq_link import ZmqLink
from trueup.runtime.clock import SystemClock

BROKEN_WORD = 1


def conformance(
    endpoint: Annotated[str, typer.Argument(metavar="tcp://HOST:PORT", help="The gateway.")],
    symbol: Annotated[
        str, typer.Option(help="The symbol to ask about, and with --trade to trade.")
    ] = "EURUSD",
    trade: Annotated[
        bool,
        typer.Option(
            "--trade",
            help="Place orders as well: one position of the smallest lot, closed again. The symbol "
            "must have no position, and nobody else should trade it meanwhile.",
        ),
    ] = False,
    real_money: Annotated[
        bool,
        typer.Option(
            "--real-money", help="Place orders though the account is not known to be a demo."
        ),
    ] = False,
    volume: Annotated[
        float,
        typer.Option(min=0.0, help="Lots of an order; 0 takes the symbol's volume step, or 0.01."),
    ] = 0.0,
    timeout_ms: Annotated[
        int, typer.Option(min=1, metavar="MS", help="How long an answer may take.")
    ] = 2_000,
    verbose: Annotated[
        bool, typer.Option("--verbose", help="Show what was sent and came for every check.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Run the written protocol's checks against any gateway, and say what it is.

    Guide-compatible, snapshot-atomic, gap-detecting, at-most-once, authenticated: each with the
    checks that show it (docs/reference/wire-protocol.md). Nothing is traded without --trade.
    Exit code 0: everything that the gateway claims holds. 1: something does not, or a position
    could not be closed again. 2: nobody could be asked.
    """
    where = endpoint_of(endpoint, "ENDPOINT")
    try:
        greeting = greet(where.host, where.port, timeout_ms)
    except NotSent as error:
        raise TrueupError(f"There is no gateway to ask: {error}.") from None
    clock = SystemClock()

    def connect() -> Link:
        return ZmqLink(where.url)

    options = Options(timeout_ms, symbol, trade, real_money, volume)
    name = f"conformance-{os.getpid():x}-{clock.now_ns():x}"
    exam = Examination(greeting, connect, {}, options, name, clock.now_ns, clock.sleep)
    try:
        report = examine(exam, where.url)
    finally:
        exam.probe.close()
    _print(report, as_json=as_json, verbose=verbose)
    if not report.keeps_its_word or report.left_open:
        raise typer.Exit(BROKEN_WORD)


def _print(report: Report, *, as_json: bool, verbose: bool) -> None:
    if as_json:
        print_json({**msgspec.to_builtins(report), "keeps_its_word": report.keeps_its_word})
    else:
        typer.echo(write_report(report, in_full=verbose))
