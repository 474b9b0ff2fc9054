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
from collections.abc import Iterable, Iterator, Mapping
from contextvars import ContextVar
from logging import Logger
from types import MappingProxyType

__all__ = ["Lines", "Logger", "about_account", "about_order", "logger"]

# The order of ours that this thread is about now, '' for none.
_order_id: ContextVar[str] = ContextVar("trueup_order_id", default="")
# The account of `accounts.toml` that this thread works for now, '' for none.
_account: ContextVar[str] = ContextVar("trueup_account", default="")

_new_record = logging.LogRecord.__new__
NOTHING_MORE: Mapping[str, object] = MappingProxyType({})


class _Careful(logging.Logger):
    """A logger whose handlers and filters cannot break the code that logs."""

    def handle(self, record: logging.LogRecord) -> None:
        """Pass on a record; an exception in a filter of the logger costs only this line."""
        _name_subject(record)
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
        _call(_handlers_of(self), record)


def _name_subject(record: logging.LogRecord) -> None:
    """Give a record the order and the account that this thread is about now."""
    order_id, account = _order_id.get(), _account.get()
    if order_id and not hasattr(record, "order_id"):
        record.order_id = order_id
    if account and not hasattr(record, "account"):
        record.account = account


def _handlers_of(log: logging.Logger) -> list[logging.Handler]:
    """Return the handlers of a logger and its parents, or the standard library's last resort."""
    at: logging.Logger | None = log
    handlers: list[logging.Handler] = []
    while at is not None:
        handlers += at.handlers
        at = at.parent if at.propagate else None
    if not handlers and logging.lastResort is not None:
        handlers = [logging.lastResort]
    return handlers


def _call(handlers: Iterable[logging.Handler], record: logging.LogRecord) -> None:
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
    """Writes the log lines of one call that may write ten thousand lines.

    All lines have the time, thread, process and subject of the first, the given place in the code,
    and the handlers that the logger has now: to find them out for each line takes longer than the
    rest of the line.

    Args:
        log: the logger.
        file: the path of the module that writes the lines.
        function: the function that writes them.
    """

    def __init__(self, log: logging.Logger, file: str, function: str) -> None:
        self._log, self._place = log, (log.name, file, function)
        self._handlers = _handlers_of(log)
        self._first: dict[int, dict[str, object]] = {}
        self._is_wanted: dict[int, bool] = {}

    def write(self, level: int, text: str, more: Mapping[str, object]) -> None:
        """Write a line with a text that has no arguments; `more` are attributes of its record."""
        is_wanted = self._is_wanted.get(level)
        if is_wanted is None:
            is_wanted = self._is_wanted[level] = self._log.isEnabledFor(level)
        if not is_wanted:
            return
        record = self.record(level, text, more)
        if self._log.filters:
            self._log.handle(record)
        else:
            _call(self._handlers, record)

    def record(
        self, level: int, text: str, more: Mapping[str, object] = NOTHING_MORE
    ) -> logging.LogRecord:
        """Return the record of such a line."""
        first = self._first.get(level)
        if first is None:
            name, file, function = self._place
            record = logging.LogRecord(name, level, file, 0, text, None, None, function)
            _name_subject(record)
            first = self._first[level] = dict(vars(record))
        record = _new_record(logging.LogRecord)
        record.__dict__ = {**first, "msg": text, **more}
        return record
