"""A process that runs seeds, for `lab.runs.seed_processes`.

The command is `python -m trueup.lab.runs.seeds_main NUMBER`, where NUMBER is the process's end of a
line. The line gives the job first, and then groups of seeds. The process ends with the line.
"""

from __future__ import annotations

import gc
import signal
import sys
from contextlib import suppress

from trueup.gateway.worker.module_process import inherited_line

# A run makes millions of objects, and little of it is garbage that has to be looked for.
NEW_OBJECTS = 50_000


def main(number: str) -> None:
    """Answer each group of seeds from the line with its results."""
    # Ctrl-C is for the calling program, which ends this process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with suppress(EOFError, OSError):
        line = inherited_line(number)
        # This imports what the job needs, which is no garbage.
        job = line.recv()
        gc.freeze()
        gc.set_threshold(NEW_OBJECTS, *gc.get_threshold()[1:])
        while True:
            line.send(job(line.recv()))


if __name__ == "__main__":
    main(sys.argv[1])
