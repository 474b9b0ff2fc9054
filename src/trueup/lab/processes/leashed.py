"""Run a command of trueup that ends with the process that started it, however that ends.

    python -m trueup.lab.processes.leashed ARGUMENTS

The starter keeps the other end of standard input open; its end closes the pipe. In a folder with a
file `clock-ahead` the wall clock of this process is ahead by the seconds in that file, which may
change at any time.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading
import time
from pathlib import Path

CLOCK_FILE = "clock-ahead"


def _end_with_starter() -> None:
    sys.stdin.read()
    # The signal of an orderly end; on Windows it ends the process at once.
    os.kill(os.getpid(), signal.SIGTERM)


def _allow_setting_the_clock() -> None:
    real_ns = time.time_ns

    def set_ns() -> int:
        try:
            ahead_sec = float(Path(CLOCK_FILE).read_text("ascii"))
        except (OSError, ValueError):
            # Not set, or being set.
            ahead_sec = 0.0
        return real_ns() + round(ahead_sec * 1e9)

    # The clock of a machine cannot be set without rights, and has other users.
    time.time_ns = set_ns


def main() -> None:
    """Run the command of the command line."""
    threading.Thread(target=_end_with_starter, daemon=True).start()
    _allow_setting_the_clock()
    # By its name, because the command line is above the laboratory.
    runpy.run_module("trueup", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
