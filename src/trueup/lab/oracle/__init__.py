"""Independent checkers of a simulated run: they read facts, and share no code with tested packages.

A `Judge` receives every fact of a run; `verdicts()` says which of the ten promises was broken,
when, and how. An import contract keeps `trueup.core` and all modules that decide anything out of
this package. The product's own fold of the journal is the exception: the caller passes the fold in.
"""

from __future__ import annotations

from trueup.lab.oracle.judge import Judge

__all__ = ["Judge"]
