"""The contract, for each thing a journal may be kept in."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.journal.contract import JournalContract
from tests.journal.places import Place, PostgresPlace, SqlitePlace
from trueup.journal import Journal, MemoryJournal
from trueup.journal.writing.store import StoredJournal


class TestMemoryJournal(JournalContract):
    @pytest.fixture
    def journal(self) -> Journal:
        return MemoryJournal()

    def reopened(self, journal: Journal) -> Journal:
        return journal


class StoredContract(JournalContract):
    place: Place

    def reopened(self, journal: Journal) -> Journal:
        journal.close()
        self.again: StoredJournal = self.place.open()
        return self.again

    def opened(self, place: Place) -> Iterator[Journal]:
        self.place = place
        with place.open() as journal:
            yield journal
        if hasattr(self, "again"):
            self.again.close()


class TestSqliteJournal(StoredContract):
    @pytest.fixture
    def journal(self, sqlite_place: SqlitePlace) -> Iterator[Journal]:
        yield from self.opened(sqlite_place)


class TestPostgresJournal(StoredContract):
    @pytest.fixture
    def journal(self, postgres_place: PostgresPlace) -> Iterator[Journal]:
        yield from self.opened(postgres_place)
