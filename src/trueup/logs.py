"""The loggers of the package: an exception in a log handler costs only that log line.

A handler runs in the middle of our calls. Handlers of the standard library report an error with
`handleError` and continue; a custom handler or filter may raise instead. The exception would then
abort a sync whose corrections are already in the journal, and the audit trail, the result and the
next due time would be lost. So each handler is called separately: an exception is passed to its
`handleError`, which writes a traceback to stderr if `logging.raiseExceptions` is true, and the next
handler is called.
"""

from __future__ import annotations

import contextlib
import logging
from logging import Logger

__all__ = ["Logger", "logger"]


class _Careful(logging.Logger):
    """A logger whose handlers and filters cannot break the code that logs."""

    def handle(self, record: logging.LogRecord) -> None:
        """Pass on a record; an exception in a filter of the logger costs only this line."""
        try:
            kept: bool | logging.LogRecord = not self.disabled and self.filter(record)
        except Exception:  # noqa: BLE001 - an application's filter may raise anything
            _report(logging.Handler(), record)
            return
        if kept:
            # Since Python 3.12 a filter may return another record to use instead.
            self.callHandlers(kept if isinstance(kept, logging.LogRecord) else record)

    def callHandlers(self, record: logging.LogRecord) -> None:
        """Call every handler of this logger and its parents, even if some of them raise."""
        at: logging.Logger | None = self
        handlers: list[logging.Handler] = []
        while at is not None:
            handlers += at.handlers
            at = at.parent if at.propagate else None
        if not handlers and logging.lastResort is not None:
            handlers = [logging.lastResort]
        for handler in handlers:
            if record.levelno >= handler.level:
                try:
                    handler.handle(record)
                except Exception:  # noqa: BLE001 - an application's handler may raise anything
                    _report(handler, record)


def _report(handler: logging.Handler, record: logging.LogRecord) -> None:
    """Report the current exception as the standard handlers do."""
    with contextlib.suppress(Exception):
        handler.handleError(record)


def logger(name: str) -> logging.Logger:
    """Return the logger of this name, whose handlers cannot break the code that logs."""
    log = logging.getLogger(name)
    if type(log) is logging.Logger:
        log.__class__ = _Careful
    elif not isinstance(log, _Careful):
        # Keep the application's own logger class as a base class.
        log.__class__ = type("CarefulLogger", (_Careful, type(log)), {})
    return log
