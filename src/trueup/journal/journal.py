"""The journal's seam: what its users may ask, and the words the answers use."""

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
    """One event as the journal has it; `at_ns` is nanoseconds of UTC since 1970."""

    position: int
    at_ns: int
    kind: str
    event: Event
    hash: bytes


class Checkpoint(NamedTuple):
    """A saved fold: `state` is what the events up to `position` come to."""

    position: int
    state: bytes


class Fault(NamedTuple):
    """Something that does not hold, at the first position where it shows."""

    position: int
    because: str


class Verdict(NamedTuple):
    """What `verify` found.

    Everything up to `tip` is proven: whole, in order and unaltered. `faults` says what does not
    hold beyond it, the first altered row first. Keep `tip` elsewhere, and a later verdict that no
    longer has this hash at this position shows that history was written again.
    """

    tip: Tip
    faults: tuple[Fault, ...] = ()

    @property
    def sound(self) -> bool:
        """Whether nothing was found."""
        return not self.faults


class JournalAhead(JournalError):
    """An earlier append, whose outcome was unknown then, is in the journal.

    Nothing was written now: what was to be written was decided without those events. Read them
    after `position`, then decide again.
    """

    def __init__(self, position: int, message: str | None = None) -> None:
        super().__init__(message)
        self.position = position


class Journal(Protocol):
    """An append-only list of events with one writer."""

    @property
    def position(self) -> int:
        """The position of the last event; 0 when there is none."""

    def append(self, history: Sequence[Event]) -> int:
        """Append all events in one transaction, or none, and return the position after the last.

        After it returned, the events survive the end of this process and of the machine's power.
        To append nothing is a question: whether it takes anything, and whether the last append
        happened, if it gave no answer.

        Raises:
            JournalConflict: another process took this stream over; nothing was written.
            JournalAhead: an append that had failed is in the journal after all; nothing was
                written now.
            JournalError: nothing was written, or it is not known whether it was; the next append
                finds out first.
        """

    def read(self, after: int = 0) -> Iterator[Event]:
        """Yield the events after a position, oldest first, proving the chain on the way.

        Raises:
            JournalCorrupt: a row was altered, is missing, or does not decode.
        """

    def records(self, after: int = 0) -> Iterator[Record]:
        """Yield the events after a position with what the journal knows of each."""

    def checkpoint(self, position: int, state: bytes) -> None:
        """Keep what the events up to `position` come to, so that a restart need not replay them.

        Raises:
            JournalError: it was not kept.
        """

    def latest_checkpoint(self) -> Checkpoint | None:
        """Return the newest checkpoint that proves itself, or None."""

    def verify(self) -> Verdict:
        """Prove the whole journal: every row, the chain, the tip, the checkpoints."""

    def close(self) -> None:
        """Let go of the stream; a closed journal stays closed."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...
