"""Run the benchmarks: `python -m benchmarks [--keep] [NAME ...]`; each prints ratios of this run.

With `--keep` the figures are written to `benchmarks/results`, each benchmark in as many processes
as it names in `PROCESSES` (by default one): hash seeds and addresses differ between processes.
"""

from __future__ import annotations

import argparse
import importlib
import pkgutil
import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec

from benchmarks import _measure, _results


def main(words: list[str]) -> int:
    """Run the named benchmarks, or all of them; return 1 when one missed its target."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="the benchmarks; default: all")
    parser.add_argument("--keep", action="store_true", help="write benchmarks/results")
    parser.add_argument("--to", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args(words)
    here = Path(__file__).parent
    known = sorted(m.name for m in pkgutil.iter_modules([str(here)]) if m.name[0] != "_")
    unknown = [name for name in given.names if name not in known]
    if unknown:
        print(f"{unknown[0]!r} is no benchmark: give some of {', '.join(known)}", file=sys.stderr)
        return 2
    missed = 0
    for name in given.names or known:
        module = importlib.import_module(f"benchmarks.{name}")
        if not hasattr(module, "run"):
            continue
        if given.keep:
            missed += keep(name, getattr(module, "PROCESSES", 1))
            continue
        print(f"\n{name}: {(module.__doc__ or '').partition(chr(10))[0]}", flush=True)
        missed += module.run()
    if given.to is not None:
        given.to.write_bytes(msgspec.json.encode(_measure.FIGURES))
        return 0
    print(f"\n{missed} targets missed" if missed else "\nall targets met")
    # What is kept is to be looked at, not to be refused.
    return 1 if missed and not given.keep else 0


def keep(name: str, processes: int) -> int:
    """Run a benchmark in so many processes and write its figures; return how many were missed."""
    found: list[list[_measure.Figure]] = []
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "figures.json"
        for _ in range(processes):
            subprocess.run([sys.executable, "-m", "benchmarks", "--to", file, name], check=True)
            found.append(msgspec.json.decode(file.read_bytes(), type=list[_measure.Figure]))
    if not found[0]:
        return 0
    print(f"wrote {_results.write(name, found)}")
    return sum(
        _results.median_of(figures) > figures[0].target
        for figures in zip(*found, strict=True)
        if not figures[0].curve
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
