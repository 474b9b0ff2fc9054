"""Draw the live view of a bot from its status.

The view is made for a reader who was just woken up: the sentence comes first, each colour has a
word beside it, and nothing moves except the figures. The view fills less than the console, in 80
columns and in 60, and cuts what `trueup status` tells in full.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from itertools import repeat

from rich.console import Group, RenderableType
from rich.text import Text

from trueup.core.trade_modes import PLAY_MONEY, describe_mode
from trueup.observe.lines import clock_of, cut
from trueup.observe.log import CONTROLS
from trueup.observe.status.books_text import book_lines
from trueup.observe.status.status import PriceRow, State, Status
from trueup.observe.status_text import (
    event_words,
    fill_words,
    money_words,
    other_refusals,
    price_words,
    reading_words,
)

# The word beside each colour.
STYLES = {
    State.AGREES: ("OK", "green"),
    State.DEGRADED: ("RETRIES", "yellow"),
    State.NEEDS_PERSON: ("YOURS", "bold red"),
    State.HALTED: ("HALTED", "bold red"),
    State.NOTHING: ("NOTHING", ""),
}
EVENTS = 5
# So many lines are kept for what comes and goes, so that the lines below stay in their place.
ROWS_LEAST, TO_DO_LEAST = 3, 2
_LABEL = 9
_NARROW = 80


def render(status: Status, foot: str, width: int = 80, height: int = 24) -> RenderableType:
    """Draw a status for a console of `width` characters and less than `height` lines.

    `foot` is the last line. A control character in a text, such as a broker's error, is shown as
    text and does not control the console.
    """
    head = _head(status, width)
    top = [*_sentence(status, width), *_works(status, width)]
    to_do = _to_do(status, width)
    money = [*_money(status, width), *_prices(status)]
    title = [_line((_label("Books"), "bold"), (reading_words(status), _style(status)))]
    end = [_line((f" {foot}", "dim"))]
    events = _events(status, width)
    # One line stays free: a console that is filled to its last line scrolls.
    room = height - 1 - sum(map(len, (head, top, to_do, title, money, end)))
    # The books come before the events, of which one stays.
    rows = _rows(status, width, max(ROWS_LEAST, room - min(1, len(events))))
    events = events[: max(0, room - len(rows))]
    parts = [head, top, to_do, [*title, *rows], money, events, end]
    return Group(*_spaced(parts, room - len(rows) - len(events)))


def _spaced(parts: Sequence[Sequence[Text]], blanks: int) -> list[Text]:
    """Join parts of the view; with room a blank line stands between them."""
    lines: list[Text] = []
    for part in parts:
        if lines and part and blanks > 0:
            lines.append(_line())
            blanks -= 1
        lines += part
    return lines


def _line(*parts: tuple[str, str]) -> Text:
    cleaned = [(text.translate(CONTROLS), style) for text, style in parts]
    return Text.assemble(*cleaned, no_wrap=True, overflow="ellipsis")


def _label(name: str) -> str:
    return f" {name}".ljust(_LABEL)


def _style(status: Status) -> str:
    # Old figures are the first cause of trouble, so the broker's title has the colour of the state.
    return "" if status.state is State.AGREES else STYLES[status.state][1]


def _wrapped(
    label: tuple[str, str], text: str, width: int, most: int, style: str = ""
) -> list[Text]:
    """Return a labelled text in at most so many lines; a longer text is cut at a word."""
    cut = textwrap.wrap(text, max(20, width - _LABEL - 1), max_lines=most, placeholder=" ...")
    names = [label, *repeat(("", ""), len(cut))]
    return [
        _line((_label(name) if name else " " * _LABEL, colour), (part, style))
        for (name, colour), part in zip(names, cut, strict=False)
    ]


def _head(status: Status, width: int) -> list[Text]:
    symbol = "" if status.symbol == "*" else f" {status.symbol}"
    mode = "" if status.trade_mode is None else describe_mode(status.trade_mode)
    # An account that does not tell counts as real: a warning too many does no harm.
    is_real = bool(mode) and status.trade_mode not in PLAY_MONEY
    mode = "REAL?" if status.trade_mode == "" else mode
    title = Text.assemble(
        (f" trueup{symbol}".translate(CONTROLS), "bold"),
        (f"  {mode}" if mode else "", "bold red" if is_real else ""),
        (f"  {status.account or 'not bound yet'}".translate(CONTROLS), ""),
        no_wrap=True,
    )
    clock = f"{clock_of(status.now)} UTC "
    title.truncate(max(1, width - len(clock) - 1), overflow="ellipsis", pad=True)
    return [title.append(f" {clock}"), _line((f" {status.gateway}", "dim"))]


def _sentence(status: Status, width: int) -> list[Text]:
    """Return two lines always, or three in a narrow console."""
    most = 2 if width >= _NARROW else 3
    lines = _wrapped(STYLES[status.state], status.sentence, width, most, "bold")
    return [*lines, *repeat(_line(), 2 - len(lines))]


def _works(status: Status, width: int) -> list[Text]:
    return _wrapped(("Works", "dim"), status.works, width, 1 if width >= _NARROW else 2)


def _to_do(status: Status, width: int) -> list[Text]:
    """Return what waits, two lines at least; what does not fit is counted."""
    said = list(_waiting(status))
    most = 2 if len(said) == 1 else 1
    lines: list[Text] = []
    for label, text in said[:TO_DO_LEAST]:
        lines += _wrapped(label, text, width, most)
    if len(said) > TO_DO_LEAST:
        more = f"and {len(said) - 1} more: `trueup status`"
        lines = [lines[0], *_wrapped(("", ""), more, width, 1)]
    return [*lines, *repeat(_line(), TO_DO_LEAST - len(lines))]


def _waiting(status: Status) -> Iterator[tuple[tuple[str, str], str]]:
    """Yield what waits as label and text, the most urgent first."""
    yours, waits = STYLES[State.NEEDS_PERSON], STYLES[State.DEGRADED][1]
    ids = [one.id for one in status.to_decide]
    for one in status.to_decide:
        yield yours, f"`trueup approve {one.id}`: {one.what}"
    for need in status.needs:
        # A decision is told above with its id.
        if not any(name in need for name in ids):
            yield yours, need
    for doubt in status.in_doubt:
        yield ("DOUBT", waits), f"{doubt.action} {doubt.symbol} {doubt.order_id}: {doubt.error}"
    for held in status.held:
        yield ("HELD", waits), held.reason
    for row in other_refusals(status):
        yield ("REFUSED", waits), row.reason


def _rows(status: Status, width: int, room: int) -> list[Text]:
    """Return the rows of the books in at most `room` lines, and in three lines at least."""
    lines = _fitting(status, width, room) if status.books else ["  flat"]
    return [*(_line((line, "")) for line in lines), *repeat(_line(), ROWS_LEAST - len(lines))]


def _fitting(status: Status, width: int, room: int) -> list[str]:
    """Return as many rows as fit into `room` lines, with the number of the others."""
    count, lines = len(status.books), [""]
    for shown in range(min(count, room), 0, -1):
        lines = list(book_lines(status.books[:shown], status.money.digits, width))
        if shown == count and len(lines) <= room:
            return lines
        if len(lines) < room:
            return [*lines, f"  and {count - shown} more"]
    # Not even the first row fits as a whole.
    return [*lines[: room - 1], f"  and more, {count} in all"]


def _money(status: Status, width: int) -> list[Text]:
    return _wrapped(("Money", "bold"), money_words(status.money), width, 2)


def _prices(status: Status) -> list[Text]:
    lines = [
        _line((_label("Price"), "bold"), (price_words(row, status.now), _age_style(row)))
        for row in status.prices[:2]
    ]
    if len(status.prices) > 2:
        lines[-1].append(f" and {len(status.prices) - 2} more")
    return lines


def _age_style(row: PriceRow) -> str:
    return "yellow" if row.is_old else ""


def _events(status: Status, width: int) -> list[Text]:
    """Return the last events; a bot without a journal has its fills instead."""
    texts = [event_words(row) for row in status.events]
    texts = texts or [fill_words(row, status.now) for row in status.fills]
    names = ["Last", *repeat("", EVENTS)]
    return [
        _line((_label(name) if name else " " * _LABEL, "bold"), (cut(text, width - _LABEL), ""))
        for name, text in zip(names, texts[:EVENTS], strict=False)
    ]
