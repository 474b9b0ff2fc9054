"""What happened, for a person: one entry for each event of a journal."""

from __future__ import annotations

import datetime as dt
import textwrap
from collections.abc import Iterable, Iterator

import msgspec

_DETAILS_AT = 31


class Told(msgspec.Struct, frozen=True):
    """One event of a journal, told.

    `timestamp` is ISO 8601 in UTC, `position` the event's place in its stream, `order_id` an order
    of ours and `ticket` a number at the broker, where there is one. `before` and `after` are what
    it was and what it became, empty where the details say all.
    """

    timestamp: str
    position: int
    action: str
    ticket: int | None
    order_id: str | None
    details: str
    before: str = ""
    after: str = ""


COLUMNS = Told.__struct_fields__


def audit_lines(story: Iterable[Told], width: int = 80) -> Iterator[str]:
    """Yield entries as lines of at most `width` characters, a date before each day's first."""
    day = ""
    for told in story:
        moment = dt.datetime.fromisoformat(told.timestamp)
        if f"{moment:%Y-%m-%d}" != day:
            day = f"{moment:%Y-%m-%d}"
            yield f"{day}, UTC"
        head = f"{moment:%H:%M:%S}  {told.action:<9} {told.ticket or '':<10}"
        yield from textwrap.wrap(
            told.details,
            max(width, _DETAILS_AT + 20),
            initial_indent=f"{head} ".ljust(_DETAILS_AT),
            subsequent_indent=" " * _DETAILS_AT,
            break_on_hyphens=False,
            break_long_words=False,
        )
