"""Draw the live view: both books side by side, and the state of their agreement in one sentence.

The module draws plain values (`Picture`) and reads nothing itself. The view is made for a reader
who was just woken up: the most important facts are in the first lines, each colour has a word
beside it, and nothing moves except the figures.
"""

from __future__ import annotations

import enum
import textwrap
from collections.abc import Sequence
from typing import Any

import msgspec
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from trueup.core.quantity import format_lots, format_money
from trueup.observe.log import CONTROLS

AUDIT_LINES = 5
# The number of lines besides the tickets: head, health, titles, notes, audit, foot.
_OTHER_LINES = 19
_ROWS_LEAST = 3
_LINE = " {:<12} {:<6} {:>7} {:>10}   {:<6} {:>7} {:>10} {:>10}"
_BROKER_COLUMN = _LINE.format("", "", "", "", "|", "", "", "").index("|")
_TITLES = ("side", "lots", "open")


class Level(enum.Enum):
    """The state of the agreement, and its colour."""

    OK = "green"
    WAIT = "yellow"
    TROUBLE = "bold red"


class Side(msgspec.Struct, frozen=True):
    """A position in the book or at the broker: LONG or SHORT, lots, open price."""

    word: str
    lots: float
    price_open: float


class Row(msgspec.Struct, frozen=True):
    """One ticket in our book and at the broker; None for a side without the ticket.

    `profit` is the broker's figure, in the account's currency. `currency_digits` are the decimals
    of the currency, None if unknown. `is_newer` is true for a position that was opened after the
    last reading: the broker's side is then not missing.
    """

    ticket: int
    local: Side | None
    remote: Side | None
    profit: float | None = None
    currency_digits: int | None = None
    is_newer: bool = False


class Picture(msgspec.Struct, frozen=True):
    """Everything that the live view shows.

    `age_sec` is the age of the broker's side in seconds, None before the first reading. `audit` has
    the time, action and details of the last corrections, newest last. `money` is demo, contest or
    REAL, empty before the first reading of the account. `is_real` colours `money`.
    """

    where: str
    symbol: str
    clock: str
    price: str
    level: Level
    health: str
    rows: Sequence[Row] = ()
    age_sec: float | None = None
    doubts: Sequence[str] = ()
    audit: Sequence[tuple[str, str, str]] = ()
    foot: str = ""
    money: str = ""
    is_real: bool = False


def render(picture: Picture, width: int = 80, height: int = 24) -> RenderableType:
    """Draw a picture for a console of `width` characters and less than `height` lines.

    A control character in a text, such as a broker's error, is shown as text and does not control
    the console.
    """
    # Clean all texts in one place, so that no part of the drawing can forget it.
    picture = msgspec.convert(_without_controls(msgspec.to_builtins(picture)), Picture)
    # One line stays free: a console that is filled to its last line scrolls.
    shown = max(_ROWS_LEAST, height - 1 - _OTHER_LINES)
    return Group(
        _head(picture),
        _line((f" {picture.price}", "dim")),
        _line(),
        *_health(picture, width),
        _line(),
        *_books(picture, shown),
        *_doubts(picture.doubts),
        _line(),
        _line((" Last corrections", "bold")),
        *_audit(picture.audit),
        _line((f" {picture.foot}", "dim")),
    )


def _without_controls(value: Any) -> Any:
    if isinstance(value, str):
        return value.translate(CONTROLS)
    if isinstance(value, list | tuple):
        return [_without_controls(part) for part in value]
    if isinstance(value, dict):
        return {name: _without_controls(part) for name, part in value.items()}
    return value


class LiveView:
    """Keeps one picture on a console up to date."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False, vertical_overflow="crop")
        self._last: Picture | None = None

    def __enter__(self) -> LiveView:
        self._live.start()
        # A process that is killed cannot show a hidden cursor again, so never hide the cursor.
        self._console.show_cursor(True)
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(self, picture: Picture) -> None:
        """Draw a picture in place of the last; do nothing if both are equal."""
        if picture != self._last:
            self._last = picture
            size = self._console.size
            self._live.update(render(picture, size.width, size.height), refresh=True)


def _head(picture: Picture) -> RenderableType:
    head = Table.grid(expand=True)
    head.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    head.add_column(justify="right", no_wrap=True)
    money = (f"  {picture.money}", "bold red" if picture.is_real else "")
    title = Text.assemble((f" trueup {picture.symbol}", "bold"), money, f"  {picture.where}")
    head.add_row(title, f"{picture.clock} ")
    return head


def _line(*parts: tuple[str, str]) -> Text:
    return Text.assemble(*parts, no_wrap=True, overflow="ellipsis")


def _health(picture: Picture, width: int) -> list[Text]:
    """Return two lines always; a longer sentence is cut."""
    said = textwrap.wrap(picture.health, max(20, width - 10), max_lines=2, placeholder=" …")
    first, second = (*said, "", "")[:2]
    return [
        _line((f" {picture.level.name:<8}", picture.level.value), (first, "")),
        _line((" " * 9 + second, "")),
    ]


def _books(picture: Picture, shown: int) -> list[Text]:
    """Return both books, ticket by ticket, padded so that the lines below keep their place."""
    age = "not seen yet" if picture.age_sec is None else _ago(picture.age_sec)
    titles = _LINE.format("", "OUR BOOK", "", "", "", "", "", "").rstrip().ljust(_BROKER_COLUMN)
    # The broker's title has the colour of the state, because old figures are the first cause of
    # trouble.
    level = "bold" if picture.level is Level.OK else picture.level.value
    lines = [
        _line((titles, "bold"), (f"BROKER, {age}", level)),
        _line((_LINE.format("ticket", *_TITLES, *_TITLES, "profit"), "dim")),
        *(_row(row) for row in picture.rows[:shown]),
    ]
    # Before the first reading the broker's side is unknown, and must not look flat.
    if not picture.rows:
        remote_word = "?" if picture.age_sec is None else "flat"
        lines.append(_line((_LINE.format("none", "flat", "", "", remote_word, "", "", ""), "")))
    hidden = len(picture.rows) - shown
    lines.append(_line((f" and {hidden} more", "dim")) if hidden > 0 else _line())
    return lines + [_line()] * (_ROWS_LEAST - max(1, len(picture.rows)))


def _row(row: Row) -> Text:
    local, remote = _cells(row.local), _cells(row.remote, "unseen" if row.is_newer else "absent")
    profit = ""
    if row.profit is not None:
        profit = format_money(row.profit, row.currency_digits, with_sign=True)
    style = "" if row.local == row.remote or row.is_newer else Level.WAIT.value
    return _line((_LINE.format(row.ticket, *local, *remote, profit), style))


def _cells(side: Side | None, without: str = "absent") -> tuple[str, str, str]:
    if side is None:
        return without, "", ""
    return side.word, format_lots(side.lots), f"{side.price_open:.5f}"


def _doubts(sentences: Sequence[str]) -> list[Text]:
    """Return two lines always; from the third doubt on, a count."""
    lines = [_line((" DOUBT   ", Level.TROUBLE.value), (text, "")) for text in sentences[:2]]
    if len(sentences) > 2:
        lines[1] = _line((f" DOUBT   {len(sentences) - 1} more", Level.TROUBLE.value))
    return lines + [_line()] * (2 - len(lines))


def _audit(entries: Sequence[tuple[str, str, str]]) -> list[Text]:
    lines = [
        _line((f" {time}  ", "dim"), (f"{action:<10}{details}", ""))
        for time, action, details in entries[-AUDIT_LINES:]
    ]
    if not lines:
        lines = [_line((" none since the start", "dim"))]
    return lines + [_line()] * (AUDIT_LINES - len(lines))


def _ago(age_sec: float) -> str:
    if age_sec < 100:
        return f"{age_sec:.0f} s ago"
    return f"{age_sec / 60:.0f} min ago" if age_sec < 6000 else f"{age_sec / 3600:.0f} h ago"
