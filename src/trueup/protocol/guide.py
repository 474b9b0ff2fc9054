"""The guide's wire: JSON text, one request, one reply.

A reply to GET_POSITIONS becomes a `Snapshot` or an `Unknown`; nothing else. A row that cannot be
believed is left out and named in the snapshot's `faults`, and its neighbours stay. How a row may be
written is in `protocol.rows`; gateways of the family also write the status "ok" for "SUCCESS".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from trueup.core.account.trust import Reason, Unknown
from trueup.core.model import FieldNote, Position, RowFault, Snapshot
from trueup.protocol.rows import (
    MILLISECONDS,
    OTHER_SPELLINGS,
    SIGNED,
    TOO_LARGE,
    UnreadableRow,
    read_row,
    row_fault,
)
from trueup.protocol.snapshot_rows import each_once
from trueup.protocol.text import (
    DAMAGED,
    brief,
    check_text,
    cleaned,
    read_json,
    why_unreadable,
)

GET_POSITIONS = b'{"action":"GET_POSITIONS","symbol":"*"}'
GET_ALL_POSITIONS = b'{"action":"GET_POSITIONS"}'
GOOD_STATUS = frozenset({"SUCCESS", "OK"})
# The request itself is refused, now and always; any other status says that nobody could look now.
REFUSED_STATUS = "ERROR"
UNTIL = "a gateway that answers GET_POSITIONS"
UNTIL_UNDERSTOOD = "a gateway that takes this form of GET_POSITIONS"
# Spellings that the quick decoder would pass over as fields nobody knows.
UNUSUAL = tuple(f'"{name}"'.encode() for name in OTHER_SPELLINGS)


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
        found = _decode_quickly(raw)
        if found is None:
            clean = cleaned(raw)
            found = _decode_quickly(clean) if clean != raw else None
        # The standard library's reader takes NaN and Infinity, which some gateways write; the row
        # that has them is then named instead of the whole reply being lost.
        return read_positions(read_json(raw, DAMAGED)) if found is None else found
    except (ValueError, RecursionError):
        return _unreadable(f"the reply cannot be read: {why_unreadable(raw)}")


def _decode_quickly(raw: bytes) -> Snapshot | None:
    """Return the reading of a reply whose rows are all as the guide prints them, else None."""
    try:
        check_text(raw)
        reply = _decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    positions = reply.positions
    if reply.status != "SUCCESS" or reply.error or not _all_believable(positions):
        return None
    if not needs_no_care(positions):
        return None
    # A row without them may have spelled them another way; one without `price_open` is not here.
    times, prices = [p.time for p in positions], [p.price_current for p in positions]
    has_gaps = 0 in times or 0.0 in prices
    if has_gaps and any(spelling in raw for spelling in UNUSUAL):
        return None
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


def needs_no_care(positions: Sequence[Position]) -> bool:
    """Return whether positions that were decoded are what they must be, where no type says so.

    It runs for every position of every reading, and so over lists made at once.
    """
    symbols = {position.symbol for position in positions}
    return (
        0.0 not in [position.price_open for position in positions]
        and max([position.time for position in positions], default=0) < MILLISECONDS
        and max([position.magic for position in positions], default=0) < TOO_LARGE
        and max([position.time_msc for position in positions], default=0) < SIGNED
        and max([position.reason for position in positions], default=0) < SIGNED
        and all(symbol.isprintable() for symbol in symbols)
        and not any(DAMAGED in symbol for symbol in symbols)
    )


def read_positions(reply: object) -> Snapshot | Unknown:
    """Read a reply to GET_POSITIONS that is decoded already, whatever it is."""
    if reply is None:
        return Unknown(Reason.OFFLINE, "Gateway offline - it gave no reply")
    if not isinstance(reply, Mapping):
        return _unreadable(f"the reply is a {type(reply).__name__}, not a JSON object")
    status, error = reply.get("status"), reply.get("error") or reply.get("message")
    if not isinstance(status, str) or status.upper() not in GOOD_STATUS:
        because = f" ({brief(error)})" if error else ""
        is_refused = isinstance(status, str) and status.upper() == REFUSED_STATUS
        until = UNTIL_UNDERSTOOD if is_refused else UNTIL
        return _unreadable(f"the reply's status is {brief(repr(status))}{because}", until)
    if reply.get("error"):
        what = f"the reply's status is {status!r:.40} and yet it has an error: {brief(error)}"
        return _unreadable(what)
    rows = reply.get("positions")
    if not isinstance(rows, Sequence) or isinstance(rows, str | bytes):
        return _unreadable(f"the reply has no list of positions but {rows!r:.60}")
    claimed = reply.get("capabilities")
    named = claimed if isinstance(claimed, list) else ()
    capabilities = tuple(name for name in named if isinstance(name, str))
    return msgspec.structs.replace(_read_rows(rows), capabilities=capabilities)


def _read_rows(rows: Sequence[object]) -> Snapshot:
    positions: list[Position] = []
    faults: list[RowFault] = []
    notes: list[FieldNote] = []
    for number, row in enumerate(rows, start=1):
        try:
            positions.append(read_row(row, notes))
        except UnreadableRow as error:
            faults.append(row_fault(row, f"Row {number}: {error}"))
    once, twice = each_once(positions)
    return Snapshot(once, (*faults, *twice), notes=tuple(notes))


def is_refused(reading: Unknown) -> bool:
    """Return whether a gateway refused the form of a question, and did not fail to look."""
    return reading.until == UNTIL_UNDERSTOOD


def _unreadable(what: str, until: str = UNTIL) -> Unknown:
    return Unknown(Reason.UNREADABLE, f"Gateway offline - no usable reading: {what}", until)
