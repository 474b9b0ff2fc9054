"""The hash chain: each row's hash is a function of the row and of the hash before the row.

SHA-256 over the previous hash, then position, batch and time as 64-bit integers, then stream, kind,
intent and payload, each after its length (-1 for no intent). So a row that is altered, removed,
moved or copied to another stream fails its check. The chain has no secret key: a program that can
write the database can also write a new chain from any row on. Only a comparison with a tip that
was stored elsewhere shows that; see `Verdict`.

`batch` is the position of the last event of the same transaction. So a transaction with missing
rows is recognised as incomplete.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from trueup.journal.journal import GENESIS, Tip
from trueup.journal.rows.codec import Encoded

_NUMBERS = struct.Struct(">qqqiiii")
# A local name: proving a long journal looks the function up a million times.
_sha256 = hashlib.sha256


class Row(NamedTuple):
    """A row of the events' table, without its stream; fields are in the order of the columns."""

    position: int
    batch: int
    at_ns: int
    kind: str
    payload: bytes
    intent_id: str | None
    hash: bytes


class BrokenChain(Exception):
    """The chain is broken at `position`.

    `tip` is the end of the last complete and proven transaction. `batch` is the last position of
    the next transaction by its own rows, or None if none of its rows is proven.
    """

    def __init__(self, position: int, because: str, tip: Tip, batch: int | None) -> None:
        super().__init__(because)
        self.position: int = position
        self.because: str = because
        self.tip: Tip = tip
        self.batch: int | None = batch


def row_hash(before: bytes, stream: str, position: int, batch: int, event: Encoded) -> bytes:
    """Return the 32 bytes that prove a row after the row with hash `before`."""
    return _hashed(before, stream.encode(), position, batch, *event)


def _hashed(
    before: bytes,
    name: bytes,
    position: int,
    batch: int,
    at_ns: int,
    kind_name: str,
    payload: bytes,
    intent_id: str | None,
) -> bytes:
    # The format is fixed: a change here would break the check of every journal ever written.
    kind = kind_name.encode()
    intent = b"" if intent_id is None else intent_id.encode()
    numbers = _NUMBERS.pack(
        position,
        batch,
        at_ns,
        len(name),
        len(kind),
        -1 if intent_id is None else len(intent),
        len(payload),
    )
    return _sha256(b"".join((before, numbers, name, kind, intent, payload))).digest()


def chained(stream: str, tip: Tip, history: Sequence[Encoded]) -> list[Row]:
    """Return the rows that append `history` after `tip`, as a single transaction."""
    position, before = tip
    batch, name = position + len(history), stream.encode()
    rows = []
    for at_ns, kind, payload, intent_id in history:
        position += 1
        before = _hashed(before, name, position, batch, at_ns, kind, payload, intent_id)
        rows.append(Row(position, batch, at_ns, kind, payload, intent_id, before))
    return rows


def checkpoint_digest(stream: str, tip: Tip, state: bytes) -> bytes:
    """Return the 32 bytes that bind a saved fold to its stream and its place in the chain."""
    numbers = struct.pack(">qi", tip.position, len(stream.encode()))
    return hashlib.sha256(b"".join((tip.hash, numbers, stream.encode(), state))).digest()


class Prover:
    """Check rows in order, oldest first, and return them as complete, proven transactions."""

    def __init__(self, stream: str, after: Tip = GENESIS) -> None:
        self.tip: Tip = after
        self._stream = stream.encode()
        self._before = after
        self._pending: list[Row] = []

    def take(self, row: Row) -> list[Row] | None:
        """Return the whole transaction that this row ends, or None if more rows must follow.

        Raises:
            BrokenChain: the row is altered or out of place.
        """
        if row.position != self._before.position + 1:
            raise self._broken("is missing")
        if not self._proven(row):
            raise self._broken("was altered")
        self._before = Tip(row.position, row.hash)
        self._pending.append(row)
        if row.position < row.batch:
            return None
        whole, self._pending, self.tip = self._pending, [], self._before
        return whole

    def finish(self, end: int) -> None:
        """Check that the rows end at position `end`.

        Raises:
            BrokenChain: the last transaction is incomplete, or rows are missing after the last.
        """
        if self._pending:
            raise self._broken("is missing: its transaction is not whole")
        if self.tip.position < end:
            raise self._broken("is missing")

    def give_up(self) -> BrokenChain:
        """Return the error for rows that cannot be read at all."""
        return self._broken("cannot be read")

    def _proven(self, row: Row) -> bool:
        ends = self._pending[0].batch if self._pending else row.batch
        try:
            proof = _hashed(self._before.hash, self._stream, *row[:-1])
            return proof == row.hash and row.position <= row.batch == ends
        except (struct.error, TypeError, ValueError, AttributeError):
            # A damaged row may hold a value of any type.
            return False

    def _broken(self, what: str) -> BrokenChain:
        position = self._before.position + 1
        batch = self._pending[0].batch if self._pending else None
        return BrokenChain(position, f"the event at position {position} {what}", self.tip, batch)


def proven(stream: str, rows: Iterable[Row], after: Tip = GENESIS) -> Tip:
    """Return the tip after these rows, which must be complete transactions.

    Raises:
        BrokenChain: a row is altered or missing.
    """
    prover = Prover(stream, after)
    for row in rows:
        prover.take(row)
    prover.finish(after.position)
    return prover.tip
