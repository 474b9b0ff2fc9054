"""Write the findings of `trueup doctor` as rows: the state of each check, and the remedy.

The marks are words in plain letters, so that they look the same on every console and without
colour.
"""

from __future__ import annotations

import enum
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

WIDTH = 80
_MARK, _CHECK = 6, 19


class Mark(enum.Enum):
    """The result of a check: in order, a warning, a failure, or not checked."""

    OK = "ok"
    WARN = "warn"
    SICK = "FAIL"
    NOT_ASKED = "-"


COLOURS = {Mark.OK: "green", Mark.WARN: "yellow", Mark.SICK: "red", Mark.NOT_ASKED: "bright_black"}


class DoctorRow(msgspec.Struct, frozen=True):
    """One check: the finding, what is at risk, the remedy, and the figures for programs."""

    check: str
    mark: Mark
    found: str
    remedy: str = ""
    figures: dict[str, Any] = {}
    risk: str = ""


def ok(check: str, found: str, **figures: Any) -> DoctorRow:
    """Return a row for a check without findings."""
    return DoctorRow(check, Mark.OK, found, figures=figures)


def warn(check: str, found: str, risk: str, remedy: str, **figures: Any) -> DoctorRow:
    """Return a row for a part that works and could work better."""
    return DoctorRow(check, Mark.WARN, found, remedy, figures, risk)


def sick(check: str, found: str, risk: str, remedy: str, **figures: Any) -> DoctorRow:
    """Return a row for a part that does not work."""
    return DoctorRow(check, Mark.SICK, found, remedy, figures, risk)


def not_asked(check: str, found: str) -> DoctorRow:
    """Return a row for a check that could not be made, or that does not apply."""
    return DoctorRow(check, Mark.NOT_ASKED, found)


def is_healthy(rows: Iterable[DoctorRow]) -> bool:
    """Return whether no check failed."""
    return all(row.mark is not Mark.SICK for row in rows)


def row_lines(row: DoctorRow) -> list[str]:
    """Return a row as lines of 80 columns; the mark is in the first six."""
    head = row.mark.value.ljust(_MARK) + row.check.ljust(_CHECK)
    lines = _wrapped(head, row.found)
    for sign, text in (("!   ", row.risk), ("->  ", row.remedy)):
        if text:
            lines += _wrapped(" " * (_MARK + _CHECK - len(sign)) + sign, text)
    return lines


def summary(rows: Sequence[DoctorRow]) -> str:
    """Return the result of all checks in one line."""
    count = {mark: sum(row.mark is mark for row in rows) for mark in Mark}
    warnings = f"{count[Mark.WARN]} warning{'s' * (count[Mark.WARN] != 1)}"
    if count[Mark.SICK]:
        failed = ", ".join(row.check for row in rows if row.mark is Mark.SICK)
        return f"Sick: {failed}." + (f" And {warnings}." if count[Mark.WARN] else "")
    return f"Healthy, with {warnings}." if count[Mark.WARN] else "Healthy."


def _wrapped(head: str, text: str) -> list[str]:
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=head,
        subsequent_indent=" " * (_MARK + _CHECK),
        break_on_hyphens=False,
        break_long_words=False,
    ) or [head.rstrip()]
