"""A process that writes a stream: `writer_process.py URL STREAM HOLDER [take-over]`.

It says `open POSITION TOKEN` or the error, then obeys lines: `append N` appends one transaction of
N events, `loop N` does so for ever; each says the position or the error.
"""

from __future__ import annotations

import itertools
import sys
import time

from trueup.core.book import events
from trueup.core.model import Side
from trueup.errors import JournalError
from trueup.journal import open_journal
from trueup.journal.writing.store import StoredJournal

NUMBERS = itertools.count(1)


def say(text: object) -> None:
    """Write a line at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def append(journal: StoredJournal, count: int) -> None:
    """Append one transaction, and say the position after it."""
    batch = [
        events.OrderCreated(
            at_ns=time.time_ns(),
            order_id=f"{journal.token}-{next(NUMBERS)}",
            symbol="EURUSD",
            side=Side.BUY,
            volume=0.01,
            price=1.1,
        )
        for _ in range(count)
    ]
    try:
        say(journal.append(batch))
    except JournalError as error:
        say(f"{type(error).__name__}: {error}")


def main(url: str, stream: str, holder: str, *options: str) -> None:
    """Open, and obey."""
    try:
        journal = open_journal(
            url, stream, holder=holder, take_over="take-over" in options, now_ns=time.time_ns
        )
    except JournalError as error:
        say(f"{type(error).__name__}: {error}")
        return
    say(f"open {journal.position} {journal.token}")
    for line in sys.stdin:
        command, count = line.split()
        append(journal, int(count))
        while command == "loop":
            append(journal, int(count))


main(*sys.argv[1:])
