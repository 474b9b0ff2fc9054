"""Write a conformance report as text of 80 columns."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from trueup.conformance.examination.findings import Finding, Outcome, Report

WIDTH = 80
_GRADE, _STANDING, _OUTCOME, _CHECK, _LABEL = 18, 23, 10, 22, 6


def write_report(report: Report, *, in_full: bool = False) -> str:
    """Write a report; the exchange is shown below each broken check, or below every check."""
    serves = ", ".join(report.capabilities) or "the guide's wire only"
    lines = [
        *_wrapped("", f"{report.endpoint}: {serves}; {report.mechanism or 'no ZeroMQ'}", 2),
        "",
    ]
    for row in report.grades:
        head = row.grade.value.ljust(_GRADE) + row.standing.value.ljust(_STANDING)
        lines += _wrapped(head, row.because, _GRADE + _STANDING)
    lines.append("")
    # Grades first: the findings may fill several screens.
    for finding in report.findings:
        lines += _finding(finding, in_full=in_full)
    if report.left_open:
        tickets = ", ".join(map(str, report.left_open))
        lines += ["", *_wrapped("", f"STILL OPEN, close it by hand: ticket {tickets}", 2)]
    return "\n".join(lines)


def _finding(finding: Finding, *, in_full: bool) -> Iterator[str]:
    indent = _OUTCOME + _CHECK
    head = finding.outcome.value.ljust(_OUTCOME) + finding.check.ljust(_CHECK)
    yield from _wrapped(head, finding.because, indent)
    if in_full or finding.outcome is Outcome.BROKEN:
        for label, text in (
            ("rule", finding.rule),
            ("sent", finding.sent or "nothing"),
            ("came", finding.came or "nothing"),
        ):
            yield from _wrapped(" " * _OUTCOME + label.ljust(_LABEL), text, _OUTCOME + _LABEL)
        for line in finding.lines:
            yield from _wrapped(" " * _OUTCOME + "line".ljust(_LABEL), line, _OUTCOME + _LABEL)


def _wrapped(head: str, text: str, indent: int) -> list[str]:
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=head,
        subsequent_indent=" " * indent,
        break_on_hyphens=False,
    ) or [head.rstrip()]
