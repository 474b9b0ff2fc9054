"""A process that takes streams over, and is killed at a given call to the database.

`taking_over_process.py URL STREAM ACCOUNT [CALL]` opens the stream, takes the streams of the
account over, and prints the number of calls that this took.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import Any

from trueup.journal import open_journal
from trueup.journal.database.database import Database
from trueup.journal.writing.takeover import take_over_streams

CALLS = ("fetch", "change", "change_many", "run")


def count_calls(kill_at: int) -> list[int]:
    """Count the calls to the database, and end this process at one of them."""
    made = [0]

    def counted(function: Any) -> Any:
        def call(*args: Any) -> Any:
            made[0] += 1
            if made[0] == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*args)

        return call

    for name in CALLS:
        setattr(Database, name, counted(getattr(Database, name)))
    return made


def main(url: str, stream: str, account: str, kill_at: str = "0") -> None:
    """Open, take over, and tell how many calls that took."""
    with open_journal(url, stream, now_ns=time.time_ns) as journal:
        made = count_calls(int(kill_at))
        take_over_streams(journal, account, lambda _: True, time.time_ns())
        sys.stdout.write(f"{made[0]}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
