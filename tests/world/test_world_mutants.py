"""The proof that the proof works: bugs that are seeded on purpose are found, and soon."""

from __future__ import annotations

import pytest

from tests.world.mutants import MUTANTS, first_seed

QUICK = ("timeout_as_rejected", "older_snapshot", "duplicate_fill_counted", "outcome_before_send")


@pytest.mark.parametrize("mutant", [one for one in MUTANTS if one.__name__ in QUICK])
def test_a_gross_bug_shows_within_ten_seeds(mutant: object) -> None:
    assert first_seed(mutant, 10) is not None  # type: ignore[arg-type]


@pytest.mark.soak
@pytest.mark.parametrize("mutant", MUTANTS)
def test_every_bug_shows_within_five_hundred_seeds(mutant: object) -> None:
    assert first_seed(mutant) is not None  # type: ignore[arg-type]
