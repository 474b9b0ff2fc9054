"""Quiet hours, in which only a message that needs a person is sent."""

from __future__ import annotations

import datetime as dt
import re
from typing import NamedTuple
from zoneinfo import ZoneInfo

_HOURS = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)")


class QuietHours(NamedTuple):
    """The hours from `begin` to `end` of each day, in minutes of the local day of a zone.

    The local clock decides, so a change to or from daylight saving time within the hours makes them
    an hour shorter or longer. An end that the change skips counts as passed, and an end that comes
    twice ends the hours twice.
    """

    begin: int
    end: int
    zone: ZoneInfo

    @property
    def words(self) -> str:
        """The hours for people: 22:00-07:00 Europe/Berlin."""
        begin, end = (f"{at // 60:02d}:{at % 60:02d}" for at in (self.begin, self.end))
        return f"{begin}-{end} {self.zone.key}"

    def has(self, now_ns: int) -> bool:
        """Return whether a moment (ns of UTC) is within the hours."""
        local = dt.datetime.fromtimestamp(now_ns // 1_000_000_000, self.zone)
        minute = local.hour * 60 + local.minute
        if self.begin < self.end:
            return self.begin <= minute < self.end
        return minute >= self.begin or minute < self.end


def quiet_hours(text: str, zone: ZoneInfo) -> QuietHours:
    """Return the hours that a text such as 22:00-07:00 names.

    Raises:
        ValueError: the text names no hours, or begin and end are equal.
    """
    found = _HOURS.fullmatch(text)
    if found is None:
        raise ValueError("not two times")
    begin_hour, begin_minute, end_hour, end_minute = map(int, found.groups())
    begin, end = begin_hour * 60 + begin_minute, end_hour * 60 + end_minute
    if begin == end:
        raise ValueError("no hours")
    return QuietHours(begin, end, zone)
