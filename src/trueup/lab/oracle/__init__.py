"""Independent checkers of a simulated run: they read facts, and share no code with what they judge.

A world shows an `Oracle` its moments, and the oracle hears the broker's books; `verdicts()` says
which of the ten promises was broken, when, and how. An import contract keeps `trueup.core` and
everything that decides out of this package; the one thing that must be the product's own, the fold
of the journal, is handed in.
"""

from __future__ import annotations

from trueup.lab.oracle.oracle import Oracle

__all__ = ["Oracle"]
