"""A journal in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Self

from trueup.core.book.events import Event
from trueup.errors import JournalError
from trueup.journal.journal import GENESIS, Checkpoint, Record, Tip, Verdict
from trueup.journal.rows.chain import Row, chained, proven
from trueup.journal.rows.codec import Encoded, decode, encode


class MemoryJournal:
    """A journal that ends with the process; for tests and experiments.

    This journal accepts and refuses the same appends as a journal on disk. The hash chain is
    computed only when a caller reads records or verifies.
    """

    def __init__(self, stream: str = "memory") -> None:
        self._stream = stream
        self._events: list[Event] = []
        self._batches: list[list[Encoded]] = []
        self._intents: set[str] = set()
        self._checkpoint: Checkpoint | None = None
        self._closed = False

    @property
    def position(self) -> int:
        """The position of the last event; 0 for an empty journal."""
        return len(self._events)

    def append(self, history: Sequence[Event]) -> int:
        """Append all events or none, and return the position after the last.

        Raises:
            JournalError: the journal is closed, or an event cannot be stored; nothing was written.
        """
        self._refuse_closed()
        batch = [encode(event) for event in history]
        self._take_intents([event.intent_id for event in batch if event.intent_id is not None])
        if batch:
            self._batches.append(batch)
            self._events.extend(history)
        return len(self._events)

    def read(self, after: int = 0) -> Iterator[Event]:
        """Yield the events after a position, oldest first."""
        self._refuse_closed()
        yield from self._events[after:]

    def records(self, after: int = 0) -> Iterator[Record]:
        """Yield the events after a position, each with its position, time, kind and hash."""
        self._refuse_closed()
        for row in self._rows():
            if row.position > after:
                event = decode(row.position, row.kind, row.payload)
                yield Record(row.position, row.at_ns, row.kind, event, row.hash)

    def checkpoint(self, position: int, state: bytes) -> None:
        """Save the fold of the events up to `position`.

        Raises:
            JournalError: there is no such position.
        """
        self._refuse_closed()
        if not 0 < position <= self.position:
            raise JournalError(f"There is no position {position} to keep a checkpoint of.")
        if self._checkpoint is None or position >= self._checkpoint.position:
            self._checkpoint = Checkpoint(position, state)

    def latest_checkpoint(self) -> Checkpoint | None:
        """Return the newest checkpoint, or None."""
        self._refuse_closed()
        return self._checkpoint

    def verify(self) -> Verdict:
        """Prove the whole journal."""
        self._refuse_closed()
        return Verdict(proven(self._stream, self._rows()))

    def close(self) -> None:
        """Release the stream; a closed journal stays closed."""
        self._closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _rows(self) -> Iterator[Row]:
        tip = GENESIS
        for batch in self._batches:
            rows = chained(self._stream, tip, batch)
            tip = Tip(rows[-1].position, rows[-1].hash)
            yield from rows

    def _take_intents(self, intents: list[str]) -> None:
        fresh = self._intents.union(intents)
        if len(fresh) < len(self._intents) + len(intents):
            raise JournalError("An intent of this append is in the journal already.")
        self._intents = fresh

    def _refuse_closed(self) -> None:
        if self._closed:
            raise JournalError("The journal is closed.")
