"""Write the report of a watch for a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from trueup.core.dates import iso
from trueup.observe.lines import WIDTH, said
from trueup.observe.shadow.report import Finding, Kind, ShadowReport
from trueup.observe.shadow.sentences import lasted, time_words

# A report on a screen shows so many of a kind; the page and the JSON have all.
SHOWN_MOST = 20
NOTHING = "Nothing that a bot of memory would have missed."
# These have no owner and no fault; they are told, and not counted as something missed.
PLAIN = frozenset({Kind.AWAY})


def headline(report: ShadowReport) -> str:
    """Return the report in a sentence."""
    if not report.until_ns:
        return "The watch has seen nothing: no reading was believed."
    count = sum(one.kind not in PLAIN for one in report.findings)
    if not count:
        return NOTHING
    things = "1 thing" if count == 1 else f"{count} things"
    return f"{things} that a bot would not know unless it looks."


def facts(report: ShadowReport) -> dict[str, str]:
    """Return the facts about the watch itself, by their labels."""
    made = {"Account": report.account or "not known", "Gateway": report.gateway}
    if report.until_ns:
        made["Watched"] = (
            f"{time_words(report.since_ns)} to {time_words(report.until_ns)} "
            f"({lasted(report.since_ns, report.until_ns)})"
        )
    numbers = ", ".join(map(str, report.magics))
    bot = f"magic {numbers}" if numbers else "any program (no --magic given)"
    made["Bot"] = f"{bot}; it opened {report.opened} and closed {report.closed}"
    made["Positions"] = f"{report.at_first} at the first reading, {report.open_now} at the last"
    return made


def span_words(finding: Finding) -> str:
    """Write the time of a finding, and its end if it lasted."""
    begin = time_words(finding.at_ns)
    if finding.until_ns is None:
        return begin
    if not finding.until_ns:
        return f"since {begin}"
    end = time_words(finding.until_ns)
    return f"{begin} to {end[11:] if end[:10] == begin[:10] else end}"


def where_words(finding: Finding) -> str:
    """Write what a finding is about: ticket 12 EURUSD."""
    ticket = f"ticket {finding.ticket}" if finding.ticket else ""
    return " ".join(filter(None, (ticket, finding.symbol)))


def write_report(report: ShadowReport, width: int = WIDTH) -> str:
    """Write a report as text of at most `width` columns."""
    lines = ["Shadow: what the broker did beside the bot", headline(report), ""]
    for label, words in facts(report).items():
        lines += said(label, words, width)
    for kind in report.counts:
        lines += ["", *_of_kind(report.of(kind), kind, width)]
    return "\n".join(lines)


def _of_kind(found: tuple[Finding, ...], kind: Kind, width: int) -> Iterator[str]:
    yield f"{kind.title} ({len(found)})"
    for one in found[:SHOWN_MOST]:
        yield ""
        yield from finding_lines(one, width)
    if len(found) > SHOWN_MOST:
        yield ""
        yield f"  and {len(found) - SHOWN_MOST} more: --report FILE.html or --json shows them all"


def finding_lines(finding: Finding, width: int = WIDTH) -> list[str]:
    """Write a finding: its time, what was seen, the proof, the meaning."""
    head = " ".join(filter(None, (span_words(finding), where_words(finding))))
    lines = said("  when", f"{head}, {finding.meanwhile}" if finding.meanwhile else head, width)
    for label, words in (
        ("  seen", finding.seen),
        ("  proof", finding.proof),
        ("  meant", finding.meant),
    ):
        lines += said(label, f"{words}.", width)
    return lines


def live_line(finding: Finding) -> str:
    """Write a finding in a line, for a console while the watch runs."""
    about = where_words(finding)
    where = f"{about}: " if about else ""
    at_ns = max(finding.seen_ns, finding.until_ns or 0)
    return f"{time_words(at_ns)[11:19]}  {finding.kind.value}: {where}{finding.seen}."


def report_values(report: ShadowReport) -> dict[str, Any]:
    """Return a report as plain values for JSON; each time is ISO 8601 text, or null."""
    return {
        "headline": headline(report),
        "account": report.account,
        "gateway": report.gateway,
        "since": _moment(report.since_ns),
        "until": _moment(report.until_ns),
        "magics": list(report.magics),
        "opened": report.opened,
        "closed": report.closed,
        "at_first": report.at_first,
        "open_now": report.open_now,
        "counts": [{"kind": kind.value, "count": count} for kind, count in report.counts.items()],
        "findings": [
            {
                "kind": one.kind.value,
                "at": _moment(one.at_ns),
                "until": _moment(one.until_ns or 0),
                "goes_on": one.until_ns == 0,
                **{
                    name: getattr(one, name)
                    for name in (
                        "ticket",
                        "position",
                        "symbol",
                        "seen",
                        "proof",
                        "meant",
                        "meanwhile",
                    )
                },
                "seen_at": _moment(one.seen_ns),
            }
            for one in report.findings
        ],
    }


def _moment(at_ns: int) -> str | None:
    return iso(at_ns) if at_ns else None
