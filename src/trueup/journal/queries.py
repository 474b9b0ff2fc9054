"""What is asked of the schema, as SQLAlchemy Core, and its compiled text.

Importing SQLAlchemy takes a bot's start as long as everything else together, and compiling again
what never changes takes an append longer than the database does. So the text is made here, once,
by `write`, and kept in `statements.py`, which is all that a running journal imports. A test makes
it again and compares.
"""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy import bindparam as given
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite

from trueup.journal.schema import CHECKPOINTS, EVENTS, REVISION, TORN, WRITERS

_ROW = [
    column
    for column in EVENTS.c
    if column.name in ("position", "batch", "at_ns", "kind", "payload", "intent_id", "hash")
]
_MINE = EVENTS.c.stream == given("stream")
_RANGE = (_MINE, EVENTS.c.position > given("after"), EVENTS.c.position <= given("until"))


def _last(*conditions: sa.ColumnElement[bool]) -> sa.ScalarSelect[int]:
    return sa.select(sa.func.max(EVENTS.c.position)).where(_MINE, *conditions).scalar_subquery()


# The parameters of each go by their order in its text.
QUERIES: dict[str, tuple[str, sa.Select[object] | sa.UpdateBase]] = {
    "revision": (
        "The schema's revision.",
        sa.select(REVISION.c.version_num),
    ),
    "streams": (
        "The names of all streams.",
        sa.select(WRITERS.c.stream).order_by(WRITERS.c.stream),
    ),
    "writer": (
        "Who writes a stream. Parameters: stream.",
        sa.select(*list(WRITERS.c)[1:]).where(WRITERS.c.stream == given("stream")),
    ),
    "first_claim": (
        "A stream's first writer. Parameters: the columns in their order.",
        sa.insert(WRITERS),
    ),
    "claim": (
        "A stream's next writer. Parameters: token, holder, since_ns, position, hash, stream.",
        sa.update(WRITERS)
        .where(WRITERS.c.stream == given("of_stream"))
        .values(
            {c: given(f"next_{c}") for c in ("token", "holder", "since_ns", "position", "hash")}
        ),
    ),
    "advance": (
        "A writer's next tip, if the token and the tip are still its own. Parameters: the next"
        " position and hash, then stream, token, position and hash as they are.",
        sa.update(WRITERS)
        .where(
            WRITERS.c.stream == given("of_stream"),
            WRITERS.c.token == given("own_token"),
            WRITERS.c.position == given("own_position"),
            WRITERS.c.hash == given("own_hash"),
        )
        .values(position=given("next_position"), hash=given("next_hash")),
    ),
    "append": (
        "One event. Parameters: the columns in their order.",
        sa.insert(EVENTS),
    ),
    "page": (
        "Rows in a range of positions. Parameters: stream, after, until.",
        sa.select(*_ROW).where(*_RANGE).order_by(EVENTS.c.position),
    ),
    "page_between": (
        "Those of them in a range of time. Parameters: stream, after, until, since_ns, until_ns.",
        sa.select(*_ROW)
        .where(*_RANGE, EVENTS.c.at_ns >= given("since_ns"), EVENTS.c.at_ns < given("until_ns"))
        .order_by(EVENTS.c.position),
    ),
    "last": (
        "The row with the highest position. Parameters: stream, stream.",
        sa.select(*_ROW).where(_MINE, EVENTS.c.position == _last()),
    ),
    "before_batch": (
        "The last row that is not of a batch. Parameters: stream, stream, batch.",
        sa.select(*_ROW).where(_MINE, EVENTS.c.position == _last(EVENTS.c.batch != given("batch"))),
    ),
    "batches_after": (
        "Which transactions the rows after a position say they are of. Parameters: stream, after.",
        sa.select(
            sa.func.min(EVENTS.c.batch), sa.func.max(EVENTS.c.batch), sa.func.max(EVENTS.c.position)
        ).where(_MINE, EVENTS.c.position > given("after")),
    ),
    "set_aside": (
        "Copy the rows after a position to where torn rows go. Parameters: found_ns, stream,"
        " after.",
        sa.insert(TORN).from_select(
            list(TORN.c.keys()),
            sa.select(EVENTS.c.stream, given("found_ns", type_=sa.BigInteger), *_ROW).where(
                _MINE, EVENTS.c.position > given("after")
            ),
        ),
    ),
    "cut": (
        "Take the rows after a position out. Parameters: stream, after.",
        sa.delete(EVENTS).where(_MINE, EVENTS.c.position > given("after")),
    ),
    "checkpoints": (
        "The positions that have a checkpoint, newest first. Parameters: stream.",
        sa.select(CHECKPOINTS.c.position)
        .where(CHECKPOINTS.c.stream == given("stream"))
        .order_by(CHECKPOINTS.c.position.desc()),
    ),
    "checkpoint": (
        "One checkpoint. Parameters: stream, position.",
        sa.select(CHECKPOINTS.c.digest, CHECKPOINTS.c.state).where(
            CHECKPOINTS.c.stream == given("stream"), CHECKPOINTS.c.position == given("position")
        ),
    ),
    "keep_checkpoint": (
        "A new checkpoint. Parameters: the columns in their order.",
        sa.insert(CHECKPOINTS),
    ),
    "drop_checkpoint": (
        "Drop one. Parameters: stream, position.",
        sa.delete(CHECKPOINTS).where(
            CHECKPOINTS.c.stream == given("stream"), CHECKPOINTS.c.position == given("position")
        ),
    ),
}
DIALECTS = {
    "SQLITE": SQLiteDialect_pysqlite(),
    "POSTGRESQL": PGDialect_psycopg(paramstyle="format"),  # type: ignore[no-untyped-call]
}


def render() -> str:
    """Return the text of `statements.py`."""
    fields = "".join(f"    {name}: str\n" for name in QUERIES)
    head = _HEAD.format(docs="".join(_described()), fields=fields)
    return head + "".join(map(_constant, DIALECTS))


def write() -> None:
    """Write `statements.py` again."""
    Path(__file__).with_name("statements.py").write_text(render(), encoding="utf-8")


_HEAD = '''"""The compiled text of `queries.py`: run `queries.write()` after a change there.

Nothing of SQLAlchemy is imported here; see there why.
"""

from __future__ import annotations

from typing import NamedTuple


class Statements(NamedTuple):
    """Every statement of a running journal, in one dialect.

{docs}    """

{fields}'''


def _described() -> list[str]:
    return [
        textwrap.fill(f"`{name}`: {text}", 96, initial_indent="    ", subsequent_indent="        ")
        + "\n"
        for name, (text, _) in QUERIES.items()
    ]


def _constant(name: str) -> str:
    entries = "".join(
        f"    {key}={_literal(query.compile(dialect=DIALECTS[name]), len(key))},\n"
        for key, (_, query) in QUERIES.items()
    )
    return f"\n\n{name} = Statements(\n{entries})\n"


def _literal(compiled: object, indent: int) -> str:
    """Return a statement as a literal that the formatter leaves as it is."""
    # Every statement names the columns of one table only.
    text = re.sub(r"\bjournal_\w+\.", "", " ".join(str(compiled).split()))
    if len(text) + indent + 8 <= 100:
        return f'"{text}"'
    parts = [text] if len(text) <= 90 else textwrap.wrap(text, 89, break_on_hyphens=False)
    spaced = [f"{part} " for part in parts[:-1]] + parts[-1:]
    return "(\n" + "".join(f'        "{part}"\n' for part in spaced) + "    )"
