"""Stop what runs on the signals with which a person or a service manager ends a process."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any


@contextlib.contextmanager
def stopped_by_signals(stop: Callable[[], object]) -> Iterator[None]:
    """Call `stop` on Ctrl-C, on SIGTERM, and on the Ctrl-Break of a Windows console.

    A second signal raises KeyboardInterrupt at once: what runs may hang, and never see the stop.
    Python allows that in the main thread alone; in another thread, the program stops what runs.
    """
    earlier: dict[int, Any] = {}

    def signalled(*_: object) -> None:
        for number in earlier:
            signal.signal(number, signal.default_int_handler)
        stop()

    if threading.current_thread() is threading.main_thread():
        for name in ("SIGINT", "SIGTERM", "SIGBREAK"):
            number = getattr(signal, name, None)
            if number is not None:
                earlier[number] = signal.signal(number, signalled)
    try:
        yield
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)
