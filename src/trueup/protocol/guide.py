"""The guide's wire: JSON text, one request, one reply.

A reply to GET_POSITIONS becomes a `Snapshot` or an `Unknown`; nothing else. A row that cannot be
believed is left out and named in the snapshot's `faults`, and its neighbours stay.

Gateways of the same family spell some things differently; both spellings are read: status "ok"
for "SUCCESS", `open_price` for `price_open`, `current_price` for `price_current`, `time_open` for
`time`.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from trueup.core.model import Position, Side, Snapshot
from trueup.core.trust import Reason, Unknown
from trueup.errors import RemoteProtocolError

GET_POSITIONS = b'{"action":"GET_POSITIONS","symbol":"*"}'
GOOD_STATUS = frozenset({"SUCCESS", "OK"})
BUY_SPELLINGS = {"buy": Side.BUY, "sell": Side.SELL, "0": Side.BUY, "1": Side.SELL}
OTHER_SPELLINGS = {
    "open_price": "price_open",
    "current_price": "price_current",
    "time_open": "time",
}


class RowFault(RemoteProtocolError):
    """A row of a position list cannot be believed."""


class _Reply(msgspec.Struct):
    status: str
    positions: list[Position]
    error: object = None


_decoder = msgspec.json.Decoder(_Reply)
_set_identifier = msgspec.structs.force_setattr


def decode_positions(raw: bytes) -> Snapshot | Unknown:
    """Read the bytes of a reply to GET_POSITIONS.

    The whole reply is decoded into positions at once when every row is as the guide prints it;
    only a reply with a row that is not is read row by row.
    """
    try:
        reply = _decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _decode_slowly(raw)
    if reply.status != "SUCCESS" or reply.error or not _all_believable(reply.positions):
        return _decode_slowly(raw)
    return Snapshot(reply.positions)


def _all_believable(positions: list[Position]) -> bool:
    for position in positions:
        if position.ticket <= 0 or not 0.0 < position.volume < math.inf or not position.symbol:
            return False
        if position.identifier == 0:
            _set_identifier(position, "identifier", position.ticket)
    return len({position.identifier for position in positions}) == len(positions)


def _decode_slowly(raw: bytes) -> Snapshot | Unknown:
    try:
        # The standard library's reader takes NaN and Infinity, which some gateways write; the row
        # that has them is then named instead of the whole reply being lost.
        return read_positions(json.loads(raw))
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
    faults: list[str] = []
    for number, row in enumerate(rows, start=1):
        try:
            positions.append(read_row(row))
        except RowFault as fault:
            faults.append(f"Row {number}: {fault}")
    counts = Counter(position.identifier for position in positions)
    for identifier, times in counts.items():
        if times > 1:
            faults.append(f"Ticket {identifier} is in the list {times} times")
    return Snapshot([p for p in positions if counts[p.identifier] == 1], tuple(faults))


def read_row(row: object) -> Position:
    """Read one row of a position list.

    Raises:
        RowFault: naming the field, what it is, and what it should be.
    """
    if not isinstance(row, Mapping):
        raise RowFault(f"{row!r:.60} is not a position")
    fields = {OTHER_SPELLINGS.get(str(name), str(name)): value for name, value in row.items()}
    ticket = _whole(fields, "ticket")
    try:
        return Position(
            ticket=ticket,
            identifier=_whole(fields, "identifier", default=ticket),
            symbol=_text(fields, "symbol"),
            side=_side(fields.get("type")),
            volume=_number(fields, "volume", above_zero=True),
            price_open=_number(fields, "price_open"),
            profit=_number(fields, "profit", default=0.0),
            swap=_number(fields, "swap", default=0.0),
            price_current=_number(fields, "price_current", default=0.0),
            sl=_number(fields, "sl", default=0.0),
            tp=_number(fields, "tp", default=0.0),
            magic=_whole(fields, "magic", default=0, least=0),
            time=_whole(fields, "time", default=0, least=0),
            time_msc=_whole(fields, "time_msc", default=0, least=0),
            reason=_whole(fields, "reason", default=0, least=0),
            comment=str(fields.get("comment") or ""),
        )
    except RowFault as fault:
        raise RowFault(f"ticket {ticket}: {fault}") from None


def _whole(
    fields: Mapping[str, Any], name: str, *, default: int | None = None, least: int = 1
) -> int:
    value = fields.get(name)
    if value is None and default is not None:
        return default
    # Tickets above 2**53 are sent as text by careful gateways, and whole floats by careless ones.
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value[:20])
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value < 2**64:
        raise RowFault(f"{name} is {value!r:.40}, not a whole number of at least {least}")
    return value


def _number(
    fields: Mapping[str, Any],
    name: str,
    *,
    default: float | None = None,
    above_zero: bool = False,
) -> float:
    value = fields.get(name)
    if value is None and default is not None:
        return default
    try:
        number = math.nan if isinstance(value, bool | None) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number) or (above_zero and number <= 0):
        raise RowFault(f"{name} is {value!r:.40}, not a number{' above 0' * above_zero}")
    return number


def _text(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or not value:
        raise RowFault(f"{name} is {value!r:.40}, not a name")
    return value


def _side(value: object) -> Side:
    side = BUY_SPELLINGS.get(str(value).lower()) if not isinstance(value, bool) else None
    if side is None:
        raise RowFault(f"type is {value!r:.40}, neither 'buy' nor 'sell'")
    return side


def _unreadable(what: str) -> Unknown:
    return Unknown(Reason.UNREADABLE, f"Gateway offline - no usable reading: {what}")
