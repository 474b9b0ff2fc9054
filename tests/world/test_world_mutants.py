"""The proof that the proof works: bugs that are seeded on purpose are found, and soon."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.world.mutants import MUTANTS, PAGE, Patch, bug_of, first_seed
from trueup.lab.plan.plan import draw
from trueup.lab.runs.run import run

# The slowest of them took 120 s beside ten other programs.
pytestmark = pytest.mark.timeout(600)


def on_the_page(mutant: Callable[[], Patch]) -> int:
    """Return the seed that the page names for a bug."""
    bug = bug_of(mutant)
    (line,) = [
        line
        for line in PAGE.read_text(encoding="utf-8").splitlines()
        if line.startswith(f"| {bug} |")
    ]
    return int(line.split("|")[2])


@pytest.mark.parametrize("mutant", MUTANTS)
def test_every_bug_shows_at_the_seed_of_the_page_or_soon(mutant: Callable[[], Patch]) -> None:
    # The page's seed first: where a change of the draws moved it, it takes longer to find another.
    with mutant():
        is_found = bool(run(draw(on_the_page(mutant))).violations)
    assert is_found or first_seed(mutant) is not None


def test_the_seeds_of_the_page_break_no_promise_by_themselves() -> None:
    for seed in {on_the_page(mutant) for mutant in MUTANTS}:
        assert run(draw(seed)).is_good
