"""`trueup audit`: list the entries of a journal, all of them or those that a filter passes.

The command reads the journal itself, so it needs no running bot, and changes nothing.
"""

from __future__ import annotations

import csv
import itertools
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Annotated, NamedTuple

import msgspec
import typer

from trueup.cli.inspect.reading import StreamOption, reading, width
from trueup.cli.shared.journal_place import JournalOption
from trueup.cli.shared.json_document import LINES_AT_ONCE, JsonOption, print_list
from trueup.cli.shared.progress import Progress, progress
from trueup.cli.shared.say import say
from trueup.core.dates import iso
from trueup.errors import SettingsError
from trueup.journal.reading.reader import JournalReader
from trueup.observe.audit_text import COLUMNS, AuditRow, audit_lines
from trueup.observe.event_words.words import ACTIONS
from trueup.observe.lines import time_of
from trueup.runtime.story.newest import Known, known_orders, newest_rows
from trueup.runtime.story.story import NO_ORDERS, AuditFilter, orders_of, story
from trueup.runtime.time import moments as times
from trueup.runtime.time.clock import SystemClock


class Span(NamedTuple):
    """A span of time, in nanoseconds of UTC: from its begin up to before its end, None for open."""

    since_ns: int | None
    until_ns: int | None


def audit(
    since: Annotated[
        str | None, typer.Option(metavar="TIME|AGE", help=f"Only from this time on: {times.HELP}.")
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(
            metavar="TIME|AGE",
            help="Only up to this time, in the same forms; a minute or a day is included.",
        ),
    ] = None,
    last: Annotated[
        int | None, typer.Option(min=1, metavar="NUMBER", help="Only the last entries that fit.")
    ] = None,
    ticket: Annotated[
        int | None,
        typer.Option(min=1, help="Only entries about this position or pending order."),
    ] = None,
    action: Annotated[
        list[str] | None,
        typer.Option(help=f"Only this action; repeatable. One of {', '.join(ACTIONS)}."),
    ] = None,
    as_json: JsonOption = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV, with a header line.")] = False,
    journal: JournalOption = None,
    stream: StreamOption = None,
) -> None:
    """List all corrections and all steps of orders.

    All times are UTC; a time that you give is UTC too, unless the time names a zone. A time of day
    without a day is the last one that has been. The command works while the bot runs and after the
    bot has ended. A journal with several books shows the one that was opened last, and says so on
    stderr.
    """
    if as_json and as_csv:
        raise SettingsError("--csv", "", "--json is given as well: give one")
    actions = _actions(action)
    span = _span(since, until)
    with reading(journal, stream) as reader:
        if not as_json and not as_csv:
            _say_span(span)
        with progress("Reading the journal", reader.position) as shown:
            known = known_orders(reader) if as_json or as_csv else None
            told = _told(reader, shown, known, span, last, ticket, actions)
            # On the same terminal the first lines show that it goes on.
            if sys.stdout.isatty():
                told = _ending(shown, told)
            _print(told, as_json=as_json, as_csv=as_csv)


def _ending(shown: Progress, told: Iterable[AuditRow]) -> Iterator[AuditRow]:
    """Yield entries, and end the progress before the first."""
    for entry in told:
        shown.end()
        yield entry


def _told(
    reader: JournalReader,
    shown: Progress,
    known: Known | None,
    span: Span,
    last: int | None,
    ticket: int | None,
    actions: frozenset[str],
) -> Iterable[AuditRow]:
    """Return the entries that fit, oldest first."""
    # The last entries of all are at the end of the journal, so its begin need not be read.
    if last is not None and ticket is None and span == (None, None):
        wanted = AuditFilter(None, actions)
        return newest_rows(reader.records, reader.position, last, wanted, known)
    read = partial(reader.records, since_ns=span.since_ns, until_ns=span.until_ns)
    # A first pass: the orders of a ticket are known only from later events.
    order_ids = orders_of(shown.watch(read()), ticket) if ticket is not None else frozenset()
    shown.reach(0)
    # Entries are made one by one: a journal of years does not fit into memory.
    by_ticket = NO_ORDERS if known is None else known.by_ticket
    told = story(shown.watch(read()), AuditFilter(ticket, actions, order_ids), by_ticket)
    return told if last is None else deque(told, maxlen=last)


def _span(since: str | None, until: str | None) -> Span:
    now_ns = SystemClock().now_ns()
    begin = None if since is None else times.moment_of(since, "--since", now_ns).begin_ns
    end = None if until is None else times.moment_of(until, "--until", now_ns).end_ns
    if begin is not None and end is not None and begin >= end:
        raise SettingsError("--until", str(until), f"give a time after {time_of(iso(begin))}")
    return Span(begin, end)


def _say_span(span: Span) -> None:
    """Say on stderr which time a person's words were taken for."""
    if span.since_ns is not None or span.until_ns is not None:
        since = "the begin" if span.since_ns is None else time_of(iso(span.since_ns))
        until = "now" if span.until_ns is None else f"before {time_of(iso(span.until_ns))}"
        say(f"From {since} to {until}.", err=True)


def _actions(given: list[str] | None) -> frozenset[str]:
    wanted = frozenset(name.upper() for name in given or ())
    unknown = sorted(wanted - set(ACTIONS))
    if unknown:
        raise SettingsError("--action", unknown[0], f"give one of {', '.join(ACTIONS)}")
    return wanted


def _print(told: Iterable[AuditRow], *, as_json: bool, as_csv: bool) -> None:
    if as_json:
        print_list("audit", map(msgspec.to_builtins, told))
    elif as_csv:
        _print_csv(told)
    else:
        _print_audit(told)


def _print_audit(told: Iterable[AuditRow]) -> None:
    lines = audit_lines(told, width())
    say(next(lines, "Nothing happened that fits."))
    while some := list(itertools.islice(lines, LINES_AT_ONCE)):
        say("\n".join(some))


def _print_csv(told: Iterable[AuditRow]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(COLUMNS)
    for entry in told:
        writer.writerow("" if value is None else value for value in msgspec.structs.astuple(entry))
