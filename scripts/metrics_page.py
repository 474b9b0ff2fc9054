"""docs/reference/metrics.md, from the table of metrics."""

from __future__ import annotations

from trueup.doors.metrics import table
from trueup.doors.metrics.table import TABLE, Metric

HEAD = """\
# Metrics

<!-- Written by `make docs` from src/trueup/doors/metrics/table.py. Change it there. -->

`trueup metrics` serves these at `/metrics`; see [metrics and health](../operating/metrics.md).

A name is never used again with another meaning. New metrics and new values of a label may come:
ask for those you know. Most metrics have the labels `journal` (the path or the database of the
journal) and `book` (the name of the book in it, its stream). No label has a ticket, an order or a
secret.
"""

SECTIONS = {
    "bot": (
        "Of a bot that answers",
        "A bot that does not answer has no such value: an old figure is not shown as a present "
        "one.",
    ),
    "status": (
        "Of each book",
        "The bot tells these, or its journal when the bot does not answer.",
    ),
    "journal": (
        "Counted from the journal",
        "The counters hold all events of the journal from its first, so no restart changes them. A "
        "journal that was restored from a backup has fewer events, and Prometheus takes the fall "
        "for a restart. They are shown for the books that have a state here, once all their events "
        "were read.",
    ),
    "process": ("Of `trueup metrics` itself", ""),
}
UNITS = {"": "", "money": "the account's currency"}


def metrics_page() -> str:
    """Return the page: a table of metrics for each source, and the values of labels."""
    parts = [HEAD]
    for source in ("status", "bot", "journal", "process"):
        title, about = SECTIONS[source]
        rows = [_row(metric) for metric in TABLE if metric.source == source]
        head = ("| metric | type | unit | labels | meaning |", "| --- | --- | --- | --- | --- |")
        parts.append("\n".join([f"## {title}\n", *([f"{about}\n"] if about else []), *head, *rows]))
    parts.append(_values())
    return "\n\n".join(part.rstrip() for part in parts) + "\n"


def _row(metric: Metric) -> str:
    labels = ", ".join(f"`{label}`" for label in metric.labels)
    unit = UNITS.get(metric.unit, metric.unit)
    return f"| `{metric.name}` | {metric.kind} | {unit} | {labels} | {metric.help} |"


def _values() -> str:
    rows = [
        f"| `{metric.name}` | `{metric.labels[-1]}` | "
        f"{', '.join(f'`{value}`' for value in metric.values)} |"
        for metric in TABLE
        if metric.values
    ]
    bounds = [
        f"* `{metric.name}`: {', '.join(f'{bound:g}' for bound in bounds)}"
        for metric, bounds in (
            (table.ORDER_TIME, table.ORDER_SECONDS),
            (table.DOUBT_TIME, table.DOUBT_SECONDS),
        )
    ]
    head = ("## Values of labels\n", "| metric | label | values |", "| --- | --- | --- |")
    tail = ("\n## Buckets of the histograms\n", "Upper bounds in seconds:\n")
    return "\n".join([*head, *rows, *tail, *bounds])
