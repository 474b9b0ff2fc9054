"""The settings of our logs, which a command that is called in the process of the tests leaves."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from trueup.observe.log import set_up_logging


@contextmanager
def logs_as_before() -> Iterator[None]:
    """Put levels and propagation back at the end, and close the handlers that were added."""
    package = logging.getLogger("trueup")
    handlers = list(package.handlers)
    before = {log: (log.level, log.propagate) for log in _ours()}
    try:
        yield
    finally:
        if package.handlers != handlers:
            # The last lines of a file on a full disk cannot be written.
            with suppress(OSError):
                set_up_logging(console=False)
        for log in _ours():
            level, log.propagate = before.get(log, (logging.NOTSET, True))
            # Setting a level makes every log forget what it found.
            if log.level != level:
                log.setLevel(level)


def _ours() -> list[logging.Logger]:
    names = [name for name in logging.root.manager.loggerDict if name.partition(".")[0] == "trueup"]
    return [logging.getLogger(name) for name in names]
