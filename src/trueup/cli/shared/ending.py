"""End a command in order when a person or a supervisor asks."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable

# SIGBREAK is the Ctrl-Break of a Windows console.
_REQUESTS = ("SIGTERM", "SIGBREAK")


def stop_on_signals(stop: Callable[[], object]) -> None:
    """Call `stop` on Ctrl-C, on SIGTERM, and on the Ctrl-Break of a Windows console."""
    _call_on(("SIGINT", *_REQUESTS), stop)


def end_on_request() -> None:
    """End with exit code 0 on SIGTERM, and on the Ctrl-Break of a Windows console.

    Without it the process is killed in the middle of its work; and as the first process of a
    container, it does not end at all.
    """
    _call_on(_REQUESTS, lambda: sys.exit(0))


def _call_on(names: tuple[str, ...], call: Callable[[], object]) -> None:
    for name in names:
        number = getattr(signal, name, None)
        if number is not None:
            signal.signal(number, lambda *_: call())
