"""Write a log line as a JSON object, for programs that collect logs.

docs/operating/logs.md has the fields. The object is ASCII on one line, whatever is in a message.
"""

from __future__ import annotations

import datetime as dt
import json
import logging
import re
from typing import Any

# What every record of Python's logging has; all else was given by the line itself.
_OF_EVERY_RECORD = frozenset(
    (*vars(logging.makeLogRecord({})), "message", "asctime", "event", "order_id")
)
_TAG = re.compile(r"\[([A-Z0-9_]+)\] ")


class JsonFormatter(logging.Formatter):
    """Writes a record with its time, level, event, message and fields.

    `event` is the name that the line gives, or the line's tag in lower case. `order_id` is the
    order of ours that the line is about.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the object as text."""
        message = record.getMessage()
        values: dict[str, Any] = {
            "time": _iso(record.created),
            "level": record.levelname,
            "event": getattr(record, "event", None) or _event(record.name, message),
        }
        order_id = getattr(record, "order_id", None)
        if order_id:
            values["order_id"] = order_id
        values["message"] = message
        values["logger"] = record.name
        given = vars(record).items()
        values |= {k: v for k, v in given if k not in _OF_EVERY_RECORD and v is not None}
        if record.exc_info:
            values["traceback"] = self.formatException(record.exc_info)
        return json.dumps(values, default=str)


def _event(name: str, message: str) -> str:
    """Return the tag of a message such as `[SYNC] ...`, or the last part of the logger's name."""
    tag = _TAG.match(message)
    return tag[1].lower() if tag is not None else name.rpartition(".")[2]


def _iso(seconds: float) -> str:
    moment = dt.datetime.fromtimestamp(seconds, dt.UTC)
    return moment.isoformat(timespec="milliseconds")
