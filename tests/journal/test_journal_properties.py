"""Properties: what goes in comes out in order, and no byte can be altered unseen."""

from __future__ import annotations

import itertools
import sqlite3
import types
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.journal.places import NOW_NS, SqlitePlace, orders
from trueup.core.book import events
from trueup.journal import MemoryJournal, open_journal, open_reader
from trueup.journal.rows.chain import Row
from trueup.journal.rows.codec import LARGEST_NS, decode, encode

LETTERS = st.characters(exclude_categories=["Cs"])
LEAVES: Mapping[type, st.SearchStrategy[typing.Any]] = {
    int: st.integers(-(2**63), 2**63 - 1),
    float: st.floats(allow_nan=False, allow_infinity=False),
    str: st.text(LETTERS, max_size=8),
    bool: st.booleans(),
    types.NoneType: st.none(),
}


def values(kind: typing.Any) -> st.SearchStrategy[typing.Any]:
    """Return a strategy for a type as it stands in a struct of the core."""
    if kind in LEAVES:
        return LEAVES[kind]
    arguments = typing.get_args(kind)
    if typing.get_origin(kind) is typing.Annotated:
        return bounded(arguments[0], arguments[1])
    if typing.get_origin(kind) is typing.Literal:
        return st.sampled_from(arguments)
    if typing.get_origin(kind) is tuple:
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return st.lists(values(arguments[0]), max_size=3).map(tuple)
        return st.tuples(*map(values, arguments))
    if arguments:
        return st.one_of(*map(values, arguments))
    if issubclass(kind, msgspec.Struct):
        return structs(kind)
    return st.sampled_from(list(kind))


def bounded(kind: type, meta: msgspec.Meta) -> st.SearchStrategy[typing.Any]:
    """Return a strategy for a type with what its annotation says of its size."""
    lowest = meta.ge if meta.gt is None else meta.gt
    highest = meta.le if meta.lt is None else meta.lt
    if kind is int:
        lowest = -(2**63) if lowest is None else int(lowest) + (meta.gt is not None)
        highest = 2**63 if highest is None else int(highest) + (meta.lt is None)
        return st.integers(lowest, highest - 1)
    if kind is float:
        return st.floats(
            lowest,
            highest,
            exclude_min=meta.gt is not None,
            exclude_max=meta.lt is not None,
            allow_nan=False,
            allow_infinity=False,
        )
    return st.text(LETTERS, min_size=meta.min_length or 0, max_size=8)


def structs(kind: type[msgspec.Struct]) -> st.SearchStrategy[typing.Any]:
    """Return a strategy for a struct, every field given."""
    hints = typing.get_type_hints(kind, include_extras=True)
    fields = {name: values(hints[name]) for name in kind.__struct_fields__}
    if "at_ns" in fields:
        fields["at_ns"] = st.integers(0, LARGEST_NS)
    return st.builds(kind, **fields)


KINDS: tuple[type[events.Event], ...] = typing.get_args(events.AnyEvent)
BATCHES = st.lists(st.lists(structs(events.OrderSettled), max_size=3), max_size=4)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_event_of_every_kind_comes_back_from_its_bytes(kind: type[events.Event]) -> None:
    @given(structs(kind))
    @settings(max_examples=20)
    def comes_back(event: events.Event) -> None:
        encoded = encode(event)
        assert decode(1, encoded.kind, encoded.payload) == event

    comes_back()


@given(batches=BATCHES)
@settings(
    max_examples=25,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_journal_gives_back_what_was_appended_across_openings(
    sqlite_place: SqlitePlace, batches: list[list[events.Event]]
) -> None:
    stream = f"stream-{next(STREAMS)}"
    memory = MemoryJournal(stream)
    for batch in batches:
        with sqlite_place.open(stream) as journal:
            assert journal.append(batch) == memory.append(batch)
    with sqlite_place.open(stream) as journal:
        assert list(journal.read()) == [event for batch in batches for event in batch]
        assert list(journal.records()) == list(memory.records())
        assert journal.verify() == memory.verify()
        assert journal.verify().sound


STREAMS = itertools.count()

# Every column that `verify` answers for. A checkpoint that is not there is no fault.
COLUMNS = [
    *[("journal_events", name) for name in ("stream", *Row._fields)],
    *[("journal_checkpoints", name) for name in ("position", "digest", "state")],
    *[("journal_writers", name) for name in ("position", "hash")],
]


class Altering:
    """A journal, and a hand that alters one value in it and puts it back."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.connection = sqlite3.connect(path, isolation_level=None)
        self.connection.execute("PRAGMA ignore_check_constraints=ON")
        self.reader = open_reader(path, "account")

    def is_seen(self, table: str, column: str, row: int, change: int, byte: int) -> bool:
        """Return whether one altered byte of one value is refused or found."""
        keys = self.connection.execute(f"SELECT stream, position FROM {table}").fetchall()
        key = keys[row % len(keys)]
        where = "WHERE stream = ? AND position = ?"
        query = f"SELECT {column} FROM {table} {where}"
        (value,) = self.connection.execute(query, key).fetchone()
        changed = altered(value, change, byte)
        try:
            self.connection.execute(f"UPDATE {table} SET {column} = ? {where}", (changed, *key))
        except sqlite3.IntegrityError:
            return True
        try:
            return not self.reader.verify().sound
        finally:
            there = dict(zip(("stream", "position"), key, strict=True)) | {column: changed}
            now = (there["stream"], there["position"])
            self.connection.execute(f"UPDATE {table} SET {column} = ? {where}", (value, *now))


def altered(value: object, change: int, byte: int) -> object:
    """Return a value with one of its bytes altered."""
    if value is None:
        return chr(change)
    if isinstance(value, int):
        return value ^ (change << 8 * (byte % 7))
    stored = bytearray(value.encode() if isinstance(value, str) else bytes(value))  # type: ignore[call-overload]
    stored[byte % len(stored)] ^= change
    return stored.decode("latin-1") if isinstance(value, str) else bytes(stored)


@pytest.fixture(scope="module")
def altering(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Altering]:
    path = tmp_path_factory.mktemp("altering") / "bot.db"
    ticks = itertools.count(NOW_NS)
    with open_journal(path, "account", now_ns=ticks.__next__) as journal:
        journal.append(orders(1, 2))
        journal.append(orders(3))
        journal.append(orders(4, 5))
        journal.checkpoint(3, b"what three events come to")
    hand = Altering(path)
    assert hand.reader.verify().sound
    yield hand
    hand.reader.close()
    hand.connection.close()


@given(
    place=st.sampled_from(COLUMNS),
    row=st.integers(0, 4),
    change=st.integers(1, 255),
    byte=st.integers(0, 400),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_verify_sees_every_byte_that_is_altered(
    altering: Altering, place: tuple[str, str], row: int, change: int, byte: int
) -> None:
    assert altering.is_seen(*place, row, change, byte)
