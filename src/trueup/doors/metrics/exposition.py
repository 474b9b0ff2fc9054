"""The metrics as the library of Prometheus has them, from the statuses and the counters."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.core import (
    Metric as Family,
)

from trueup.doors.metrics import table
from trueup.doors.metrics.counting import Counting, Key
from trueup.doors.metrics.gauges import Value
from trueup.doors.metrics.table import TABLE, Metric
from trueup.doors.metrics.tally import Histogram, Tally


def families(values: Sequence[Value], counting: Counting) -> Iterator[Family]:
    """Yield the metrics of a scrape, in the order of the table.

    Args:
        values: the gauges, and the counters that a running bot told.
        counting: the counters from the journals.
    """
    found: dict[str, list[Value]] = {}
    for value in (*values, *_of_journals(counting)):
        found.setdefault(value.metric.name, []).append(value)
    for metric in TABLE:
        if metric.kind == "histogram":
            yield _histogram(metric, counting.books)
        elif metric.name in found:
            yield _family(metric, found[metric.name])


def _histogram(metric: Metric, books: Mapping[Key, Tally]) -> Family:
    family = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
    for key, tally in books.items():
        times = tally.order_times if metric is table.ORDER_TIME else tally.doubt_times
        family.add_metric(key, buckets=_buckets(times), sum_value=times.sum_sec)
    return family


def _family(metric: Metric, values: Iterable[Value]) -> Family:
    kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    family = kind(metric.name, metric.help, labels=metric.labels)
    for value in values:
        family.add_metric(value.labels, value.value)
    return family


def _buckets(times: Histogram) -> list[tuple[str, float]]:
    """Return the buckets as Prometheus has them: each contains all smaller durations."""
    total, found = 0, []
    for bound, count in zip((*map(str, times.bounds), "+Inf"), times.counts, strict=True):
        total += count
        found.append((bound, float(total)))
    return found


def _of_journals(counting: Counting) -> Iterator[Value]:
    for journal in counting.journals:
        yield Value(table.READABLE, (journal.name,), float(not journal.trouble))
        if journal.size is not None:
            yield Value(table.SIZE, (journal.name,), journal.size)
    for key, left in dict(counting.unread).items():
        yield Value(table.UNREAD, key, left)
    for key, tally in counting.books.items():
        yield from _of_tally(key, tally)


def _of_tally(key: Key, tally: Tally) -> Iterator[Value]:
    for metric in table.COUNTED:
        has_label = len(metric.labels) > len(key)
        known = {
            value: count for (name, value), count in tally.counts.items() if name == metric.name
        }
        # A series that begins at 1 has no increase, so all known series begin at 0.
        for value in sorted({*metric.values, *known, *([] if has_label else [""])}):
            yield Value(metric, (*key, value) if has_label else key, known.get(value, 0))
