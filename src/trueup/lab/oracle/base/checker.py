"""What every checker is: a number, its promise in a sentence, and steps for kinds of facts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, Protocol

from trueup.lab.facts.facts import Fact, Scope
from trueup.lab.oracle.base.truth import Papers, Truth

Step = Callable[[Any], Iterable[str]]
"""Takes a fact and yields a sentence for each way in which the promise is broken by it."""


class Fold(Protocol):
    """A book that is made from journal rows and nothing else."""

    def take(self, kind: str, payload: bytes) -> None:
        """Take one row in."""

    def state(self) -> bytes:
        """Return the whole book as bytes."""


class Checker:
    """One promise.

    `truth` and `papers` are up to date with the fact that is judged.
    """

    number: ClassVar[int]
    promise: ClassVar[str]

    def __init__(
        self, truth: Truth, papers: Papers, fold: Callable[[], Fold] | None = None
    ) -> None:
        self.fold: Callable[[], Fold] | None = fold
        self.truth: Truth = truth
        self.papers: Papers = papers
        self.scope: Scope = truth.scope

    def steps(self) -> Mapping[type[Fact], Step]:
        """Return which facts are judged, and how."""
        raise NotImplementedError
