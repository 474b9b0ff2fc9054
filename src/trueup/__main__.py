"""The command `trueup`, and `python -m trueup`: from the first instant of a process to its last.

Ctrl-C before there is anything to stop ends the process without a word, as the system does it.
"""

from __future__ import annotations

import signal
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line as a process of its own; by default with this process's arguments."""
    # Importing takes a good part of a second, in which Python would answer Ctrl-C with a traceback.
    is_pythons = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if is_pythons:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from trueup.cli.process import run

    run(arguments, takes_interrupts=is_pythons)


if __name__ == "__main__":
    main()
