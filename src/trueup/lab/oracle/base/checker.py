"""The base class of checkers: a number, the promise in a sentence, and steps for kinds of facts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, Protocol

from trueup.lab.facts.facts import Fact, Scope
from trueup.lab.oracle.base.truth import Papers, Truth

Step = Callable[[Any], Iterable[str]]
"""Takes a fact and yields a sentence for each way in which the fact breaks the promise."""


class Fold(Protocol):
    """A book that is made from journal rows and nothing else."""

    def take(self, kind: str, payload: bytes) -> None:
        """Apply a row."""

    def state(self) -> bytes:
        """Return the whole book as bytes."""


class Checker:
    """The checker of a promise.

    `truth` and `papers` already include the fact to judge.
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
        """Return the kinds of facts to judge, each with its step."""
        raise NotImplementedError
