"""What any thread may read of a book: its state between two changes, and never within one.

A thread that changes the book holds its turn. One that only reads takes no lock: it makes its copy,
and looks whether the book changed meanwhile. A reader of a book that is changing just now gets the
copy made last.
"""

from __future__ import annotations

from collections.abc import Callable, ItemsView, Iterator, Mapping, ValuesView
from typing import Generic, Protocol, TypeVar

from trueup.turns import Turn

Key = TypeVar("Key")
Value = TypeVar("Value")
# A copy takes microseconds; whoever is interrupted so often waits for a turn instead.
ATTEMPTS = 20


class Changing(Protocol):
    """Something that one thread at a time changes, as `KeptBook`."""

    changes: int
    """Counts its changes; odd while one is under way."""
    turn: Turn
    """Held by the thread that changes it."""


class Shown(Generic[Value]):
    """One copy of something in a book, made anew when the book has changed.

    Args:
        kept: the book.
        make: makes the copy.
    """

    def __init__(self, kept: Changing, make: Callable[[], Value]) -> None:
        self._kept, self._make = kept, make
        self._copy: tuple[int, Value] | None = None

    def read(self) -> Value:
        """Return the copy, as of now, or as of before the change under way."""
        for _ in range(ATTEMPTS):
            changes, copy = self._kept.changes, self._copy
            if copy is not None and (copy[0] == changes or _is_under_way(changes)):
                return copy[1]
            if _is_under_way(changes):
                continue
            try:
                value = self._make()
            except (RuntimeError, KeyError):
                # A dictionary changed while it was walked.
                continue
            if self._kept.changes == changes:
                self._copy = changes, value
                return value
        with self._kept.turn:
            return self._make()


def _is_under_way(changes: int) -> bool:
    return changes % 2 == 1


class LiveMapping(Mapping[Key, Value]):
    """A dictionary to read, which other threads may add to while it is walked."""

    def __init__(self, entries: dict[Key, Value]) -> None:
        self._entries = entries

    def __getitem__(self, key: Key) -> Value:
        return self._entries[key]

    def __iter__(self) -> Iterator[Key]:
        # A list of a dictionary is made in one step, within which no other thread runs.
        return iter(list(self._entries))

    def __len__(self) -> int:
        return len(self._entries)

    def values(self) -> ValuesView[Value]:
        """The values as they are now."""
        return dict(self._entries).values()

    def items(self) -> ItemsView[Key, Value]:
        """The entries as they are now."""
        return dict(self._entries).items()

    def __repr__(self) -> str:
        return repr(dict(self._entries))
