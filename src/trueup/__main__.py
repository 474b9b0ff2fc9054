"""Entry point of the command `trueup` and of `python -m trueup`.

Ctrl-C during the imports ends the process silently, by the default action of the signal.
"""

from __future__ import annotations

import signal
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; the default arguments are those of this process."""
    # The import takes a good part of a second. In that time Python would print a traceback at
    # Ctrl-C; the system's default action ends the process without a traceback.
    is_pythons = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if is_pythons:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from trueup.cli.process import run

    run(arguments, takes_interrupts=is_pythons)


if __name__ == "__main__":
    main()
