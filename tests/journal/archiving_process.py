"""Kill an archiving at each statement, or at one of so many.

`archiving_process.py URL STREAM FOLDER BEFORE_NS TIP FIRST EVERY`

For each statement and each step of the file in turn, a child archives (then: puts back) and kills
itself there, and another child looks at what is left, goes on and undoes it. One line for each
kill: what it was killed in, and `whole` or what is wrong.
"""

from __future__ import annotations

import itertools
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from trueup.errors import JournalConflict
from trueup.journal import open_reader
from trueup.journal.backends.location import database_at
from trueup.journal.database.database import Database
from trueup.journal.writing import archiving

URL, STREAM, FOLDER, BEFORE_NS, TIP, FIRST, EVERY = sys.argv[1:]


def kill_at(number: int, kind: type[Database]) -> None:
    """Have this process killed before its step of that number."""
    steps = itertools.count(1)

    def hurt(owner: Any, name: str) -> None:
        done = getattr(owner, name)

        def step(*arguments: Any, **options: Any) -> Any:
            if next(steps) == number:
                os.kill(os.getpid(), signal.SIGKILL)
            return done(*arguments, **options)

        setattr(owner, name, step)

    for name in ("run", "change", "change_many", "fetch"):
        hurt(kind, name)
    hurt(os, "fsync")
    hurt(Path, "replace")


@contextmanager
def connected() -> Iterator[Database]:
    """Connect to the journal, and wait for what a killed process held."""
    database = database_at(URL)
    database.connect()
    for _ in range(500):
        try:
            with database.maintaining():
                break
        except JournalConflict:
            time.sleep(0.01)
    yield database
    database.close()


def archive() -> archiving.Archived | None:
    """Archive what is old."""
    with connected() as database:
        return archiving.archive(database, STREAM, int(BEFORE_NS), Path(FOLDER), time.time_ns())


def restore() -> None:
    """Put everything back."""
    with open_reader(URL, STREAM) as reader:
        anchors = reader.archived
    for anchor in reversed(anchors):
        with connected() as database:
            archiving.restore(database, Path(anchor.file))


def wrong() -> str:
    """Say what is wrong with the journal and its archive, or nothing."""
    with open_reader(URL, STREAM) as reader:
        verdict = reader.verify(archives=True)
        if not verdict.sound or verdict.tip.hash.hex() != TIP:
            return f"{verdict}"
        seen = [record.position for record in reader.records()]
        if seen != list(range(1, verdict.tip.position + 1)):
            return f"{seen}"
        live = (
            [record.position for record in reader.records(reader.archived[-1].position)]
            if (reader.archived)
            else seen
        )
        return "" if live[-1:] == seen[-1:] else f"{live}"


def look() -> None:
    """Look, go on, look, put back, and look again."""
    for step in (lambda: None, archive, restore):
        step()
        found = wrong()
        if found:
            say(found)
            return
    left = [path.name for path in Path(FOLDER).iterdir() if path.suffix == ".part"]
    say(f"left: {left}" if len(left) > 1 else "whole")
    for path in Path(FOLDER).iterdir():
        path.unlink()


def in_child(act: Callable[[], object]) -> int:
    """Do something in a child; return its exit code, negative for a signal."""
    pid = os.fork()
    if not pid:
        act()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def say(text: str) -> None:
    """Write the end of a line at once."""
    os.write(1, f"{text}\n".encode())


def killed(act: Callable[[], object], number: int) -> None:
    """Act, and be killed on the way."""
    kill_at(number, type(database_at(URL)))
    act()


ended = 0
for what in (archive, restore):
    for count in itertools.count(int(FIRST), int(EVERY)):
        if what is restore:
            in_child(archive)
        ended = in_child(lambda: killed(what, count))  # noqa: B023 - called at once
        if ended != -signal.SIGKILL:
            break
        os.write(1, f"{what.__name__} {count} ".encode())
        in_child(look)
    os.write(1, f"{what.__name__} done {ended}\n".encode())
    in_child(look)
