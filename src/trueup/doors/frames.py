"""Make tables of pandas and polars, and the table of an audit trail.

Neither library is needed by trueup; the one that is asked for is imported then.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import import_module
from typing import Any, Literal

from trueup.journal import Journal
from trueup.runtime.data.columns import Kind
from trueup.runtime.story.audit import AuditEntry
from trueup.runtime.story.story import AuditFilter, story

Library = Literal["pandas", "polars"]
"""The libraries that a table can be made for."""
AUDIT: Mapping[str, Kind] = {
    "time": "utc",
    "event": "whole",
    "action": "text",
    "ticket": "whole",
    "order_id": "text",
    "details": "text",
    "before": "text",
    "after": "text",
}
Row = tuple[Any, ...]


def audit_rows(entries: Sequence[AuditEntry], journal: Journal | None) -> Iterator[Row]:
    """Yield the audit trail, oldest first: of the whole journal, or of this process."""
    if journal is None:
        for entry in entries:
            said = entry["details"], entry["before"], entry["after"]
            yield entry["timestamp"], None, entry["action"], entry["ticket"], None, *said
        return
    for row in story(journal.records(), AuditFilter()):
        at = dt.datetime.fromisoformat(row.timestamp)
        facts = row.action, row.ticket, row.order_id, row.details
        yield at, row.position, *facts, row.before, row.after


def frame(library: str, columns: Mapping[str, Kind], rows: Iterable[Row]) -> Any:
    """Return rows as a table of a library.

    Args:
        library: "pandas" or "polars".
        columns: the kind of each column.
        rows: a value for each column.

    Raises:
        ValueError: no such library is known.
        ImportError: the library is not installed; the message has the command that installs it.
    """
    makers = {"pandas": _pandas, "polars": _polars}
    if library not in makers:
        raise ValueError(f"library={library!r:.40} is not valid: give 'pandas' or 'polars'.")
    try:
        module = import_module(library)
    except ImportError as error:
        raise ImportError(f"This table needs {library}: pip install {library}") from error
    values = list(zip(*rows, strict=True)) or [()] * len(columns)
    named = dict(zip(columns, map(list, values), strict=True))
    return makers[library](module, columns, named)


def _pandas(pandas: Any, columns: Mapping[str, Kind], values: Mapping[str, list[Any]]) -> Any:
    kinds = {
        "utc": "datetime64[ms, UTC]",
        "server": "datetime64[ms]",
        "whole": "Int64",
        "number": "float64",
        "text": "string",
    }
    return pandas.DataFrame(
        {
            name: pandas.Series(values[name], dtype=kinds[kind], name=name)
            for name, kind in columns.items()
        }
    )


def _polars(polars: Any, columns: Mapping[str, Kind], values: Mapping[str, list[Any]]) -> Any:
    kinds = {
        "utc": polars.Datetime("ms", "UTC"),
        "server": polars.Datetime("ms"),
        # A magic number may have 64 bits without a sign; tickets have fewer.
        "whole": polars.Int64,
        "number": polars.Float64,
        "text": polars.String,
    }
    schema = {
        name: polars.UInt64 if name == "magic" else kinds[kind] for name, kind in columns.items()
    }
    return polars.DataFrame(dict(values), schema=schema)
