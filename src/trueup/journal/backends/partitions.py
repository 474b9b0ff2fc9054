"""Divide the events of a journal in PostgreSQL into partitions, by a hash of the stream.

A stream lies in one partition, so each query and each append meets one partition, and both rules of
the table hold as they are: a position once, and an order's intent once. Vacuum, indexes and a
server's maintenance work on a part of the events at a time.

A new journal is divided when its tables are made. A journal of an earlier release stays as it is
until `trueup journal partition` divides it; both are read and written by the same statements.
"""

from __future__ import annotations

from typing import Final

from trueup.errors import JournalConflict, JournalError
from trueup.journal.database.database import Database

PARTITIONS: Final = 16
PARTS: Final = tuple(f"journal_events_{number:02d}" for number in range(PARTITIONS))
# Earlier servers need more locks for a partitioned table, and some of its constraints are missing.
OLDEST_WITH_PARTITIONS: Final = 120_000

_KIND: Final = (
    "SELECT relkind::text FROM pg_class WHERE oid = 'journal_events'::regclass AND relkind = 'p'"
)
_GRANTS: Final = (
    "SELECT privilege_type,"
    " CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END"
    " FROM pg_class, aclexplode(relacl)"
    " WHERE pg_class.oid = 'journal_events'::regclass AND grantee <> relowner"
)
# Only of another owner; who may not give a table away shares it.
_OWNER: Final = (
    "SELECT quote_ident(pg_get_userbyid(relowner)), pg_has_role(relowner, 'USAGE') FROM pg_class"
    " WHERE oid = 'journal_events'::regclass AND pg_get_userbyid(relowner) <> current_user"
)
_IS_OURS: Final = (
    "SELECT 1 FROM pg_class WHERE oid = %s::regclass AND pg_has_role(relowner, 'USAGE')"
)
# What somebody else gave the table, and a new table does not have.
_ADDED: Final = (
    "SELECT 'the trigger ' || quote_ident(tgname) FROM pg_trigger"
    " WHERE tgrelid = 'journal_events'::regclass AND NOT tgisinternal"
    " UNION ALL SELECT 'the publication ' || quote_ident(pubname) FROM pg_publication"
    " JOIN pg_publication_rel ON prpubid = pg_publication.oid"
    " WHERE prrelid = 'journal_events'::regclass"
    " UNION ALL SELECT 'row security' FROM pg_class"
    " WHERE oid = 'journal_events'::regclass AND relrowsecurity"
)
_ASIDE: Final = (
    "LOCK TABLE journal_events IN ACCESS EXCLUSIVE MODE",
    "ALTER TABLE journal_events RENAME TO journal_events_before",
    "ALTER INDEX pk_journal_events RENAME TO pk_journal_events_before",
    "ALTER INDEX ix_journal_events_stream_intent_id RENAME TO ix_journal_events_before",
    "CREATE TABLE journal_events (LIKE journal_events_before INCLUDING CONSTRAINTS)"
    " PARTITION BY HASH (stream)",
)
_COPY: Final = "INSERT INTO journal_events SELECT * FROM journal_events_before"
# After the copy: an index that is built at once costs less than one that grows row by row.
_INDEXES: Final = (
    "ALTER TABLE journal_events ADD CONSTRAINT pk_journal_events PRIMARY KEY (stream, position)",
    "CREATE UNIQUE INDEX ix_journal_events_stream_intent_id"
    " ON journal_events (stream, intent_id) WHERE intent_id IS NOT NULL",
)
_COUNT: Final = "SELECT count(*) FROM journal_events_before"
# Each append changes the row of its writer: room in the page keeps the change out of the index.
_WRITERS: Final = "ALTER TABLE journal_writers SET (fillfactor = 50)"


def is_divided(database: Database) -> bool:
    """Return whether the events of a journal are divided into partitions."""
    return bool(database.fetch(_KIND))


def divide(database: Database) -> None:
    """Divide the events into partitions, within a write transaction; every row is kept.

    Raises:
        JournalError: nothing was changed once the transaction is undone.
    """
    # An administrator may divide the journal of a bot's own user.
    grants = _given_to_owner(database, "journal_events", *PARTS)
    grants += [f"GRANT {right} ON journal_events TO {who}" for right, who in _grants(database)]
    for statement in _ASIDE:
        database.run(statement)
    for number, part in enumerate(PARTS):
        database.run(
            f"CREATE TABLE {part} PARTITION OF journal_events"
            f" FOR VALUES WITH (MODULUS {PARTITIONS}, REMAINDER {number})"
        )
    copied = database.change(_COPY)
    if database.fetch(_COUNT) != [(copied,)]:
        raise JournalError(f"{database.name}: the copy is not whole; nothing was changed.")
    for statement in (*_INDEXES, *grants, _WRITERS):
        database.run(statement)
    database.run("DROP TABLE journal_events_before")


def share_like_events(database: Database, table: str) -> None:
    """Give a new table to the owner of the events, and let everybody read it who may read these."""
    # It may be left from before, and another user's.
    if not database.fetch(_IS_OURS, table):
        return
    readers = [who for right, who in _grants(database) if right == "SELECT"]
    shared = [f"GRANT SELECT ON {table} TO {who}" for who in readers]
    for statement in (*shared, *_given_to_owner(database, table)):
        database.run(statement)


def _given_to_owner(database: Database, *tables: str) -> list[str]:
    """Return the statements that give tables of this user to the owner of the events."""
    return [
        f"ALTER TABLE {table} OWNER TO {owner}" if may_give else f"GRANT ALL ON {table} TO {owner}"
        for owner, may_give in database.fetch(_OWNER)
        for table in tables
    ]


def _grants(database: Database) -> list[tuple[str, str]]:
    return [(str(right), str(who)) for right, who in database.fetch(_GRANTS)]


def convert(database: Database) -> bool:
    """Divide a journal of an earlier release in one transaction; return False if it is divided.

    Raises:
        JournalConflict: a bot writes the journal, or another process converts it.
        JournalError: the journal cannot be converted; nothing was changed.
    """
    with database.maintaining():
        if is_divided(database):
            return False
        _refuse_writers(database)
        _refuse_additions(database)
        with database.writing():
            # A bot that starts meanwhile waits for the table, and finds all rows after that.
            divide(database)
        for table in ("journal_events", "journal_writers"):
            database.run(f"ANALYZE {table}")
    return True


def _refuse_writers(database: Database) -> None:
    names = (str(row[0]) for row in database.fetch(database.statements.streams))
    held = [name for name in names if database.is_held(name)]
    if held:
        raise JournalConflict(
            f"Stream {held[0]!r} of {database.name} is being written: stop its bot first. Nothing "
            "was changed."
        )


def _refuse_additions(database: Database) -> None:
    added = [str(row[0]) for row in database.fetch(_ADDED)]
    if added:
        raise JournalError(
            f"The events of {database.name} have {', '.join(added)}, which the new table would not "
            "have. Nothing was changed.",
            remedy="take that away from journal_events, and give it to journal_events afterwards",
        )
