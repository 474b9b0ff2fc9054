"""Independent checkers of a simulated run: they read facts, and share no code with what they judge.

A world tells an `Oracle` plain facts (`oracle.facts`); `verdicts()` says which of the ten promises
was broken, when, and how. An import contract keeps `trueup.core` and everything that decides out of
this package; the one thing that must be the product's own, the fold of the journal, is handed in.
"""

from __future__ import annotations

from trueup.sim.oracle.facts import Fact, Scope
from trueup.sim.oracle.judge import Oracle, Violation

__all__ = ["Fact", "Oracle", "Scope", "Violation"]
