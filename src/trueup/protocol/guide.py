"""The guide's wire: JSON text, one reply per request.

A reply to GET_POSITIONS becomes either a `Snapshot` or an `Unknown`. A malformed row is left out
and named in the snapshot's `faults`; the other rows stay. `protocol.rows` defines the accepted
spellings of a row. Gateways of this family may also write the status "ok" instead of "SUCCESS".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from trueup.core.account.trust import Reason, Unknown
from trueup.core.model import FieldNote, Position, RowFault, Snapshot
from trueup.protocol.failures import failure_of
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
# The request itself is refused, now and later; any other status means a failure that may pass.
REFUSED_STATUS = "ERROR"
UNTIL = "a gateway that answers GET_POSITIONS"
UNTIL_UNDERSTOOD = "a gateway that takes this form of GET_POSITIONS"
# Spellings that the fast decoder would ignore as unknown fields.
UNUSUAL = tuple(f'"{name}"'.encode() for name in OTHER_SPELLINGS)


class _Reply(msgspec.Struct):
    status: str
    positions: list[Position]
    error: object = None
    capabilities: tuple[str, ...] = ()


_decoder = msgspec.json.Decoder(_Reply)
_set_identifier = msgspec.structs.force_setattr


def encode_positions_request(symbol: str) -> bytes:
    """Return the bytes of a question for the positions in a symbol."""
    return msgspec.json.encode({"action": "GET_POSITIONS", "symbol": symbol})


def decode_positions(raw: bytes) -> Snapshot | Unknown:
    """Decode a reply to GET_POSITIONS.

    If every row is as the guide prints it, the whole reply is decoded at once. Otherwise the reply
    is read row by row.
    """
    try:
        found = _decode_quickly(raw)
        if found is None:
            clean = cleaned(raw)
            found = _decode_quickly(clean) if clean != raw else None
        # The standard library's parser accepts NaN and Infinity, which some gateways write. So only
        # the affected row is lost, not the whole reply.
        return read_positions(read_json(raw, DAMAGED)) if found is None else found
    except (ValueError, RecursionError):
        return _unreadable(f"the reply cannot be read: {why_unreadable(raw)}")


def _decode_quickly(raw: bytes) -> Snapshot | None:
    """Decode a reply whose rows are all as the guide prints them; return None for any other."""
    try:
        check_text(raw)
        reply = _decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # The slow path finds out which row is wrong.
        return None
    positions = reply.positions
    if reply.status != "SUCCESS" or reply.error or not _all_believable(positions):
        return None
    if not needs_no_care(positions):
        return None
    # Missing times or prices may be present under another spelling, which this decoder ignores. A
    # row without `price_open` does not get here.
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
    """Return whether decoded positions have valid values where their types do not ensure that.

    It runs on every reading, so it works on whole lists at a time, which is faster than a loop.
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
    """Interpret a reply to GET_POSITIONS that was parsed as JSON; accepts any value."""
    if reply is None:
        return Unknown(Reason.OFFLINE, "Gateway offline - it gave no reply")
    if not isinstance(reply, Mapping):
        return _unreadable(f"the reply is a {type(reply).__name__}, not a JSON object")
    status, error = reply.get("status"), reply.get("error") or reply.get("message")
    # Only a clear success counts: any doubt makes the whole reading unknown.
    if not isinstance(status, str) or status.upper() not in GOOD_STATUS:
        # A gateway of ours answers and names the cause, so the gateway is not offline.
        failure = failure_of(reply)
        if failure is not None:
            return failure
        because = f" ({brief(error)})" if error else ""
        is_refused = isinstance(status, str) and status.upper() == REFUSED_STATUS
        until = UNTIL_UNDERSTOOD if is_refused else UNTIL
        return _unreadable(f"the reply's status is {brief(repr(status))}{because}", until)
    if reply.get("error"):
        # Status and error contradict each other, so the list cannot be trusted.
        problem = f"the reply's status is {status!r:.40} and yet it has an error: {brief(error)}"
        return _unreadable(problem)
    rows = reply.get("positions")
    if not isinstance(rows, Sequence) or isinstance(rows, str | bytes):
        return _unreadable(f"the reply has no list of positions but {rows!r:.60}")
    return msgspec.structs.replace(_read_rows(rows), capabilities=capabilities_of(reply))


def capabilities_of(reply: object) -> tuple[str, ...]:
    """Return the capabilities that a reply to GET_POSITIONS names; accepts any value."""
    claimed = reply.get("capabilities") if isinstance(reply, Mapping) else None
    named = claimed if isinstance(claimed, list) else ()
    return tuple(name for name in named if isinstance(name, str))


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
    """Return whether a gateway refused the form of a question, rather than failed to read."""
    return reading.until == UNTIL_UNDERSTOOD


def _unreadable(problem: str, until: str = UNTIL) -> Unknown:
    return Unknown(Reason.UNREADABLE, f"Gateway offline - no usable reading: {problem}", until)
