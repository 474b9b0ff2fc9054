"""`trueup journal`, `trueup replay`: verify, copy and mend a journal; show what was known.

These commands read the journal itself, so they need no running bot. Only `mend` changes it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from trueup.cli.inspect.archive import archive, partition, restore
from trueup.cli.inspect.reading import StreamOption, journal_of, reading, width
from trueup.cli.shared.asking import ask_person
from trueup.cli.shared.journal_place import JournalOption
from trueup.cli.shared.json_document import JsonOption, print_document
from trueup.cli.shared.progress import progress
from trueup.cli.shared.say import say
from trueup.core.dates import iso
from trueup.errors import JournalError
from trueup.journal import open_reader
from trueup.journal.backends.backup import back_up
from trueup.journal.backends.location import database_at, is_file
from trueup.journal.backends.salvage import salvage
from trueup.journal.overview import overview
from trueup.observe.lines import time_of
from trueup.observe.replay_text import write_scene
from trueup.runtime.story.replay import replay as replay_scene
from trueup.runtime.time import moments as times
from trueup.runtime.time.clock import SystemClock

app: typer.Typer = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Verify, copy, archive or mend a journal.",
)
DAMAGED = 1
app.command()(archive)
app.command()(restore)
app.command()(partition)


@app.command()
def verify(
    journal: JournalOption = None,
    stream: StreamOption = None,
    archives: Annotated[
        Path | None,
        typer.Option(
            "--archives",
            metavar="FOLDER",
            help="Verify the archived events too, whose files are in this folder.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Verify that no event of a journal was altered.

    Without --stream every stream is verified. Of a journal whose old events were archived, the
    events after them are verified, and with --archives all of them. Store the printed tip outside
    the journal: a journal that was rewritten from the beginning has another tip. Exit code 0: the
    journal is unaltered. 1: the journal is altered or damaged, and the first such position is
    named. 2: there is no such journal.
    """
    verdicts = _verdicts(journal_of(journal), stream, archives)
    if as_json:
        print_document("journal verify", verdicts)
    else:
        _say_verdicts(verdicts)
    if any(verdict["faults"] for verdict in verdicts):
        raise typer.Exit(DAMAGED)


@app.command()
def info(journal: JournalOption = None, as_json: JsonOption = False) -> None:
    """List the streams of a journal and their last writers."""
    seen = overview(journal_of(journal))
    # Not `verify`: the list must be quick for a journal of years.
    if as_json:
        rows = [{**row._asdict(), "since": iso(row.since_ns)} for row in seen.streams]
        print_document("journal info", {"journal": seen.name, "bytes": seen.size, "streams": rows})
        return
    size = "" if seen.size is None else f", {seen.size / 1e6:.1f} MB"
    say(f"Journal {seen.name}{size}")
    for row in seen.streams:
        say(f"  {row.name}  {row.events} events")
        say(f"      last opened {time_of(iso(row.since_ns))} by {row.holder}")
        if row.archives:
            files = "an archive" if row.archives == 1 else f"{row.archives} archives"
            say(f"      events 1 to {row.archived} are in {files}")
        if row.successor:
            say(f"      ended: its book goes on in {row.successor}")


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
    with (
        reading(journal, stream) as reader,
        progress("Reading the journal", reader.position) as shown,
    ):
        scene = replay_scene(shown.watch(reader.records()), reader.stream, at_ns, last)
    if as_json:
        print_document("replay", msgspec.to_builtins(scene))
    else:
        say(write_scene(scene, width()))


@app.command()
def backup(
    copy: Annotated[Path, typer.Argument(metavar="FILE", help="The new file for the copy.")],
    journal: JournalOption = None,
) -> None:
    """Copy a journal to a new file, also while a bot writes it.

    The copy is then verified. A journal in PostgreSQL is copied by the tools of the server, such as
    pg_dump. Exit code 0: the copy is whole. 1: the copy is not whole, as the journal. 2: no copy
    was made.
    """
    back_up(_file_of(journal, "copied by the tools of its server, such as pg_dump"), copy)
    if not _say_verdicts(_verdicts(copy)):
        raise typer.Exit(DAMAGED)
    say(f"Copied to {copy}, {copy.stat().st_size / 1e6:.1f} MB.")


@app.command()
def mend(
    journal: JournalOption = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Replace a damaged journal by what can be read of it.

    All events up to the damage are kept; the damaged file stays beside the journal. The next bot
    takes the positions from the broker and the lost orders from the gateway's record, and entries
    wait for your approval. A recent copy (`trueup journal backup`) may have more events: compare
    first. Exit code 0: the journal is whole. 2: nothing was changed.
    """
    path = _file_of(journal, "mended by the administrator of its server")
    # A file of which nothing can be read is the salvage's to judge.
    with contextlib.suppress(JournalError):
        verdicts = _verdicts(path)
        _say_verdicts(verdicts)
        # What is gone from the end of a whole file comes from the broker, not from the file.
        if all(fault["is_loss"] for verdict in verdicts for fault in verdict["faults"]):
            say("Nothing to mend: all that is in the file can be read.")
            return
    if not yes:
        ask_person("Keep the proven events, and set the damaged file aside?")
    say(salvage(path, at_any_loss=True))
    for verdict in _verdicts(path):
        say(f"{verdict['stream']}: {verdict['position']} events kept.")
    say("Start the bot, and look at `trueup status`: entries wait until you approve the loss.")


def _file_of(journal: str | None, otherwise: str) -> Path:
    """Return the file of a journal.

    Raises:
        JournalError: the journal is in a server; `otherwise` says what is done with those.
    """
    place = journal_of(journal)
    if not is_file(place):
        raise JournalError(f"{database_at(place).name} is {otherwise}.")
    return Path(place)


def _verdicts(
    place: str | Path, stream: str | None = None, archives: Path | None = None
) -> list[dict[str, Any]]:
    # A stream that is named is not looked up: the list of a damaged file may lack it.
    if stream is not None:
        return [_verdict(place, stream, None, archives)]
    streams = overview(place).streams
    return [_verdict(place, found.name, found.events, archives) for found in streams]


def _say_verdicts(verdicts: list[dict[str, Any]]) -> bool:
    """Print the verdicts on the streams of a journal, and return whether all are whole."""
    say("\n".join(line for verdict in verdicts for line in _verdict_lines(verdict)))
    return not any(verdict["faults"] for verdict in verdicts)


def _verdict(
    place: str | Path, stream: str, count: int | None, archives: Path | None
) -> dict[str, Any]:
    with (
        open_reader(place, stream) as reader,
        progress(f"Verifying {stream}", count) as shown,
    ):
        verdict = reader.verify(shown.reach, archives=archives is not None, folder=archives)
        archived = [
            {"first": one.first_position, "last": one.position, "file": one.file}
            for one in reader.archived
        ]
    return {
        "journal": str(place) if is_file(place) else "",
        "stream": stream,
        "sound": verdict.sound,
        "position": verdict.tip.position,
        "hash": verdict.tip.hash.hex(),
        "faults": [fault._asdict() for fault in verdict.faults],
        "archived": archived,
        "archives_verified": archives is not None,
    }


def _verdict_lines(verdict: dict[str, Any]) -> Iterable[str]:
    count = f"{verdict['position']} event{'s' * (verdict['position'] != 1)}"
    archived = verdict["archived"][-1]["last"] if verdict["archived"] else 0
    if archived and not verdict["archives_verified"]:
        count = f"{verdict['position'] - archived} events after the {archived} archived"
    if verdict["sound"]:
        yield f"{verdict['stream']}: {count}, whole, in order and unaltered."
    else:
        yield f"{verdict['stream']}: DAMAGED. {count} proven; beyond, this does not hold:"
        for fault in verdict["faults"]:
            where = f"position {fault['position']}: " if fault["position"] else ""
            yield f"  - {where}{fault['because']}"
    yield f"  tip {verdict['hash']}"
    for part in verdict["archived"]:
        how = "" if verdict["archives_verified"] else " (not verified: give --archives FOLDER)"
        yield f"  events {part['first']} to {part['last']} are in {part['file']}{how}"
