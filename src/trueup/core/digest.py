"""Compute a digest of all reconciled fields, the same for every order of the rows.

Each row is hashed separately and the hashes are added modulo 2**128, so that neither side has to
sort. The number of rows is part of the digest. The empty set has its own value, so "nothing is
open" differs from a missing digest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence

from trueup.core.conversions import number
from trueup.core.model import PendingOrder, Position
from trueup.core.quantity import UNITS_PER_LOT, to_units

_MODULUS = 1 << 128
_UNITS = UNITS_PER_LOT
_ROW = b"trueup-row"
_SET = b"trueup-set"
# Copied for each row and never changed: a new hash with a key takes twice as long as a copy.
_ROW_HASH = hashlib.blake2b(digest_size=16, key=_ROW)
# The value for a field that a row leaves out.
_WITHOUT = {"identifier": 0}


def digest(positions: Iterable[Position], orders: Iterable[PendingOrder] = ()) -> str:
    """Return 32 hexadecimal digits for the reconcilable fields of positions and pending orders.

    The digest leaves out fields that change by themselves (profit, swap, current price) and fields
    that brokers rewrite (comments).
    """
    total = rows = 0
    copy, whole = _ROW_HASH.copy, int.from_bytes
    # The lines of `position_hash`, without its calls: a recovery hashes ten thousand rows.
    for position in positions:
        hashing = copy()
        hashing.update(position_line(position).encode())
        total += whole(hashing.digest(), "big")
        rows += 1
    for order in orders:
        total += order_hash(order)
        rows += 1
    return digest_of(total, rows)


def position_hash(position: Position) -> int:
    """Return the hash that a position adds to the sum."""
    return _hash(position_line(position))


def position_line(position: Position) -> str:
    """Return the line of text that is hashed for a position."""
    # As `to_units` does, without its calls: a recovery hashes ten thousand rows.
    return (
        f"p {position.identifier} {position.ticket} {position.symbol} {position.side._value_} "
        f"{(position.volume * _UNITS).__round__()} {(position.price_open * _UNITS).__round__()} "
        f"{(position.sl * _UNITS).__round__()} {(position.tp * _UNITS).__round__()} "
        f"{position.magic}"
    )


def order_hash(order: PendingOrder) -> int:
    """Return the hash that a pending order adds to the sum."""
    return _hash(order_line(order))


def order_line(order: PendingOrder) -> str:
    """Return the line of text that is hashed for a pending order."""
    return (
        f"o {order.ticket} {order.symbol} {order.type.value} {to_units(order.volume)} "
        f"{to_units(order.price_open)} {to_units(order.price_stoplimit)} "
        f"{to_units(order.sl)} {to_units(order.tp)} {order.magic}"
    )


def raw_position_hash(row: Mapping[str, object]) -> int:
    """Return the hash that a row of positions on the wire adds to the sum.

    A position keeps its hash when it is encoded and decoded again. An invalid row has a hash too,
    so that the digest also verifies a list with invalid rows.
    """
    return _hash(raw_position_line(row))


def raw_position_line(row: Mapping[str, object]) -> str:
    """Return the line of text that is hashed for a row of positions on the wire."""
    return _raw("p", row, ("identifier", "ticket", "symbol", "type"), ("sl", "tp"))


def raw_order_hash(row: Mapping[str, object]) -> int:
    """Return the hash that a row of pending orders adds to the sum; see `raw_position_hash`."""
    return _hash(raw_order_line(row))


def raw_order_line(row: Mapping[str, object]) -> str:
    """Return the line of text that is hashed for a row of pending orders on the wire."""
    prices = ("price_stoplimit", "sl", "tp")
    return _raw("o", row, ("ticket", "symbol", "type"), prices)


def _raw(kind: str, row: Mapping[str, object], names: Sequence[str], prices: Sequence[str]) -> str:
    amounts = (_raw_units(row.get(name, 0.0)) for name in ("volume", "price_open", *prices))
    words = (str(row.get(name, _WITHOUT.get(name, ""))) for name in names)
    return " ".join((kind, *words, *amounts, str(row.get("magic", 0))))


def _raw_units(value: object) -> str:
    found = number(value)
    return str(value) if found is None else str(to_units(found))


def digest_of(total: int, rows: int) -> str:
    """Return the digest of `rows` rows whose hashes add up to `total`."""
    text = f"{rows} {total % _MODULUS:032x}"
    return hashlib.blake2b(text.encode(), digest_size=16, key=_SET).hexdigest()


def _hash(row: str) -> int:
    hashing = _ROW_HASH.copy()
    hashing.update(row.encode())
    return int.from_bytes(hashing.digest(), "big")
