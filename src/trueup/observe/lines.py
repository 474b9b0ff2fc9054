"""Lines of text for a person: labelled sentences and times, in a given width."""

from __future__ import annotations

import datetime as dt
import textwrap

from trueup.core.trade_modes import describe_mode

WIDTH = 80
LABEL = 11


def said(label: str, text: str, width: int = WIDTH) -> list[str]:
    """Return a labelled sentence as lines; a word that is wider than a line is broken."""
    return textwrap.wrap(
        text,
        width,
        initial_indent=label.ljust(LABEL),
        subsequent_indent=" " * LABEL,
        break_on_hyphens=False,
        # A path or a broker's error may be wider than any console.
        break_long_words=True,
    ) or [label]


def account_words(name: str | None, trade_mode: str | None) -> str:
    """Return the account with its kind of money; bots of an older version do not tell the kind."""
    if name is None:
        return "not bound yet"
    # The field is missing, not empty, in the answer of an older bot.
    return name if trade_mode is None else f"{name} ({describe_mode(trade_mode)})"


def cut(line: str, width: int) -> str:
    """Return a line that fits; a longer line is cut between words, since half a number misleads."""
    if len(line) <= width:
        return line
    head = line[: max(0, width - 4)]
    # A text without spaces, as in Chinese, has no such place.
    return f"{head if line[len(head)] == ' ' else head.rpartition(' ')[0] or head} ..."


def time_of(moment: str) -> str:
    """Return an ISO 8601 time for people: 2026-01-05 14:03:07 UTC."""
    return f"{dt.datetime.fromisoformat(moment):%Y-%m-%d %H:%M:%S} UTC"


def clock_of(moment: str | None) -> str:
    """Return the time of day of an ISO 8601 time: 14:03:07; "never" for None."""
    return "never" if moment is None else moment[11:19]


def moment_of(moment: str, now: str) -> str:
    """Return an ISO 8601 time for people, without the date if that is the date of `now`."""
    same_day = moment[:10] == now[:10]
    return f"{clock_of(moment)} UTC" if same_day else f"{moment[:10]} {clock_of(moment)} UTC"


def age_words(seconds: float) -> str:
    """Write an age: 2 s, 3 min, 5 h, 2 days."""
    for unit, size, most in (("s", 1, 120), ("min", 60, 7_200), ("h", 3_600, 172_800)):
        if seconds < most:
            return f"{max(0.0, seconds) // size:.0f} {unit}"
    return f"{seconds // 86_400:.0f} days"
