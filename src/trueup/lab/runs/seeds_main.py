"""A process that lives through seeds, for `lab.runs.seed_processes`.

It is run as `python -m trueup.lab.runs.seeds_main NUMBER`, where NUMBER is its end of a line. On
that comes the strategy, and then some seeds after another. When the line ends, so does the process.
"""

from __future__ import annotations

import signal
import sys
from contextlib import suppress

from trueup.gateway.worker.module_process import inherited_line
from trueup.lab.runs.run import outcome_of


def main(number: str) -> None:
    """Say what comes of the seeds that come on a line."""
    # Ctrl-C is for the program that asks, which ends this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with suppress(EOFError, OSError):
        line = inherited_line(number)
        strategy = line.recv()
        while True:
            line.send(outcome_of(line.recv(), strategy))


if __name__ == "__main__":
    main(sys.argv[1])
