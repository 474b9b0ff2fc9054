"""What `trueup doctor` found, as rows for a person: how it is, and what to do where it is not well.

The marks are words in plain letters, so that they read the same in every console and without
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
    """How a check came out. A warning is no sickness; what was not asked is nothing at all."""

    OK = "ok"
    WARN = "warn"
    SICK = "FAIL"
    NOT_ASKED = "-"


COLOURS = {Mark.OK: "green", Mark.WARN: "yellow", Mark.SICK: "red", Mark.NOT_ASKED: "bright_black"}


class DoctorRow(msgspec.Struct, frozen=True):
    """One check: what was found, what would mend it, and the figures, for programs."""

    check: str
    mark: Mark
    found: str
    remedy: str = ""
    figures: dict[str, Any] = {}


def ok(check: str, found: str, **figures: Any) -> DoctorRow:
    """It is as it should be."""
    return DoctorRow(check, Mark.OK, found, figures=figures)


def warn(check: str, found: str, remedy: str, **figures: Any) -> DoctorRow:
    """It works, and could be better."""
    return DoctorRow(check, Mark.WARN, found, remedy, figures)


def sick(check: str, found: str, remedy: str, **figures: Any) -> DoctorRow:
    """It does not work."""
    return DoctorRow(check, Mark.SICK, found, remedy, figures)


def not_asked(check: str, found: str) -> DoctorRow:
    """Nobody could ask, or there is nothing to ask."""
    return DoctorRow(check, Mark.NOT_ASKED, found)


def is_healthy(rows: Iterable[DoctorRow]) -> bool:
    """Return whether nothing is sick."""
    return all(row.mark is not Mark.SICK for row in rows)


def row_lines(row: DoctorRow) -> list[str]:
    """Write one row as lines of 80 columns; the mark stands in the first six."""
    head = row.mark.value.ljust(_MARK) + row.check.ljust(_CHECK)
    lines = _wrapped(head, row.found)
    if row.remedy:
        lines += _wrapped(" " * (_MARK + _CHECK - 4) + "->  ", row.remedy)
    return lines


def summary(rows: Sequence[DoctorRow]) -> str:
    """Say in one line how things stand."""
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
