"""The loggers of the package: a log handler that raises costs its own line, and nothing else.

A handler runs in the middle of our calls. Those of the standard library report an error with
`handleError` and go on; one of somebody's own, or a filter, may raise instead. The exception would
then go up through a sync whose corrections are in the journal already, and the audit trail, the
result and the next due time would be lost with it. So each handler is called on its own: what it
raises is given to its `handleError`, which writes a traceback to stderr while
`logging.raiseExceptions` is true, and the next handler has its turn.
"""

from __future__ import annotations

import contextlib
import logging
from logging import Logger

__all__ = ["Logger", "logger"]


class _Careful(logging.Logger):
    """A logger whose handlers and filters cannot break what logs."""

    def handle(self, record: logging.LogRecord) -> None:
        """Hand a record on; a filter of the logger that raises costs the line."""
        try:
            kept: bool | logging.LogRecord = not self.disabled and self.filter(record)
        except Exception:  # noqa: BLE001 - a stranger's filter may raise anything
            _report(logging.Handler(), record)
            return
        if kept:
            # Since Python 3.12 a filter may put another record in the place of this one.
            self.callHandlers(kept if isinstance(kept, logging.LogRecord) else record)

    def callHandlers(self, record: logging.LogRecord) -> None:
        """Call every handler of this logger and of those above, whatever one of them raises."""
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
                except Exception:  # noqa: BLE001 - a stranger's handler may raise anything
                    _report(handler, record)


def _report(handler: logging.Handler, record: logging.LogRecord) -> None:
    """Report the exception under way as the standard handlers do."""
    with contextlib.suppress(Exception):
        handler.handleError(record)


def logger(name: str) -> logging.Logger:
    """Return the logger of this name, whose handlers cannot break what logs."""
    log = logging.getLogger(name)
    if type(log) is logging.Logger:
        log.__class__ = _Careful
    elif not isinstance(log, _Careful):
        # Whatever class the application chose for its loggers stays one of this one's.
        log.__class__ = type("CarefulLogger", (_Careful, type(log)), {})
    return log
