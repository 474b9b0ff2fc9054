"""`trueup conformance`: check a gateway against the protocol."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import Annotated

import msgspec
import typer

from trueup.cli.inspect.conformance_note import keep_note, read_note
from trueup.cli.shared.json_document import JsonOption, print_document
from trueup.cli.shared.progress import progress
from trueup.cli.shared.say import say
from trueup.conformance.examination.examination import Examination, Options
from trueup.conformance.examination.findings import Report
from trueup.conformance.run import ALL_CHECKS, examine
from trueup.conformance.text import write_report
from trueup.errors import NotSent, TrueupError
from trueup.gateway.access.keys import LinkKeys, draw_pair, link_keys
from trueup.gateway.client.endpoints import endpoint_of, tcp
from trueup.gateway.client.greeting import greet
from trueup.gateway.client.link import Link
from trueup.gateway.client.zmq_hints import ZmqHints
from trueup.gateway.client.zmq_link import ZmqLink
from trueup.runtime.time.clock import SystemClock
from trueup.settings import load_settings

BROKEN_WORD = 1

ServerKeyOption = Annotated[
    str | None,
    typer.Option(
        metavar="KEY|FILE", help="The gateway's public key, or its file; else GTW_SERVER_KEY."
    ),
]
KeyFileOption = Annotated[
    str | None,
    typer.Option(metavar="FILE", help="Your own secret key file; else GTW_KEY_FILE."),
]


def conformance(
    endpoint: Annotated[str, typer.Argument(metavar="tcp://HOST:PORT", help="The gateway.")],
    symbol: Annotated[
        str, typer.Option(help="The symbol to ask about, and with --trade to trade.")
    ] = "EURUSD",
    trade: Annotated[
        bool,
        typer.Option(
            "--trade",
            help="Place orders as well: a position of the smallest lot, closed again, two pending "
            "orders far from the market, and orders that must be refused. The symbol must have no "
            "position, and no other program should trade the symbol meanwhile.",
        ),
    ] = False,
    restarted: Annotated[
        bool,
        typer.Option(
            "--restarted",
            help="The gateway was restarted since the latest run: compare with that run.",
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
        int, typer.Option(min=1, metavar="MS", help="The longest time for a reply.")
    ] = 2_000,
    server_key: ServerKeyOption = None,
    key_file: KeyFileOption = None,
    verbose: Annotated[
        bool, typer.Option("--verbose", help="Show the request and the reply of every check.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Check a gateway against the protocol page.

    The grades are guide-compatible, snapshot-atomic, gap-detecting, at-most-once and
    authenticated, each with its checks (docs/reference/wire-protocol.md). Nothing is traded
    without --trade. Some checks need a restart: restart the gateway and run the command again with
    --restarted. Exit code 0: the gateway has every grade that it claims. 1: a claimed grade fails,
    or a position could not be closed again. 2: no gateway answered.
    """
    where = endpoint_of(endpoint, "ENDPOINT")
    before = read_note(where.url) if restarted else None
    # The greeting tells whether keys are needed, before a client without keys waits in vain.
    try:
        greeting = greet(where.host, where.port, timeout_ms)
    except NotSent as error:
        raise TrueupError(f"There is no gateway to ask: {error}.") from None
    # Keys of the settings are not sent to a gateway that uses none.
    keys = _keys(server_key, key_file) if greeting.is_encrypted else None
    if greeting.is_encrypted and keys is None:
        raise TrueupError(
            f"{where.url} requires a key: give --server-key and --key-file, or set "
            "GTW_SERVER_KEY and GTW_KEY_FILE."
        )
    clock = SystemClock()
    exam = Examination(
        greeting,
        partial(ZmqLink, where.url, keys=keys),
        {} if keys is None else _strangers(where.url, keys),
        lambda port: ZmqHints(tcp(where.host, port), keys=keys),
        Options(timeout_ms, symbol, trade, real_money, volume),
        # Unique, so that the gateway's record never takes our orders for those of an earlier run.
        f"conformance-{os.getpid():x}-{clock.now_ns():x}",
        clock.waiting_ns,
        clock.sleep,
    )
    try:
        if greeting.is_encrypted and exam.first.raw is None:
            raise TrueupError(f"Nothing could be asked: {exam.first.why}.")
        with progress(f"Checking {where.url}", len(ALL_CHECKS)) as shown:
            report = examine(exam, where.url, before, tell=lambda _: shown.advance())
    finally:
        exam.probe.close()
    # Written before the exit code, also of a failed run: a run with --restarted compares with it.
    if report.noted is not None:
        keep_note(where.url, report.noted)
    _print(report, as_json=as_json, verbose=verbose)
    if not report.keeps_its_word or report.left_open:
        raise typer.Exit(BROKEN_WORD)


def _keys(server_key: str | None, key_file: str | None) -> LinkKeys | None:
    """Return the keys of the options, or of the settings."""
    settings = load_settings()
    return link_keys(
        settings.gtw_server_key if server_key is None else server_key,
        settings.gtw_key_file if key_file is None else key_file,
    )


def _strangers(url: str, keys: LinkKeys) -> dict[str, Callable[[], Link]]:
    """Return functions that connect as clients without access."""
    unknown = LinkKeys(keys.server, draw_pair())
    return {
        "without a key": partial(ZmqLink, url),
        "with an unknown key": partial(ZmqLink, url, keys=unknown),
    }


def _print(report: Report, *, as_json: bool, verbose: bool) -> None:
    if as_json:
        print_document(
            "conformance", {**msgspec.to_builtins(report), "keeps_its_word": report.keeps_its_word}
        )
    else:
        say(write_report(report, in_full=verbose))
