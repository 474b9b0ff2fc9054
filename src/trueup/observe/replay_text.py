"""Write both books as they were known at a moment, with the events that led there."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from trueup.core.quantity import format_lots, format_money, format_price
from trueup.observe.audit_text import AuditRow, audit_lines
from trueup.observe.lines import said, time_of

_LINE = "{:<12} {:<6} {:>7} {:>10}   {:<6} {:>7} {:>10}   {}"
NOTE = (
    "The broker's side is what the journal implies: what readings corrected and orders were "
    "answered. A reading that changed nothing leaves no event."
)


class DoubtRow(msgspec.Struct, frozen=True):
    """An order that was sent and has no proven outcome; `since` is ISO 8601 in UTC."""

    order_id: str
    action: str
    lots: float
    symbol: str
    error: str
    since: str


class SceneSide(msgspec.Struct, frozen=True):
    """A position in the book or at the broker: LONG or SHORT, lots, prices (0.0 for no stop)."""

    side: str
    lots: float
    price_open: float
    sl: float = 0.0
    tp: float = 0.0


class SceneRow(msgspec.Struct, frozen=True):
    """A position in the book and at the broker; None for a side without the position.

    `seen` is the time of the latest event that told the broker's side (ISO 8601, UTC). `by` is the
    kind of source: a `reading`, or the `answer` to an order.
    """

    ticket: int
    symbol: str
    local: SceneSide | None
    remote: SceneSide | None
    seen: str = ""
    by: str = ""


class Scene(msgspec.Struct, frozen=True):
    """The state that was known at a moment; times are ISO 8601 in UTC.

    `position` is the place of the last event before the moment. `last_event` is the time of that
    event, None if there is none. `decisions` are the last events up to the moment, with their
    reasons.
    """

    at: str
    stream: str
    position: int
    last_event: str | None
    account: str | None
    margin_mode: str
    realised: float
    currency: str
    rows: list[SceneRow]
    pending: list[str]
    in_doubt: list[DoubtRow]
    missing: list[str]
    halts: list[str]
    decisions: list[AuditRow]
    currency_digits: int | None = None


def write_scene(scene: Scene, width: int = 80) -> str:
    """Write both books and the last decisions as text."""
    # Nothing was known before the first event, and an empty book would look like a flat account.
    if scene.last_event is None:
        return f"At {time_of(scene.at)} the journal has nothing yet in stream {scene.stream}."
    money = format_money(scene.realised, scene.currency_digits, scene.currency)
    account = f"{scene.account} ({scene.margin_mode})" if scene.account else "not bound yet"
    lines = [
        *said("Known at", time_of(scene.at)),
        *said("Stream", f"{scene.stream}, event {scene.position} of {time_of(scene.last_event)}"),
        *said("Account", f"{account}, realised {money}"),
        "",
        *_books(scene),
        *_orders(scene),
        "",
        *_why(scene, width),
        "",
        *said("", NOTE),
    ]
    # The columns pad short lines with spaces, which would show in a copied text.
    return "\n".join(line.rstrip() for line in lines)


def _books(scene: Scene) -> Iterator[str]:
    titles = ("side", "lots", "open")
    yield _LINE.format("", "OUR BOOK", "", "", "BROKER, as last told", "", "", "")
    yield _LINE.format("ticket", *titles, *titles, "told at")
    if not scene.rows:
        yield _LINE.format("none", "flat", "", "", "flat", "", "", "")
    for row in scene.rows:
        told = f"{row.seen[11:19]} {row.by}" if row.seen else ""
        yield _LINE.format(row.ticket, *_cells(row.local), *_cells(row.remote), told)
        stops = [
            f"{side_name} {_stops(side)}"
            for side_name, side in (("book:", row.local), ("broker:", row.remote))
            if side is not None and (side.sl or side.tp)
        ]
        if stops:
            yield f"{'':<12} {'; '.join(stops)}"


def _cells(side: SceneSide | None) -> tuple[str, str, str]:
    if side is None:
        return "absent", "", ""
    return side.side, format_lots(side.lots), format_price(side.price_open)


def _stops(side: SceneSide) -> str:
    levels = (("SL", side.sl), ("TP", side.tp))
    return ", ".join(f"{name} {format_price(level)}" for name, level in levels if level)


def _orders(scene: Scene) -> Iterator[str]:
    for order in scene.pending:
        yield from said("Pending", order)
    for row in scene.in_doubt:
        order_text = f"{row.order_id}, {row.action} {format_lots(row.lots)}L {row.symbol}"
        yield from said("In doubt", f"{order_text}, since {row.since[11:19]}: {row.error}")
    for text in scene.missing:
        yield from said("Missing", text)
    for text in scene.halts:
        yield from said("Halted", text)


def _why(scene: Scene, width: int) -> Iterator[str]:
    yield f"Why: the last {len(scene.decisions)} events up to then"
    yield from audit_lines(scene.decisions, width)
