"""A journal put back from a backup, in each kind of database, under a bot that trades."""

from __future__ import annotations

from typing import Any

import pytest

from tests.journal.places import Place, SqlitePlace, orders
from tests.support.order_world import OrderWorld
from trueup.core.holds import HoldKind

TABLES = ("journal_writers", "journal_events", "journal_checkpoints")


def rows(place: Place) -> dict[str, list[Any]]:
    return {name: place.sql(f"SELECT * FROM {name}") for name in TABLES}


def put_back(place: Place, kept: dict[str, list[Any]]) -> None:
    for name in reversed(TABLES):
        place.sql(f"DELETE FROM {name}")
    for name in TABLES:
        for row in kept[name]:
            place.sql(f"INSERT INTO {name} VALUES ({', '.join('?' * len(row))})", *row)


def test_an_older_file_that_is_put_back_alone_is_noticed(sqlite_place: SqlitePlace) -> None:
    # The database of the copy agrees with itself; the note beside it, which stayed, does not.
    with sqlite_place.open() as journal:
        journal.append(orders(1, 2))
    kept = sqlite_place.path.read_bytes()
    with sqlite_place.open() as journal:
        assert not journal.lost
        journal.append(orders(3, 4))
    sqlite_place.path.write_bytes(kept)
    with sqlite_place.open() as journal:
        assert journal.lost.startswith("The journal ends at position ")
        assert "an older copy of it was put back" in journal.lost


@pytest.mark.parametrize("kind", ["sqlite_place", "postgres_place"])
def test_a_database_that_was_put_back_is_noticed(kind: str, request: pytest.FixtureRequest) -> None:
    place: Place = request.getfixturevalue(kind)
    world = OrderWorld(journal=place.url)  # type: ignore[arg-type]
    world.pm.submit("buy", 0.1, key="monday")
    world.sync()
    world.pm.close_journal()
    kept = rows(place)
    world.start_bot()
    world.sync()
    tuesday = world.pm.submit("buy", 0.2, key="tuesday")
    world.sync()
    world.pm.close_journal()
    put_back(place, kept)
    world.start_bot()
    assert "tuesday" not in world.pm.book.by_key
    for _ in range(3):
        world.sync()
    assert "lacks 1 order" in world.hold(HoldKind.LOSS).reason
    again = world.pm.submit("buy", 0.2, key="tuesday")
    assert (again.order_id, again.ticket) == (tuesday.order_id, tuesday.ticket)
    assert world.agrees()
    world.pm.close_journal()
