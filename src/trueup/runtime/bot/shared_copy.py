"""Let any thread read the book: the state before or after a change, never within a change.

A thread that changes the book holds the turn. A thread that only reads takes no lock: it makes a
copy, and makes the copy again if the book changed meanwhile. During a change a reader gets the last
copy.
"""

from __future__ import annotations

from collections.abc import Callable, ItemsView, Iterator, Mapping, ValuesView
from typing import Generic, Protocol, TypeVar

from trueup.turns import Turn

Key = TypeVar("Key")
Value = TypeVar("Value")
# A copy takes microseconds. After this many interrupted copies the reader waits for the turn
# instead.
ATTEMPTS = 20


class Changing(Protocol):
    """An object that one thread at a time changes, such as `KeptBook`."""

    changes: int
    """Counts changes; odd during a change."""
    turn: Turn
    """Held by the thread that changes the object."""


class SharedCopy(Generic[Value]):
    """A copy of a part of the book, made again when the book has changed.

    Args:
        kept: the book.
        make: makes the copy.
    """

    def __init__(self, kept: Changing, make: Callable[[], Value]) -> None:
        self._kept, self._make = kept, make
        self._copy: tuple[int, Value] | None = None

    def read(self) -> Value:
        """Return the copy as of now, or as of before the current change."""
        for _ in range(ATTEMPTS):
            changes, copy = self._kept.changes, self._copy
            if copy is not None and (copy[0] == changes or _is_under_way(changes)):
                return copy[1]
            if _is_under_way(changes):
                continue
            try:
                value = self._make()
            except (RuntimeError, KeyError):
                # A dictionary changed during the iteration.
                continue
            if self._kept.changes == changes:
                self._copy = changes, value
                return value
        with self._kept.turn:
            return self._make()


def _is_under_way(changes: int) -> bool:
    return changes % 2 == 1


class LiveMapping(Mapping[Key, Value]):
    """A read-only dictionary that other threads may add to during an iteration."""

    def __init__(self, entries: dict[Key, Value]) -> None:
        self._entries = entries

    def __getitem__(self, key: Key) -> Value:
        return self._entries[key]

    def __iter__(self) -> Iterator[Key]:
        # No other thread runs while Python makes the list of a dictionary's keys.
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
