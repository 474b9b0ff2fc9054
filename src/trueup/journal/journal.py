"""The interface of a journal, and the types of its answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import NamedTuple, Protocol, Self

from trueup.core.book.events import Event
from trueup.errors import JournalError


class Tip(NamedTuple):
    """A place in the hash chain: a position, and the hash of the row there (32 bytes)."""

    position: int
    hash: bytes


GENESIS = Tip(0, bytes(32))


class Record(NamedTuple):
    """A stored event; `at_ns` is nanoseconds of UTC since 1970."""

    position: int
    at_ns: int
    kind: str
    event: Event
    hash: bytes


class Checkpoint(NamedTuple):
    """A saved fold: `state` is the book after the event at `position`, as bytes."""

    position: int
    state: bytes


class Fault(NamedTuple):
    """A defect of the journal, at the first position that shows the defect.

    `is_loss` says that events are gone which were acknowledged: what is there may be whole.
    """

    position: int
    because: str
    is_loss: bool = False


class Verdict(NamedTuple):
    """The result of `verify`.

    Everything up to `tip` is proven: complete, in order and unaltered. `faults` lists the defects,
    the first altered row first. Store `tip` outside the journal: if a later verdict has another
    hash at this position, the history was rewritten.
    """

    tip: Tip
    faults: tuple[Fault, ...] = ()

    @property
    def sound(self) -> bool:
        """Whether the journal has no defect."""
        return not self.faults


class JournalAhead(JournalError):
    """An earlier append that gave no answer is in the journal after all.

    This append wrote nothing, because the caller decided without knowing those events. Read the
    events after `position`, then decide again.
    """

    def __init__(self, position: int, message: str | None = None) -> None:
        super().__init__(message)
        self.position = position


class Journal(Protocol):
    """An append-only list of events with one writer."""

    @property
    def position(self) -> int:
        """The position of the last event; 0 for an empty journal."""

    def append(self, history: Sequence[Event]) -> int:
        """Append all events in one transaction, or none, and return the position after the last.

        Once this method returns, the events survive the end of the process and a power cut. An
        empty append checks two things: whether the journal accepts writes, and whether the last
        append happened, if that append gave no answer.

        Raises:
            JournalConflict: another process took this stream over; nothing was written.
            JournalAhead: an append that had failed is in the journal after all; nothing was
                written now.
            JournalError: nothing was written, or the outcome of the write is unknown; the next
                append checks that outcome first.
        """

    def read(self, after: int = 0) -> Iterator[Event]:
        """Yield the events after a position, oldest first, and prove the hash chain on the way.

        Raises:
            JournalCorrupt: a row was altered, is missing, or does not decode.
        """

    def records(self, after: int = 0) -> Iterator[Record]:
        """Yield the events after a position, each with its position, time, kind and hash."""

    def checkpoint(self, position: int, state: bytes) -> None:
        """Save the fold of the events up to `position`, so that a restart need not replay them.

        Raises:
            JournalError: the checkpoint was not saved.
        """

    def latest_checkpoint(self) -> Checkpoint | None:
        """Return the newest checkpoint with a valid digest, or None."""

    def verify(self) -> Verdict:
        """Prove the whole journal: every row, the chain, the tip, the checkpoints."""

    def close(self) -> None:
        """Release the stream; a closed journal stays closed."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...
