"""Promises 2, 4 and 9 after the end: a forgotten key, a journal put back, and a former writer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar

from trueup.lab.facts import facts
from trueup.lab.oracle.base.checker import Checker, Step
from trueup.lab.oracle.promises.closing import NoFalseGhost
from trueup.lab.oracle.promises.explained import Explained
from trueup.lab.oracle.promises.orders import AtMostOnce, NoLostIntent
from trueup.lab.oracle.promises.ownership import OneWriter

REFUSED = "REJECTED"


class KeyOnce(Checker):
    """Allows one order that was not refused for each key, also if its bot has forgotten it."""

    number = 2
    promise: ClassVar[str] = AtMostOnce.promise

    def steps(self) -> Mapping[type[facts.Fact], Step]:
        """Judge the answers to the orders under a key, and what a record vouches for."""
        return {facts.KeyReused: self._reused, facts.MarkAsked: self._asked}

    def _reused(self, fact: facts.KeyReused) -> Iterator[str]:
        taken = [answer for answer in fact.answers if answer != REFUSED]
        if len(taken) > 1:
            yield f"key {fact.key} was answered {', '.join(fact.answers)}: it traded twice"

    def _asked(self, fact: facts.MarkAsked) -> Iterator[str]:
        if fact.vouched and not fact.is_same:
            yield "a record vouched for all since an order that it never had"


class TrueOutcome(Checker):
    """Forbids to take an answer for an outcome that the answer does not tell."""

    number = 7
    promise: ClassVar[str] = Explained.promise

    def steps(self) -> Mapping[type[facts.Fact], Step]:
        """Judge a fill without its figures, and an order answered with a word that is no fill."""
        return {
            facts.FillTold: self._told,
            facts.OddlyAnswered: self._answered,
            facts.ReadByTime: self._read,
        }

    def _read(self, fact: facts.ReadByTime) -> Iterator[str]:
        if fact.read != fact.rows:
            yield f"a journal of {fact.rows} events was read by time, and {fact.read} came"

    def _told(self, fact: facts.FillTold) -> Iterator[str]:
        if fact.status == "FILLED" and not (fact.price > 0 and fact.lots > 0):
            yield f"a fill was told as {fact.lots} lots at {fact.price}"

    def _answered(self, fact: facts.OddlyAnswered) -> Iterator[str]:
        if fact.status != "IN_DOUBT":
            yield f"{fact.bot}'s market order was answered {fact.said}, and counts as {fact.status}"


class ListedOnce(Checker):
    """Forbids to take a list for whole in which one ticket names two positions."""

    number = 3
    promise: ClassVar[str] = NoFalseGhost.promise

    def steps(self) -> Mapping[type[facts.Fact], Step]:
        """Judge how a list was read."""
        return {facts.ListedTwice: self._listed}

    def _listed(self, fact: facts.ListedTwice) -> Iterator[str]:
        if fact.twins and fact.is_whole:
            yield "a list was taken for whole in which one ticket names two positions"


class SameJournal(Checker):
    """Forbids to go on with a journal in which an acknowledged event is another one."""

    number = 4
    promise: ClassVar[str] = NoLostIntent.promise

    def steps(self) -> Mapping[type[facts.Fact], Step]:
        """Judge the opening of a journal that was put in place."""
        return {facts.OtherEnd: self._opened}

    def _opened(self, fact: facts.OtherEnd) -> Iterator[str]:
        if fact.opened:
            yield f"a journal was opened whose event at position {fact.position} is another one"


class FormerBarred(Checker):
    """Forbids to serve a writer once a newer writer of its journal was served."""

    number = 9
    promise: ClassVar[str] = OneWriter.promise

    def steps(self) -> Mapping[type[facts.Fact], Step]:
        """Judge the tokens that were served, in order."""
        return {facts.TokensTold: self._told}

    def _told(self, fact: facts.TokensTold) -> Iterator[str]:
        newest = 0
        for token, is_served in fact.told:
            if is_served and token < newest:
                yield f"a writer with token {token} was served after the one with token {newest}"
            newest = max(newest, token) if is_served else newest
