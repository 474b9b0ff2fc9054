"""A digest of everything that is reconciled, the same for every order of the rows.

Each row is hashed for itself and the hashes are added up modulo 2**128, so that neither side has to
sort. The number of rows goes in too. The empty set has a value of its own: "nothing is open" is a
statement, and a missing digest is none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from trueup.core.model import PendingOrder, Position
from trueup.core.quantity import to_units

_MODULUS = 1 << 128
_ROW = b"trueup-row"
_SET = b"trueup-set"


def digest(positions: Iterable[Position], orders: Iterable[PendingOrder] = ()) -> str:
    """Return 32 hexadecimal digits for the reconcilable fields of positions and pending orders.

    What moves by itself (profit, swap, current price) and what brokers rewrite (comments) is left
    out.
    """
    total = rows = 0
    for position in positions:
        total += position_hash(position)
        rows += 1
    for order in orders:
        total += order_hash(order)
        rows += 1
    return digest_of(total, rows)


def position_hash(position: Position) -> int:
    """Return what one position adds to the sum."""
    return _hash(
        f"p {position.identifier} {position.ticket} {position.symbol} {position.side.value} "
        f"{to_units(position.volume)} {to_units(position.price_open)} "
        f"{to_units(position.sl)} {to_units(position.tp)} {position.magic}"
    )


def order_hash(order: PendingOrder) -> int:
    """Return what one pending order adds to the sum."""
    return _hash(
        f"o {order.ticket} {order.symbol} {order.type.value} {to_units(order.volume)} "
        f"{to_units(order.price_open)} {to_units(order.price_stoplimit)} "
        f"{to_units(order.sl)} {to_units(order.tp)} {order.magic}"
    )


def digest_of(total: int, rows: int) -> str:
    """Return the digest of so many rows whose hashes add up to `total`."""
    text = f"{rows} {total % _MODULUS:032x}"
    return hashlib.blake2b(text.encode(), digest_size=16, key=_SET).hexdigest()


def _hash(row: str) -> int:
    return int.from_bytes(hashlib.blake2b(row.encode(), digest_size=16, key=_ROW).digest(), "big")
