"""Write the rows of both books as lines that fit a terminal of any width."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from trueup.core.quantity import format_lots, format_money, format_price
from trueup.observe.status.status import BookRow, ForeignRow, Side, Verdict

# Nobody reads hundreds of rows; `trueup status --json` has all of them.
ROWS_MOST = 20
INDENT, BELOW = "  ", "      "
# Both sides are shown apart only if they differ.
_ALIKE = frozenset({Verdict.AGREES, Verdict.NOT_ASKED})


def book_lines(
    rows: Sequence[BookRow], digits: int | None, width: int, most: int = ROWS_MOST
) -> Iterator[str]:
    """Yield the rows of the books, of each kind at most `most`.

    `digits` are the decimals of the account's currency.
    """
    different = [row for row in rows if row.verdict not in _ALIKE]
    for row in different[:most]:
        yield from _different(row, digits, width)
    if len(different) > most:
        yield f"{INDENT}and {len(different) - most} more that differ"
    alike = [row for row in rows if row.verdict in _ALIKE]
    yield from _alike(alike[:most], digits, width)
    if len(alike) > most:
        yield f"{INDENT}and {len(alike) - most} more that agree"


def foreign_lines(rows: Sequence[ForeignRow], width: int) -> Iterator[str]:
    """Yield rows at the broker that are not ours."""
    yield from _columns(
        [_padded([[f"{row.ticket}", row.symbol, side_words(row.row)] for row in rows])], width
    )


def side_words(side: Side | None) -> str:
    """Write a row on one side: LONG 0.05 @ 1.0716; none for a side without the row."""
    if side is None:
        return "none"
    return f"{side.side} {format_lots(side.lots)} @ {format_price(side.price_open)}"


def stop_words(side: Side | None) -> str:
    """Write the stops of a row; empty without stops."""
    if side is None:
        return ""
    levels = (("SL", side.sl), ("TP", side.tp))
    return " ".join(f"{name} {format_price(level)}" for name, level in levels if level)


def _alike(rows: Sequence[BookRow], digits: int | None, width: int) -> Iterator[str]:
    shown = [(row, row.broker or row.ours) for row in rows]
    heads = _padded([[f"{row.ticket}", row.symbol, side_words(side)] for row, side in shown])
    figures = _padded([_figures(row, digits) for row, _ in shown])
    stops = _padded([[stop_words(side)] for _, side in shown])
    yield from _columns([heads, figures, stops], width)


def _figures(row: BookRow, digits: int | None) -> list[str]:
    """Return the current price and the profit of a row."""
    price = "" if row.price is None else f"now {format_price(row.price)}"
    if row.profit is None:
        return [price, ""]
    return [price, f"profit {format_money(row.profit, digits, with_sign=True)}"]


def _different(row: BookRow, digits: int | None, width: int) -> Iterator[str]:
    fields = f": {', '.join(row.fields)}" if row.fields else ""
    head = [f"{row.ticket}", row.symbol, f"{row.verdict.value}{fields}"]
    yield from _flowing(INDENT, head, width)
    yield from _flowing(BELOW, ["ours  ", side_words(row.ours), stop_words(row.ours)], width)
    broker = ["broker", side_words(row.broker), stop_words(row.broker), *_figures(row, digits)]
    yield from _flowing(BELOW, broker, width)


def _flowing(indent: str, cells: Sequence[str], width: int) -> Iterator[str]:
    """Yield cells as lines; a cell that does not fit begins a line of its own."""
    line = indent
    for cell in filter(None, cells):
        joined = f"{line}{cell}" if not line.strip() else f"{line}  {cell}"
        if len(joined) > width and line.strip():
            yield from _wrapped(line, width)
            joined = f"{BELOW}{cell}"
        line = joined
    yield from _wrapped(line, width)


def _columns(parts: Sequence[Sequence[str]], width: int) -> Iterator[str]:
    """Yield rows in columns; the last parts of each row go to a line of their own if need be.

    All rows are broken at the same place, so that the columns stand below each other.
    """
    rows = list(zip(*parts, strict=True))
    on_first = len(parts)
    while on_first > 1 and any(len(_joined(row[:on_first])) > width for row in rows):
        on_first -= 1
    for row in rows:
        yield from _wrapped(_joined(row[:on_first]), width)
        if any(part.strip() for part in row[on_first:]):
            yield from _flowing(BELOW, [part.strip() for part in row[on_first:]], width)


def _joined(parts: Sequence[str]) -> str:
    return f"{INDENT}{'  '.join(part for part in parts if part)}".rstrip()


def _padded(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows of cells as texts of the same length; an empty column takes no room."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(size) for cell, size in zip(row, widths, strict=True) if size)
        for row in rows
    ]


def _wrapped(line: str, width: int) -> list[str]:
    if len(line) <= width:
        return [line]
    return textwrap.wrap(line, width, subsequent_indent=BELOW, break_on_hyphens=False)
