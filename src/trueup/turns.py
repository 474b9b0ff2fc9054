"""Serialise the threads that share an object."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from trueup.forks import HOLDERS

Given = ParamSpec("Given")
Result = TypeVar("Result")


class IfFree:
    """Holds a lock within a `with` block if the lock is free; every sync has several of these."""

    __slots__ = ("_is_ours", "_lock")

    def __init__(self, lock: threading.RLock) -> None:
        self._lock, self._is_ours = lock, False

    def __enter__(self) -> bool:
        self._is_ours = self._lock.acquire(blocking=False)
        return self._is_ours

    def __exit__(self, *_: object) -> None:
        if self._is_ours:
            self._lock.release()


class Turn:
    """A reentrant lock that a forked process never waits for."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        HOLDERS.add(self)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._lock.release()

    def if_free(self) -> IfFree:
        """Return a context that acquires the lock without waiting, and tells if that succeeded."""
        return IfFree(self._lock)

    def let_go_in_child(self) -> None:
        """In a forked process: replace the lock, which a missing thread may hold."""
        self._lock = threading.RLock()


class TakesTurns(Protocol):
    """An object whose methods are serialised by a `Turn`."""

    @property
    def turn(self) -> Turn:
        """The lock of this object."""


Owner = TypeVar("Owner", bound=TakesTurns)


def in_turn(
    method: Callable[Concatenate[Owner, Given], Result],
) -> Callable[Concatenate[Owner, Given], Result]:
    """Serialise a method with all other such methods of the same object."""

    @functools.wraps(method)
    def taking_its_turn(self: Owner, /, *args: Given.args, **kwargs: Given.kwargs) -> Result:
        with self.turn:
            return method(self, *args, **kwargs)

    return taking_its_turn
