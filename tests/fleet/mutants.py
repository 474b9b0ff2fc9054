"""Bugs seeded on purpose in a fleet, and the first seed of the simulated fleet that shows each.

`make mutants` writes the table into docs/internals/simulator.md. Each mutant changes one thing for
as long as a context lasts, from outside.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

from tests.world.mutants import bug_of, write_table
from trueup.doors.account import Account
from trueup.doors.accounts.right import Right
from trueup.doors.fleet.node import SECOND_NS, Node, ShardRight
from trueup.gateway.record.fences import Fences
from trueup.gateway.record.store import FenceRow
from trueup.gateway.terminal.terminal import AccountInfo
from trueup.journal.database.database import Database
from trueup.journal.journal import Tip
from trueup.journal.writing.store import StoredJournal
from trueup.lab.fleet.plan import draw
from trueup.lab.fleet.run import run
from trueup.lab.fleet.server import Server, ShardRow

SEEDS = 600
PAGE = Path(__file__).resolve().parents[2] / "docs" / "internals" / "simulator.md"
BEGIN, END = "<!-- fleet mutants: begin -->", "<!-- fleet mutants: end -->"

Patch = contextlib.AbstractContextManager[Any]


def claim_without_epoch() -> Patch:
    """A claim is not checked again once its rows are locked."""

    def mutated(self: Server, shard: ShardRow, epoch: int) -> bool:
        return True

    return mock.patch.object(Server, "is_as_seen", mutated)


def claim_of_the_living() -> Patch:
    """A shard counts as free whether or not its node is alive."""

    def mutated(self: Server, shard: ShardRow, *, of_dead: bool) -> bool:
        return True

    return mock.patch.object(Server, "_is_free", mutated)


def permit_not_asked() -> Patch:
    """A node becomes the writer of a journal without a look at its claim."""

    def mutated(self: ShardRight, database: Database) -> None:
        return

    return mock.patch.object(ShardRight, "permit", mutated)


def right_not_asked() -> Patch:
    """A node sends an order whether or not it still has its right."""

    def mutated(self: Node, number: int, epoch: int) -> str:
        return ""

    return mock.patch.object(Node, "why_not_now", mutated)


def _why_not_now_by(clock: str) -> Patch:
    def mutated(self: Node, number: int, epoch: int) -> str:
        shard = self.owned.get(number)
        if shard is None or shard.epoch != epoch:
            return "another claim"
        since_ns = getattr(self._clock, clock)() - self.__dict__.get("turned_ns", 0)
        return "" if since_ns <= self.membership.lease_sec * SECOND_NS else "the lease has ended"

    turn = Node.turn

    def turned(self: Node, *args: Any, **kwargs: Any) -> None:
        before_ns = getattr(self._clock, clock)()
        turn(self, *args, **kwargs)
        self.__dict__["turned_ns"] = before_ns

    return mock.patch.multiple(Node, why_not_now=mutated, turn=turned)


def lease_by_the_clock_for_waiting() -> Patch:
    """A node compares its lease with the clock that stands while its machine sleeps."""
    return _why_not_now_by("waiting_ns")


def lease_by_the_wall_clock() -> Patch:
    """A node compares its lease with the clock that people set."""
    return _why_not_now_by("now_ns")


def former_not_waited_for() -> Patch:
    """Behind a gateway without fencing tokens nothing is waited for."""

    def mutated(account: Account, right: Right) -> None:
        return

    return mock.patch("trueup.lab.fleet.account_run.wait_for_former", mutated)


def former_waited_for_a_lease_alone() -> Patch:
    """Behind a gateway without fencing tokens the timeout of an order is left out of the wait."""
    wait_sec = Node.wait_sec

    def mutated(self: Node, number: int, deadline_sec: float) -> float:
        return wait_sec(self, number, 0.0) - self.membership.lease_sec

    return mock.patch.object(Node, "wait_sec", mutated)


def fence_in_memory() -> Patch:
    """A gateway keeps the newest token in memory alone."""

    def mutated(self: Fences, journal: str, account: AccountInfo, fence: FenceRow) -> None:
        self._note((account.login, account.server, journal), fence)

    return mock.patch.object(Fences, "_keep", mutated)


def fence_not_checked() -> Patch:
    """A gateway records the newest token, and refuses no older one."""
    why_not = Fences.why_not

    def mutated(self: Fences, journal: str, token: int, account: AccountInfo) -> str:
        why_not(self, journal, token, account)
        return ""

    return mock.patch.object(Fences, "why_not", mutated)


def append_without_fence() -> Patch:
    """A journal moves its writer's tip whoever the writer is."""

    def mutated(self: StoredJournal, tip: Tip) -> None:
        statement = "UPDATE journal_writers SET position = ?, hash = ? WHERE stream = ?"
        self._database.change(statement, *tip, self.stream)

    def is_alone(self: StoredJournal) -> bool:
        return True

    return mock.patch.multiple(StoredJournal, _advance=mutated, _is_alone=property(is_alone))


MUTANTS: tuple[Callable[[], Patch], ...] = (
    claim_without_epoch,
    claim_of_the_living,
    permit_not_asked,
    right_not_asked,
    lease_by_the_clock_for_waiting,
    lease_by_the_wall_clock,
    former_not_waited_for,
    former_waited_for_a_lease_alone,
    fence_in_memory,
    fence_not_checked,
    append_without_fence,
)


def first_seed(mutant: Callable[[], Patch], seeds: int = SEEDS) -> tuple[int, int, str] | None:
    """Return the first seed that shows a mutant, the promise that broke, and how; or None."""
    with mutant():
        for seed in range(seeds):
            violations = run(draw(seed)).violations
            if violations:
                return seed, violations[0].invariant, violations[0].sentence
    return None


def main() -> int:
    """Try all mutants, write the table, and return 1 when one was not caught."""
    found = {}
    for mutant in MUTANTS:
        found[bug_of(mutant)] = caught = first_seed(mutant)
        sys.stdout.write(f"{mutant.__name__}: {caught}\n")
        sys.stdout.flush()
    write_table(PAGE, BEGIN, END, found)
    return 0 if all(found.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
