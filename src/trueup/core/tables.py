"""Write small tables for notebooks; every text is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape


def table(title: str, heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a heading and a table as HTML; only the heading if there are no rows."""
    found = [_row("td", cells) for cells in rows]
    body = f"<table>{_row('th', heads)}{''.join(found)}</table>" if found else ""
    return f"<p><b>{escape(title)}</b></p>{body}"


def _row(tag: str, cells: Iterable[object]) -> str:
    said = (f"<{tag}>{escape(str(cell))}</{tag}>" for cell in cells)
    return f"<tr>{''.join(said)}</tr>"
