"""Read rows of positions and pending orders in all spellings of gateways and programs.

The fields that identify a position and its size must be readable: ticket, identifier, symbol, side,
volume and open price. Otherwise the row is refused, with the reason in a `RowFault`. Every other
field is optional: if it cannot be read, that is noted, its default is used, and the position stays.

Gateways of the guide's family spell some names differently, and both spellings are read:
`open_price` for `price_open`, `current_price` for `price_current`, `time_open` for `time`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import msgspec

from trueup.core.book.event_ids import row_id
from trueup.core.conversions import number_or_text, seconds_since_1970, whole_number
from trueup.core.model import FieldNote, OrderType, PendingOrder, Position, RowFault, Side
from trueup.core.quantity import FINEST_STEP, HIGHEST_PRICE, MOST_LOTS, is_volume
from trueup.errors import RemoteProtocolError
from trueup.protocol.text import DAMAGED, MARK, writable

Fields = Mapping[str, Any]
Notes = list[FieldNote]
Value = TypeVar("Value", int, float, str)

TOO_LARGE = 2**64
"""Tickets and magic numbers have 64 bits, unsigned."""
SIGNED = 2**63
MILLISECONDS = 10**11
"""A number from here on is a count of milliseconds, not of seconds."""
OTHER_SPELLINGS = {
    "open_price": "price_open",
    "current_price": "price_current",
    "time_open": "time",
}
# Words of MQL5 (ENUM_POSITION_TYPE, ENUM_ORDER_TYPE, ENUM_DEAL_TYPE) and MQL4, and numbers of the
# official module.
_PREFIXES = ("position_type_", "order_type_", "deal_type_", "op_")
_SIDES = {
    **dict.fromkeys(("buy", "long", "0"), Side.BUY),
    **dict.fromkeys(("sell", "short", "1"), Side.SELL),
}
# ENUM_POSITION_REASON (MQL5 reference, "Position Properties").
_REASONS = {"client": 0, "mobile": 1, "web": 2, "expert": 3}


class UnreadableRow(RemoteProtocolError):
    """A row of a list cannot be read."""


def fields_of(row: object) -> Fields | None:
    """Return a row's values by name, or None if `row` is not a row.

    A row is a mapping, a position of ours, a row of the official module, a dataclass such as
    `RemotePosition`, or an object with `to_dict()`, such as a row of a pandas table.
    """
    if isinstance(row, Mapping):
        named: Fields = row
    elif isinstance(row, msgspec.Struct):
        named = msgspec.to_builtins(row)
    elif dataclasses.is_dataclass(row) and not isinstance(row, type):
        named = {field.name: getattr(row, field.name) for field in dataclasses.fields(row)}
    else:
        write = getattr(row, "_asdict", None) or getattr(row, "to_dict", None)
        written = write() if callable(write) and not isinstance(row, type) else None
        if not isinstance(written, Mapping):
            return None
        named = written
    # Column names of a table need not be texts.
    fields = {str(name): value for name, value in named.items()}
    for other, name in OTHER_SPELLINGS.items():
        if other in fields:
            # If a row has both spellings, the protocol's own counts.
            fields.setdefault(name, fields[other])
            del fields[other]
    return fields


def read_row(row: object, notes: Notes | None = None) -> Position:
    """Read a row of a list of positions.

    Args:
        row: see `fields_of`.
        notes: receives a note for each unreadable optional field.

    Raises:
        UnreadableRow: the message has the field, its value and the valid form.
    """
    fields = fields_of(row)
    if fields is None:
        raise UnreadableRow(f"{row!r:.60} is not a position")
    ticket = _ticket(fields)
    optional = _Optional(fields, ticket, notes)
    # The fields that must be readable raise; the optional fields fall back to their defaults.
    try:
        return Position(
            ticket=ticket,
            identifier=_identifier(fields) or ticket,
            symbol=_symbol(fields),
            side=_side(fields),
            volume=_volume(fields),
            price_open=_price_open(fields),
            profit=optional.number("profit"),
            swap=optional.number("swap"),
            price_current=optional.price("price_current"),
            sl=optional.price("sl"),
            tp=optional.price("tp"),
            magic=optional.magic(),
            time=optional.time(),
            time_msc=optional.milliseconds("time_msc"),
            reason=optional.reason(),
            comment=optional.text("comment"),
        )
    except UnreadableRow as error:
        # Add ticket and symbol, by which a person can find the position at the terminal.
        raise UnreadableRow(f"ticket {ticket}{_in_symbol(fields)}: {error}") from None


def read_order(row: object, notes: Notes | None = None) -> PendingOrder:
    """Read a row of a list of pending orders; arguments and errors as for `read_row`."""
    fields = fields_of(row)
    if fields is None:
        raise UnreadableRow(f"{row!r:.60} is not a pending order")
    ticket = _ticket(fields)
    optional = _Optional(fields, ticket, notes)
    try:
        return PendingOrder(
            ticket=ticket,
            symbol=_symbol(fields),
            type=_order_type(fields),
            volume=_volume_left(fields),
            price_open=_price(fields, "price_open"),
            sl=optional.price("sl"),
            tp=optional.price("tp"),
            price_stoplimit=optional.price("price_stoplimit"),
            magic=optional.magic(),
            comment=optional.text("comment"),
            time_setup=optional.time("time_setup"),
        )
    except UnreadableRow as error:
        # Add ticket and symbol, by which a person can find the order at the terminal.
        raise UnreadableRow(f"order {ticket}{_in_symbol(fields)}: {error}") from None


def _in_symbol(fields: Fields) -> str:
    symbol = fields.get("symbol")
    return f" in {symbol}" if is_name(symbol) else ""


def is_sound(position: Position) -> bool:
    """Return whether every field of a position has a valid value.

    The decoder checks most fields, but a terminal's own row was never decoded. This runs for every
    row of every reading at a gateway, so it compares plain attributes and makes almost no calls.
    """
    try:
        return (
            0 < position.ticket < TOO_LARGE
            and 0 < position.identifier < TOO_LARGE
            and position.side.__class__ is Side
            and FINEST_STEP <= position.volume < MOST_LOTS
            and -HIGHEST_PRICE < position.price_open < HIGHEST_PRICE
            and position.price_open != 0
            and -HIGHEST_PRICE < position.sl < HIGHEST_PRICE
            and -HIGHEST_PRICE < position.tp < HIGHEST_PRICE
            and -HIGHEST_PRICE < position.price_current < HIGHEST_PRICE
            and math.isfinite(position.profit + position.swap)
            and 0 <= position.magic < TOO_LARGE
            and 0 <= position.time < MILLISECONDS
            and 0 <= position.time_msc < SIGNED
            and 0 <= position.reason < SIGNED
            and is_name(position.symbol)
        )
    except TypeError:
        # A value of the wrong type cannot be compared.
        return False


def is_sound_order(order: PendingOrder) -> bool:
    """Return whether every field of a pending order has a valid value; see `is_sound`."""
    try:
        return (
            0 < order.ticket < TOO_LARGE
            and order.type.__class__ is OrderType
            and 0 <= order.volume < MOST_LOTS
            and -HIGHEST_PRICE < order.price_open < HIGHEST_PRICE
            and -HIGHEST_PRICE < order.sl < HIGHEST_PRICE
            and -HIGHEST_PRICE < order.tp < HIGHEST_PRICE
            and -HIGHEST_PRICE < order.price_stoplimit < HIGHEST_PRICE
            and 0 <= order.magic < TOO_LARGE
            and 0 <= order.time_setup < MILLISECONDS
            and is_name(order.symbol)
        )
    except TypeError:
        return False


def is_name(symbol: object) -> bool:
    """Return whether a value can be a symbol's name: a printable text, not empty, not damaged."""
    if not isinstance(symbol, str) or not symbol or not symbol.isprintable():
        return False
    return symbol.isascii() or DAMAGED not in writable(symbol, DAMAGED)


class _Optional:
    """The optional fields of a row; a missing or unreadable field gets its default."""

    def __init__(self, fields: Fields, ticket: int, notes: Notes | None) -> None:
        self._fields, self._ticket, self._notes = fields, ticket, notes

    def number(self, name: str) -> float:
        """Return a number, 0.0 by default."""
        return self._read(name, number_or_text, 0.0, "a number")

    def price(self, name: str) -> float:
        """Return a price; 0.0 by default, which means no price."""
        return self._read(name, _market_price, 0.0, "a price")

    def magic(self) -> int:
        """Return a magic number, 0 by default; MQL5 programs may write it as a signed number."""
        return self._read("magic", _unsigned, 0, "a whole number of 64 bits")

    def time(self, name: str = "time") -> int:
        """Return seconds since 1970, 0 by default."""
        return self._read(name, seconds_since_1970, 0, "a time")

    def milliseconds(self, name: str) -> int:
        """Return milliseconds since 1970, 0 by default."""
        return self._read(name, _milliseconds, 0, "a time in milliseconds")

    def reason(self) -> int:
        """Return the number of a reason, 0 by default."""
        return self._read("reason", _reason, 0, "a reason")

    def text(self, name: str) -> str:
        """Return a text, empty by default."""
        return self._read(name, _comment, "", "a text")

    def _read(
        self, name: str, read: Callable[[object], Value | None], default: Value, wanted: str
    ) -> Value:
        value = self._fields.get(name)
        if value is None or (isinstance(value, str) and not value):
            return default
        found = read(value)
        if found is not None:
            return found
        if self._notes is not None:
            problem = f"{name} is {value!r:.40}, not {wanted}: {default!r} is used instead"
            self._notes.append(FieldNote(self._ticket, name, type(value).__name__, problem))
        return default


def _market_price(value: object) -> float | None:
    price = number_or_text(value)
    return price if price is not None and abs(price) < HIGHEST_PRICE else None


def _unsigned(value: object) -> int | None:
    magic = whole_number(value)
    if magic is None or not -SIGNED <= magic < TOO_LARGE:
        return None
    return magic + TOO_LARGE if magic < 0 else magic


def _milliseconds(value: object) -> int | None:
    count = whole_number(value)
    if count is None:
        found = number_or_text(value)
        count = None if found is None else int(found)
    if count is not None:
        return count if 0 <= count < SIGNED else None
    seconds = seconds_since_1970(value)
    return None if seconds is None else seconds * 1000


def _reason(value: object) -> int | None:
    if isinstance(value, str) and not value.strip().isdigit():
        return _REASONS.get(value.strip().lower().removeprefix("position_reason_"))
    number = whole_number(value)
    return number if number is not None and 0 <= number < SIGNED else None


def _comment(value: object) -> str | None:
    if isinstance(value, str):
        return writable(str(value)).replace(DAMAGED, MARK)
    found = whole_number(value)
    return str(found) if found is not None else None


def _ticket(fields: Fields) -> int:
    return _whole(fields, "ticket", least=1)


def _identifier(fields: Fields) -> int:
    """Return the identifier, 0 if the row has none."""
    value = fields.get("identifier")
    return 0 if value is None or value == "" else _whole(fields, "identifier", least=0)


def _whole(fields: Fields, name: str, *, least: int) -> int:
    # Careful gateways send tickets above 2**53 as text; careless ones send whole floats.
    value = fields.get(name)
    found = whole_number(value)
    if found is None or not least <= found < TOO_LARGE:
        raise UnreadableRow(f"{name} is {value!r:.40}, not a whole number of at least {least}")
    return found


def _number(fields: Fields, name: str) -> float:
    value = fields.get(name)
    found = number_or_text(value)
    if found is None:
        raise UnreadableRow(f"{name} is {value!r:.40}, not a number")
    return found


def _volume(fields: Fields) -> float:
    volume = _number(fields, "volume")
    if not is_volume(volume):
        raise UnreadableRow(f"volume is {volume!r:.40}, not a number of lots above 0")
    return volume


def _volume_left(fields: Fields) -> float:
    """Return the remaining volume of an order; lists show a filled order for a moment, with 0."""
    volume = _number(fields, "volume")
    if not 0 <= volume < MOST_LOTS:
        raise UnreadableRow(f"volume is {volume!r:.40}, not a number of lots of at least 0")
    return volume


def _price(fields: Fields, name: str) -> float:
    price = _number(fields, name)
    if abs(price) >= HIGHEST_PRICE:
        raise UnreadableRow(f"{name} is {price!r:.40}, beyond every market")
    return price


def _price_open(fields: Fields) -> float:
    price = _price(fields, "price_open")
    if price == 0:
        # Negative prices have occurred, for example oil in April 2020.
        raise UnreadableRow("price_open is 0, and nothing is opened at that price")
    return price


def _symbol(fields: Fields) -> str:
    value = fields.get("symbol")
    if not is_name(value):
        raise UnreadableRow(f"symbol is {value!r:.40}, not a name")
    return str(value)


def _word(value: object) -> str:
    """Return an enumeration's word or number in a uniform spelling."""
    if isinstance(value, str):
        word = value.strip().lower()
        return next((word.removeprefix(p) for p in _PREFIXES if word.startswith(p)), word)
    number = whole_number(value)
    return "" if number is None else str(number)


def _side(fields: Fields) -> Side:
    value = fields.get("type")
    side = _SIDES.get(_word(value))
    if side is None:
        raise UnreadableRow(f"type is {value!r:.40}, neither 'buy' nor 'sell'")
    return side


def _order_type(fields: Fields) -> OrderType:
    value = fields.get("type")
    try:
        return OrderType(_word(value))
    except ValueError:
        known = ", ".join(kind.value for kind in OrderType)
        raise UnreadableRow(f"type is {value!r:.40}, none of {known}") from None


# The fields that identify a position or an order, and its volume.
_OF_POSITIONS: dict[str, Callable[[Fields], object]] = {
    "ticket": _ticket,
    "identifier": _identifier,
    "symbol": _symbol,
    "type": _side,
    "volume": _volume,
    "price_open": _price_open,
}
_OF_ORDERS: dict[str, Callable[[Fields], object]] = {
    "ticket": _ticket,
    "symbol": _symbol,
    "type": _order_type,
    "volume": _volume_left,
    "price_open": lambda fields: _price(fields, "price_open"),
}


def row_fault(row: object, problem: str) -> RowFault:
    """Return the fault of an unreadable row of positions; `problem` is a sentence for people."""
    return _fault(row, problem, _OF_POSITIONS)


def order_fault(row: object, problem: str) -> RowFault:
    """Return the fault of an unreadable row of pending orders; `problem` as for `row_fault`."""
    return _fault(row, problem, _OF_ORDERS)


def _fault(
    row: object, problem: str, readers: Mapping[str, Callable[[Fields], object]]
) -> RowFault:
    fields, read = fields_of(row), dict[str, Any]()
    for name, reader in readers.items() if fields is not None else ():
        with contextlib.suppress(UnreadableRow):
            read[name] = reader(fields or {})
    unreadable = tuple(name for name in readers if name not in read)
    symbol, ticket = read.get("symbol", ""), read.get("ticket", 0)
    return RowFault(problem, symbol, ticket, unreadable, row_id(row if fields is None else fields))
