"""A process that writes many streams: `many_writers_process.py URL HOLDER COUNT THREADS`.

It opens the streams `account-0` to `account-COUNT`, and says `open N` with the number that it got,
or each refusal. Then it obeys lines: `append N` appends N events to each stream, one at a time, in
its threads, and says `NAME POSITION` or `NAME ERROR` after each; `loop 0` does so without an end.
"""

from __future__ import annotations

import itertools
import sys
from concurrent.futures import ThreadPoolExecutor

from trueup.core.book.events import OrderCreated
from trueup.core.model import Side
from trueup.errors import JournalConflict, JournalError
from trueup.journal import open_journal
from trueup.journal.writing.store import StoredJournal

NOW_NS = 1_767_571_200_000_000_000


def say(text: object) -> None:
    """Write a line at once and whole, also beside other threads."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def opened(url: str, stream: str, holder: str) -> StoredJournal | None:
    """Return an open stream, or say why not."""
    try:
        return open_journal(url, stream, holder=holder, now_ns=lambda: NOW_NS)
    except JournalError as error:
        say(f"{type(error).__name__}: {error}")
        return None


def numbered(number: int) -> OrderCreated:
    """Return the event that belongs at a position."""
    return OrderCreated(
        at_ns=NOW_NS + number,
        order_id=f"order-{number}",
        symbol="EURUSD",
        side=Side.BUY,
        volume=0.01,
        price=1.1,
    )


def appended(journal: StoredJournal) -> int | str:
    """Append one event; return the position after it, or the name of the error."""
    event = numbered(journal.position + 1)
    try:
        return journal.append([event])
    except JournalConflict as error:
        return type(error).__name__
    except JournalError:
        # As when its session was ended for the sake of another stream.
        return journal.append([event])


def main(url: str, holder: str, count: str, threads: str) -> None:
    """Open, and obey."""
    with ThreadPoolExecutor(int(threads)) as pool:
        names = [f"account-{number}" for number in range(int(count))]
        found = list(pool.map(lambda name: opened(url, name, holder), names))
        journals = [journal for journal in found if journal is not None]
        say(f"open {len(journals)}")

        def write(part: list[StoredJournal], times: int) -> None:
            for _ in range(times) if times else itertools.count():
                for journal in part:
                    say(f"{journal.stream} {appended(journal)}")

        for line in sys.stdin:
            times = int(line.split()[1])
            parts = [journals[number :: int(threads)] for number in range(int(threads))]
            for done in [pool.submit(write, part, times) for part in parts]:
                done.result()


main(*sys.argv[1:])
