"""Turns: what threads share is used by one of them at a time."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from trueup.forks import HOLDERS

Given = ParamSpec("Given")
Result = TypeVar("Result")


class Turn:
    """A lock that its holder may take again, and that no forked process waits for."""

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

    @contextmanager
    def if_free(self) -> Iterator[bool]:
        """Take the turn where no other thread has it; says whether it is ours."""
        is_ours = self._lock.acquire(blocking=False)
        try:
            yield is_ours
        finally:
            if is_ours:
                self._lock.release()

    def let_go_in_child(self) -> None:
        """Wait in a forked process for no thread, which may have had its turn and is not there."""
        self._lock = threading.RLock()


class TakesTurns(Protocol):
    """Something whose methods take turns."""

    @property
    def turn(self) -> Turn:
        """What is held by the thread that uses it."""


Owner = TypeVar("Owner", bound=TakesTurns)


def in_turn(
    method: Callable[Concatenate[Owner, Given], Result],
) -> Callable[Concatenate[Owner, Given], Result]:
    """Have a method wait until no other thread is inside such a method of the same object."""

    @functools.wraps(method)
    def taking_its_turn(self: Owner, /, *args: Given.args, **kwargs: Given.kwargs) -> Result:
        with self.turn:
            return method(self, *args, **kwargs)

    return taking_its_turn
