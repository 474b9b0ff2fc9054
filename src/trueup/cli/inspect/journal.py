"""`trueup journal`, `trueup audit`, `trueup replay`: read a journal.

These commands read the journal itself, so they need no running bot, and change nothing.
"""

from __future__ import annotations

import contextlib
import csv
import itertools
import json
import shutil
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from trueup.cli.operate.bot import JsonOption, print_json
from trueup.cli.shared import times
from trueup.cli.shared.journal_place import JournalOption, default_journal, short_path
from trueup.cli.shared.say import say
from trueup.errors import JournalError, SettingsError, TrueupError
from trueup.journal import Record, open_reader
from trueup.journal.overview import overview
from trueup.journal.reading.reader import JournalReader
from trueup.observe.audit_text import COLUMNS, AuditRow, audit_lines
from trueup.observe.event_words.words import ACTIONS
from trueup.observe.replay_text import write_scene
from trueup.observe.status_text import time_of
from trueup.runtime.control.bots import ask_bot, find_bots
from trueup.runtime.story.replay import replay as replay_scene
from trueup.runtime.story.story import AuditFilter, orders_of, story
from trueup.runtime.time.clock import SystemClock, iso

app: typer.Typer = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Verify a journal, or list its streams.",
)
DAMAGED = 1
# Lines per print call: a call for each line would take most of the time.
LINES_AT_ONCE = 500

StreamOption = Annotated[
    str | None,
    typer.Option(
        "--stream",
        help="The book of the journal; by default the running bot's book, or the only book.",
    ),
]


@app.command()
def verify(
    journal: JournalOption = None, stream: StreamOption = None, as_json: JsonOption = False
) -> None:
    """Verify that no event of a journal was altered.

    Without --stream every stream is verified. Store the printed tip outside the journal: a journal
    that was rewritten from the beginning has another tip. Exit code 0: the journal is unaltered. 1:
    the journal is altered or damaged, and the first such position is named. 2: there is no such
    journal.
    """
    place = _place(journal)
    names = [stream] if stream is not None else [found.name for found in overview(place).streams]
    verdicts = [_verdict(place, name) for name in names]
    if as_json:
        print_json(verdicts)
    else:
        say("\n".join(line for verdict in verdicts for line in _verdict_lines(verdict)))
    if any(verdict["faults"] for verdict in verdicts):
        raise typer.Exit(DAMAGED)


@app.command()
def info(journal: JournalOption = None, as_json: JsonOption = False) -> None:
    """List the streams of a journal and their last writers."""
    seen = overview(_place(journal))
    # Not `verify`: the list must be quick for a journal of years.
    if as_json:
        rows = [{**row._asdict(), "since": iso(row.since_ns)} for row in seen.streams]
        print_json({"journal": seen.name, "bytes": seen.size, "streams": rows})
        return
    size = "" if seen.size is None else f", {seen.size / 1e6:.1f} MB"
    say(f"Journal {seen.name}{size}")
    for row in seen.streams:
        say(f"  {row.name}  {row.events} events")
        say(f"      last opened {time_of(iso(row.since_ns))} by {row.holder}")


def audit(
    since: Annotated[
        str | None, typer.Option(metavar="TIME|AGE", help=f"Only from this time on: {times.HELP}.")
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

    All times are UTC; a time that you give is UTC too, unless the time names a zone. The command
    works while the bot runs and after the bot has ended.
    """
    if as_json and as_csv:
        raise SettingsError("--csv", "", "--json is given as well: give one")
    actions = _actions(action)
    now_ns = SystemClock().now_ns()
    since_ns = None if since is None else times.moment_ns(since, "--since", now_ns)
    with _reader(journal, stream) as reader:

        def records() -> Iterator[Record]:
            return reader.records(since_ns=since_ns)

        # A first pass: the orders of a ticket are known only from later events.
        order_ids = orders_of(records(), ticket) if ticket is not None else frozenset()
        # Entries are made one by one: a journal of years does not fit into memory.
        told = story(records(), AuditFilter(ticket, actions, order_ids))
        if as_json:
            _print_json_rows(told)
        elif as_csv:
            _print_csv(told)
        else:
            _print_audit(told)


def replay(
    at: Annotated[str, typer.Option("--at", metavar="TIME|AGE", help=f"The moment: {times.HELP}.")],
    last: Annotated[int, typer.Option(min=1, help="How many events to explain.")] = 10,
    as_json: JsonOption = False,
    journal: JournalOption = None,
    stream: StreamOption = None,
) -> None:
    """Show book and broker as they were known at a moment.

    All times are UTC; the time that you give is UTC too, unless the time names a zone. The journal
    is folded up to the end of that second, so the command shows the knowledge of that moment, not
    later findings.
    """
    # To the end of the second: a time copied from the trail then includes its event.
    at_ns = times.end_ns(times.moment_ns(at, "--at", SystemClock().now_ns()))
    with _reader(journal, stream) as reader:
        scene = replay_scene(reader.records(), reader.stream, at_ns, last)
    if as_json:
        print_json(msgspec.to_builtins(scene))
    else:
        say(write_scene(scene, _width()))


def _place(journal: str | None) -> str | Path:
    """Return the journal of the option, of the running bot, or the default journal."""
    if journal is not None:
        return journal
    # A bot of this folder may keep its journal elsewhere; the bot's own answer names the file.
    running = {facts["journal_file"] for facts in _running() if facts.get("journal_file")}
    if len(running) == 1:
        return short_path(Path(running.pop()))
    place = default_journal()
    if not place.exists():
        raise JournalError(
            f"There is no journal {place}: `trueup paper` makes it; give another with --journal."
        )
    return place


@contextlib.contextmanager
def _reader(journal: str | None, stream: str | None) -> Iterator[JournalReader]:
    place = _place(journal)
    if stream is None and "://" not in str(place):
        file = str(Path(place).resolve())
        running = [f["stream"] for f in _running() if f.get("journal_file") == file]
        stream = running[0] if len(running) == 1 else None
    with open_reader(place, stream) as reader:
        yield reader


def _running() -> list[dict[str, Any]]:
    """Return the `hello` answers of this folder's bots; a bot that does not answer is left out."""
    found = []
    for bot in find_bots():
        with contextlib.suppress(TrueupError):
            found.append(ask_bot(bot, "hello"))
    return found


def _actions(given: list[str] | None) -> frozenset[str]:
    wanted = frozenset(name.upper() for name in given or ())
    unknown = sorted(wanted - set(ACTIONS))
    if unknown:
        raise SettingsError("--action", unknown[0], f"give one of {', '.join(ACTIONS)}")
    return wanted


def _verdict(place: str | Path, stream: str) -> dict[str, Any]:
    with open_reader(place, stream) as reader:
        verdict = reader.verify()
    return {
        "journal": str(place) if "://" not in str(place) else "",
        "stream": stream,
        "sound": verdict.sound,
        "position": verdict.tip.position,
        "hash": verdict.tip.hash.hex(),
        "faults": [fault._asdict() for fault in verdict.faults],
    }


def _verdict_lines(verdict: dict[str, Any]) -> Iterable[str]:
    count = f"{verdict['position']} event{'s' * (verdict['position'] != 1)}"
    if verdict["sound"]:
        yield f"{verdict['stream']}: {count}, whole, in order and unaltered."
    else:
        yield f"{verdict['stream']}: DAMAGED. {count} proven; beyond, this does not hold:"
        for fault in verdict["faults"]:
            where = f"position {fault['position']}: " if fault["position"] else ""
            yield f"  - {where}{fault['because']}"
    yield f"  tip {verdict['hash']}"


def _print_audit(told: Iterable[AuditRow]) -> None:
    lines = audit_lines(told, _width())
    say(next(lines, "Nothing happened that fits."))
    while some := list(itertools.islice(lines, LINES_AT_ONCE)):
        say("\n".join(some))


def _print_json_rows(told: Iterable[AuditRow]) -> None:
    """Print a JSON array, a line for each entry, without holding all entries in memory."""
    rows = (f"\n  {json.dumps(msgspec.to_builtins(entry))}" for entry in told)
    before = "["
    while some := list(itertools.islice(rows, LINES_AT_ONCE)):
        say(before + ",".join(some), nl=False)
        before = ","
    say("[]" if before == "[" else "\n]")


def _print_csv(told: Iterable[AuditRow]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(COLUMNS)
    for entry in told:
        writer.writerow("" if value is None else value for value in msgspec.structs.astuple(entry))


def _width() -> int:
    return min(shutil.get_terminal_size().columns, 120)
