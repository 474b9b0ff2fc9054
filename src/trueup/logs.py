"""The loggers of the package: lines about an order carry its id, and a bad handler costs a line.

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
from collections.abc import Iterator
from contextvars import ContextVar
from logging import Logger

__all__ = ["Lines", "Logger", "about_account", "about_order", "logger"]

# The order of ours that this thread is about now, '' for none.
_order_id: ContextVar[str] = ContextVar("trueup_order_id", default="")
# The account of `accounts.toml` that this thread works for now, '' for none.
_account: ContextVar[str] = ContextVar("trueup_account", default="")


class _Careful(logging.Logger):
    """A logger whose handlers and filters cannot break the code that logs."""

    def handle(self, record: logging.LogRecord) -> None:
        """Pass on a record; an exception in a filter of the logger costs only this line."""
        order_id = _order_id.get()
        if order_id and not hasattr(record, "order_id"):
            record.order_id = order_id
        account = _account.get()
        if account and not hasattr(record, "account"):
            record.account = account
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


@contextlib.contextmanager
def about_order(order_id: str) -> Iterator[None]:
    """Let every line that this thread logs in the block carry the id of an order, as `order_id`.

    A handler or formatter of an application finds the id at the log record.
    """
    before = _order_id.set(order_id)
    try:
        yield
    finally:
        _order_id.reset(before)


class AboutAccount:
    """Sets the account of this thread's log lines in a `with` block; made at every step of one."""

    __slots__ = ("_before", "_name")

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        self._before = _account.set(self._name)

    def __exit__(self, *_: object) -> None:
        _account.reset(self._before)


def about_account(name: str) -> AboutAccount:
    """Let every line that this thread logs in the block carry an account's name, as `account`."""
    return AboutAccount(name)


def logger(name: str) -> logging.Logger:
    """Return the logger of this name, whose handlers cannot break the code that logs."""
    log = logging.getLogger(name)
    if type(log) is logging.Logger:
        log.__class__ = _Careful
    elif not isinstance(log, _Careful):
        # Keep the application's own logger class as a base class.
        log.__class__ = type("CarefulLogger", (_Careful, type(log)), {})
    return log


class Lines:
    """Makes the log records of one call that may write ten thousand lines.

    All records have the time, thread and process of the first, and the given place in the code:
    to find them out for each record takes longer than the rest of the line.

    Args:
        log: the logger.
        file: the path of the module that writes the lines.
        function: the function that writes them.
    """

    def __init__(self, log: logging.Logger, file: str, function: str) -> None:
        self._place = log.name, file, function
        self._first: dict[int, dict[str, object]] = {}

    def record(self, level: int, text: str) -> logging.LogRecord:
        """Return a record with a text that has no arguments."""
        first = self._first.get(level)
        if first is None:
            name, file, function = self._place
            record = logging.LogRecord(name, level, file, 0, text, None, None, function)
            self._first[level] = dict(vars(record))
            return record
        record = logging.LogRecord.__new__(logging.LogRecord)
        record.__dict__ = {**first, "msg": text}
        return record
