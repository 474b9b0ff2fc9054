"""The guide's wire: JSON text, one request, one reply.

A reply to GET_POSITIONS becomes a `Snapshot` or an `Unknown`; nothing else. A row that cannot be
believed is left out and named in the snapshot's `faults`, and its neighbours stay.

Gateways of the same family spell some things differently; both spellings are read: status "ok"
for "SUCCESS", `open_price` for `price_open`, `current_price` for `price_current`, `time_open` for
`time`.
"""

from __future__ import annotations

import contextlib
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from trueup.core.ids import row_id
from trueup.core.model import Position, RowFault, Side, Snapshot
from trueup.core.quantity import HIGHEST_PRICE, is_number, is_volume
from trueup.core.trust import Reason, Unknown
from trueup.errors import RemoteProtocolError
from trueup.protocol.text import check_text, read_json

GET_POSITIONS = b'{"action":"GET_POSITIONS","symbol":"*"}'
GET_ALL_POSITIONS = b'{"action":"GET_POSITIONS"}'
GOOD_STATUS = frozenset({"SUCCESS", "OK"})
BUY_SPELLINGS = {"buy": Side.BUY, "sell": Side.SELL, "0": Side.BUY, "1": Side.SELL}
OTHER_SPELLINGS = {
    "open_price": "price_open",
    "current_price": "price_current",
    "time_open": "time",
}


# Spellings that the quick decoder would pass over as fields nobody knows.
UNUSUAL = tuple(f'"{name}"'.encode() for name in OTHER_SPELLINGS)
TOO_LARGE = 2**64
NUMBER = re.compile(r"[+-]?\d+(\.\d*)?([eE][+-]?\d+)?", re.ASCII)


class UnreadableRow(RemoteProtocolError):
    """A row of a position list cannot be believed."""


class _Reply(msgspec.Struct):
    status: str
    positions: list[Position]
    error: object = None
    capabilities: tuple[str, ...] = ()


_decoder = msgspec.json.Decoder(_Reply)
_set_identifier = msgspec.structs.force_setattr


def encode_positions_request(symbol: str) -> bytes:
    """Return the bytes of a question for the positions in one symbol."""
    return msgspec.json.encode({"action": "GET_POSITIONS", "symbol": symbol})


def decode_positions(raw: bytes) -> Snapshot | Unknown:
    """Read the bytes of a reply to GET_POSITIONS.

    The whole reply is decoded into positions at once when every row is as the guide prints it;
    only a reply with a row that is not is read row by row.
    """
    try:
        check_text(raw)
        reply = _decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _decode_slowly(raw)
    positions = reply.positions
    if reply.status != "SUCCESS" or reply.error or not _all_believable(positions):
        return _decode_slowly(raw)
    # A row without them may have spelled them another way; one without `price_open` is not here.
    has_gaps = any(position.time == 0 or position.price_current == 0 for position in positions)
    if has_gaps and any(spelling in raw for spelling in UNUSUAL):
        return _decode_slowly(raw)
    return Snapshot(positions, capabilities=reply.capabilities)


def _all_believable(positions: list[Position]) -> bool:
    tickets = [position.ticket for position in positions]
    identifiers = [position.identifier for position in positions]
    if 0 in identifiers:
        for position in positions:
            if position.identifier == 0:
                _set_identifier(position, "identifier", position.ticket)
        identifiers = [position.identifier for position in positions]
    return (
        max(tickets, default=0) < TOO_LARGE
        and max(identifiers, default=0) < TOO_LARGE
        and len(set(tickets)) == len(set(identifiers)) == len(positions)
    )


def _decode_slowly(raw: bytes) -> Snapshot | Unknown:
    try:
        # The standard library's reader takes NaN and Infinity, which some gateways write; the row
        # that has them is then named instead of the whole reply being lost.
        return read_positions(read_json(raw))
    except (ValueError, RecursionError):
        return _unreadable(f"the reply is not JSON: {raw[:60]!r}")


def read_positions(reply: object) -> Snapshot | Unknown:
    """Read a reply to GET_POSITIONS that is decoded already, whatever it is."""
    if reply is None:
        return Unknown(Reason.OFFLINE, "Gateway offline - it gave no reply")
    if not isinstance(reply, Mapping):
        return _unreadable(f"the reply is a {type(reply).__name__}, not a JSON object")
    status, error = reply.get("status"), reply.get("error") or reply.get("message")
    if not isinstance(status, str) or status.upper() not in GOOD_STATUS:
        because = f" ({error})" if error else ""
        return _unreadable(f"the reply's status is {status!r}{because}")
    if reply.get("error"):
        return _unreadable(f"the reply's status is {status!r} and yet it has an error: {error}")
    rows = reply.get("positions")
    if not isinstance(rows, Sequence) or isinstance(rows, str | bytes):
        return _unreadable(f"the reply has no list of positions but {rows!r:.60}")
    return _read_rows(rows)


def _read_rows(rows: Sequence[object]) -> Snapshot:
    positions: list[Position] = []
    faults: list[RowFault] = []
    for number, row in enumerate(rows, start=1):
        try:
            positions.append(read_row(row))
        except UnreadableRow as error:
            faults.append(row_fault(row, f"Row {number}: {error}"))
    identifiers = Counter(position.identifier for position in positions)
    tickets = Counter(position.ticket for position in positions)
    once = [p for p in positions if identifiers[p.identifier] == tickets[p.ticket] == 1]
    twice = sorted({p.ticket for p in positions} - {p.ticket for p in once})
    faults += [_listed_twice(ticket, positions) for ticket in twice]
    return Snapshot(once, tuple(faults))


def row_fault(row: object, what: str) -> RowFault:
    """Return a row that cannot be believed as a fault; `what` is the sentence for a person."""
    read = {}
    if isinstance(row, Mapping):
        fields = {OTHER_SPELLINGS.get(str(name), str(name)): value for name, value in row.items()}
        for name, reader in _IDENTIFYING.items():
            with contextlib.suppress(UnreadableRow):
                read[name] = reader(fields)
    unreadable = tuple(name for name in _IDENTIFYING if name not in read)
    symbol, ticket = str(read.get("symbol", "")), int(read.get("ticket", 0))
    return RowFault(what, symbol, ticket, unreadable, row_id(row))


def _listed_twice(ticket: int, positions: Sequence[Position]) -> RowFault:
    rows = [position for position in positions if position.ticket == ticket]
    symbols = {position.symbol for position in rows}
    # What moves by itself is no part of an approval.
    raw = [(p.identifier, p.symbol, p.side.value, p.volume, p.price_open) for p in rows]
    return RowFault(
        f"Ticket {ticket} is in the list {_times(ticket, positions)}",
        symbols.pop() if len(symbols) == 1 else "",
        ticket,
        id=row_id([ticket, *sorted(raw)]),
    )


def _times(ticket: int, positions: Sequence[Position]) -> str:
    times = sum(position.ticket == ticket for position in positions)
    return f"{times} times" if times > 1 else "with an identifier that another ticket has"


def read_row(row: object) -> Position:
    """Read one row of a position list.

    Raises:
        UnreadableRow: naming the field, what it is, and what it should be.
    """
    if not isinstance(row, Mapping):
        raise UnreadableRow(f"{row!r:.60} is not a position")
    fields = {OTHER_SPELLINGS.get(str(name), str(name)): value for name, value in row.items()}
    ticket = _whole(fields, "ticket")
    try:
        return Position(
            ticket=ticket,
            identifier=_whole(fields, "identifier", default=ticket, least=0) or ticket,
            symbol=_text(fields, "symbol"),
            side=_side(fields.get("type")),
            volume=_volume(fields),
            price_open=_price(fields, "price_open"),
            profit=_number(fields, "profit", default=0.0),
            swap=_number(fields, "swap", default=0.0),
            price_current=_price(fields, "price_current", default=0.0),
            sl=_price(fields, "sl", default=0.0),
            tp=_price(fields, "tp", default=0.0),
            magic=_whole(fields, "magic", default=0, least=0),
            time=_whole(fields, "time", default=0, least=0),
            time_msc=_whole(fields, "time_msc", default=0, least=0),
            reason=_whole(fields, "reason", default=0, least=0),
            comment=str(fields.get("comment") or ""),
        )
    except UnreadableRow as fault:
        raise UnreadableRow(f"ticket {ticket}: {fault}") from None


def _whole(
    fields: Mapping[str, Any], name: str, *, default: int | None = None, least: int = 1
) -> int:
    value = fields.get(name)
    if value is None and default is not None:
        return default
    # Tickets above 2**53 are sent as text by careful gateways, and whole floats by careless ones.
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 20:
        value = int(value)
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value < TOO_LARGE:
        raise UnreadableRow(f"{name} is {value!r:.40}, not a whole number of at least {least}")
    return value


def _number(fields: Mapping[str, Any], name: str, *, default: float | None = None) -> float:
    value = fields.get(name)
    if value is None and default is not None:
        return default
    if isinstance(value, str) and NUMBER.fullmatch(value):
        value = float(value)
    if not is_number(value):
        raise UnreadableRow(f"{name} is {value!r:.40}, not a number")
    return float(value)


def _volume(fields: Mapping[str, Any]) -> float:
    volume = _number(fields, "volume")
    if not is_volume(volume):
        raise UnreadableRow(f"volume is {volume!r:.40}, not a number of lots above 0")
    return volume


def _price(fields: Mapping[str, Any], name: str, *, default: float | None = None) -> float:
    price = _number(fields, name, default=default)
    if abs(price) >= HIGHEST_PRICE:
        raise UnreadableRow(f"{name} is {price!r:.40}, beyond every market")
    return price


def _text(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or not value:
        raise UnreadableRow(f"{name} is {value!r:.40}, not a name")
    return value


def _side(value: object) -> Side:
    side = BUY_SPELLINGS.get(str(value).lower()) if not isinstance(value, bool) else None
    if side is None:
        raise UnreadableRow(f"type is {value!r:.40}, neither 'buy' nor 'sell'")
    return side


# What says which position a row is, and of how much.
_IDENTIFYING: dict[str, Callable[[Mapping[str, Any]], Any]] = {
    "ticket": lambda fields: _whole(fields, "ticket"),
    "symbol": lambda fields: _text(fields, "symbol"),
    "type": lambda fields: _side(fields.get("type")),
    "volume": _volume,
    "price_open": lambda fields: _price(fields, "price_open"),
}


def _unreadable(what: str) -> Unknown:
    return Unknown(Reason.UNREADABLE, f"Gateway offline - no usable reading: {what}")
