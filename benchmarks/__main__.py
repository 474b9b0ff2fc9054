"""Run the benchmarks: `python -m benchmarks [NAME ...]`; each prints ratios made in this run."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from pathlib import Path


def main(names: list[str]) -> int:
    """Run the named benchmarks, or all of them; return 1 when one missed its target."""
    here = Path(__file__).parent
    known = sorted(m.name for m in pkgutil.iter_modules([str(here)]) if m.name[0] != "_")
    unknown = [name for name in names if name not in known]
    if unknown:
        print(f"{unknown[0]!r} is no benchmark: give some of {', '.join(known)}", file=sys.stderr)
        return 2
    missed = 0
    for name in names or known:
        module = importlib.import_module(f"benchmarks.{name}")
        if not hasattr(module, "run"):
            continue
        print(f"\n{name}: {(module.__doc__ or '').partition(chr(10))[0]}")
        missed += module.run()
    print(f"\n{missed} targets missed" if missed else "\nall targets met")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
