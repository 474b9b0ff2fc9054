"""The hash chain by itself: what a row's hash covers, and rows that are no whole transactions."""

from __future__ import annotations

import hashlib
import struct
from pathlib import Path

import pytest

from trueup.journal.backends.lockfile import FileClaim, claim_file, noted
from trueup.journal.journal import GENESIS, Tip
from trueup.journal.rows.chain import BrokenChain, Prover, Row, chained, row_hash
from trueup.journal.rows.codec import Encoded

STREAM = "account-7"
EVENT = Encoded(11, "SendStarted", b'{"order_id":"A"}', None)


@pytest.mark.parametrize(("intent", "length"), [(None, -1), ("", 0), ("A", 1)])
def test_a_rows_hash_is_what_the_module_says(intent: str | None, length: int) -> None:
    """Journals outlive releases: another way to hash is another format."""
    numbers = struct.pack(">qqqiiii", 3, 4, 11, 9, 11, length, 16)
    text = b"account-7" + b"SendStarted" + (intent or "").encode() + b'{"order_id":"A"}'
    wanted = hashlib.sha256(b"\x05" * 32 + numbers + text).digest()
    assert row_hash(b"\x05" * 32, STREAM, 3, 4, EVENT._replace(intent_id=intent)) == wanted


def rows_of(*batches: int) -> list[Row]:
    """Rows 1, 2, ... that say that their transaction ends there, each with a hash that fits."""
    rows, before = [], GENESIS.hash
    for position, batch in enumerate(batches, start=1):
        before = row_hash(before, STREAM, position, batch, EVENT)
        rows.append(Row(position, batch, *EVENT, before))
    return rows


@pytest.mark.parametrize("batches", [(0,), (1, 1), (2, 3), (3, 2), (3, 3, 2)])
def test_rows_that_do_not_agree_where_their_transaction_ends_prove_nothing(
    batches: tuple[int, ...],
) -> None:
    prover = Prover(STREAM)
    with pytest.raises(BrokenChain, match="was altered"):
        list(map(prover.take, rows_of(*batches)))
    whole = 1 if batches[0] == 1 else 0
    assert prover.tip.position == whole


def test_rows_that_end_before_their_end_is_said_are_missing() -> None:
    prover = Prover(STREAM)
    first, second = chained(STREAM, GENESIS, [EVENT, EVENT])
    assert prover.take(first) is None
    whole = prover.take(second)
    assert whole is not None
    assert [row.position for row in whole] == [1, 2]
    prover.finish(2)
    with pytest.raises(BrokenChain, match="position 3 is missing") as caught:
        prover.finish(3)
    assert caught.value.tip == Tip(2, whole[-1].hash)


def test_a_claim_is_above_the_writer_that_the_database_knows(tmp_path: Path) -> None:
    """Its file may be gone, as after a copy of the database alone."""
    claim = claim_file(tmp_path / "journal.db", STREAM, 7, take_over=False)
    assert claim is not None
    claim.release()
    assert claim.token == 8
    again = claim_file(tmp_path / "journal.db", STREAM, 3, take_over=False)
    assert again is not None
    again.release()
    assert again.token == 9


def test_of_several_notes_the_furthest_counts(tmp_path: Path) -> None:
    """A holder that lost its stream while it was paused leaves an older note behind."""
    tips = [Tip(position, bytes([position]) * 32) for position in (5, 9, 7)]
    paths = [tmp_path / f"{tip.position}.lock" for tip in tips]
    for path, tip in zip(paths, tips, strict=True):
        FileClaim(path, 1, tip).release()
    (tmp_path / "torn.lock").write_bytes(paths[1].read_bytes().replace(b"9", b"8", 1))
    assert noted([*paths, tmp_path / "torn.lock", tmp_path / "gone.lock"]) == Tip(9, b"\t" * 32)
