"""Runs of the simulated world in which one kind of thing happens again and again."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

import msgspec

from trueup.lab.facts import facts
from trueup.lab.oracle import Judge
from trueup.lab.plan.plan import Fault, Strike, calm
from trueup.lab.report.folding import BookFold
from trueup.lab.world.world import World

EVERY_MS = 3_500


class Lived:
    """A run without any fault but those of some kinds, lived to its end.

    `said` is what each strike that met something said, `broken` what the oracle says, which
    compares money to the cent.
    """

    def __init__(
        self,
        *faults: Fault,
        seed: int = 0,
        strikes: int = 10,
        watchers: Iterable[facts.Watcher] = (),
        **setting: Any,
    ) -> None:
        plan = calm(seed)
        kinds = [faults[n % len(faults)] for n in range(strikes)]
        self.plan = msgspec.structs.replace(
            plan,
            safety_ms=EVERY_MS * (strikes + 2),
            setting=msgspec.structs.replace(plan.setting, **setting),
            strikes=tuple(Strike(n, EVERY_MS * n, kind) for n, kind in enumerate(kinds, start=1)),
        )
        self.world = World(self.plan)
        self.said: list[tuple[str, str]] = []
        self.syncs: list[facts.Synced] = []
        self.books: list[facts.BookSeen] = []
        judge = Judge(self.world.scope, BookFold)
        self.world.watchers += [judge, self, *watchers]
        log = logging.getLogger("trueup")
        level = log.level
        log.setLevel(logging.CRITICAL + 1)
        try:
            self.world.run()
        finally:
            log.setLevel(level)
        self.broken = judge.verdicts()

    def observe(self, fact: facts.Fact) -> None:
        """Take in a fact."""
        match fact:
            case facts.Faulted(kind=kind, what=what):
                self.said.append((kind, what))
            case facts.Synced():
                self.syncs.append(fact)
            case facts.BookSeen():
                self.books.append(fact)

    @property
    def met(self) -> set[str]:
        """The kinds that met something."""
        return {fault for fault, _ in self.said}
