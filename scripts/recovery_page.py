"""docs/concepts/recovery.md, from the table that decides and the essay above it."""

from __future__ import annotations

import re
from enum import Enum

from trueup.core import recovery
from trueup.core.recovery import CASES, Case

_HEAD = """\
# Recovery of orders after a crash

<!-- Written by `make docs` from src/trueup/core/recovery.py. Change it there. -->
"""
_TABLE_HEAD = """\
| case | the journal says | the broker shows | settled | decision | because |
| --- | --- | --- | --- | --- | --- |
"""
_TAIL = """\
The log, the audit trail (`trueup audit`) and every hold (`trueup status`) show label and reason.
[Orders](orders.md) describes the way of an order, and your actions for an order in doubt.
"""
_CASE = re.compile(r"^([A-L]) {3}(\S.*)$", re.MULTILINE)


def recovery_page() -> str:
    """docs/concepts/recovery.md."""
    before, cases, after = _essay(recovery.__doc__ or "")
    rows = "".join(_row(case) for case in CASES)
    how = "\n".join(f"* **{label}**: {text}" for label, text in cases.items())
    parts = [_HEAD, *before, "## The table\n", _TABLE_HEAD + rows]
    parts += ["## How each case comes about\n", how + "\n", *after, _TAIL]
    return "\n".join(parts)


def _essay(text: str) -> tuple[list[str], dict[str, str], list[str]]:
    """Return what stands before the cases, the cases, and what stands after them."""
    before: list[str] = []
    after: list[str] = []
    cases: dict[str, str] = {}
    for block in text.strip().split("\n\n"):
        if _CASE.match(block):
            label = ""
            for line in block.splitlines():
                found = _CASE.match(line)
                label = found[1] if found else label
                said = found[2] if found else line.strip()
                cases[label] = f"{cases[label]} {said}" if label in cases else said
        elif not block.startswith("How each case"):
            (after if cases else before).append(block + "\n")
    return before, cases, after


def _row(case: Case) -> str:
    settled = {None: "either", True: "yes", False: "no"}[case.settled]
    cells = (case.label, _any_of(case.journal), _any_of(case.broker), settled)
    return (
        f"| **{cells[0]}** | {' | '.join(cells[1:])} | {case.decision.value} | {case.because} |\n"
    )


def _any_of(values: tuple[Enum, ...]) -> str:
    return " or ".join(str(value.value) for value in values) or "anything"
