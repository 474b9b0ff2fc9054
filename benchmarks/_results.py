"""Keep the figures of a benchmark as JSON of pyperf, which `python -m pyperf` reads.

pyperf's own processes time one thing after the other, so a machine that slows down between the two
would change their ratio. Here the two are timed in turn, in several processes, and each process is
a run of both of pyperf's benchmarks: the figure's own, and the one beside it.
"""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Sequence
from pathlib import Path

import pyperf

from benchmarks._measure import Figure

FOLDER = Path(__file__).parent / "results"
BESIDE = ", beside"
"""Ends the name of a benchmark that a ratio is made with."""
# Samples of one process that are kept: enough for a distribution, few enough for a repository.
KEPT = 60
_BYTES = {"bytes": 1, "bytes kept": 1, "KiB": 1024, "MiB": 1024**2, "MB": 1024**2}
_SECONDS = (("us", 1e-6), ("ms", 1e-3), ("s", 1.0))


def write(name: str, processes: Sequence[Sequence[Figure]], folder: Path = FOLDER) -> Path:
    """Write the figures of all processes of a benchmark; return the file."""
    folder.mkdir(exist_ok=True)
    file = folder / f"{name}.json"
    # Not all that pyperf could collect: the name of the machine is nobody's business.
    conditions: dict[str, str | float] = {
        "cpu_count": os.cpu_count() or 0,
        "load_avg_1min": round(os.getloadavg()[0], 1),
        "python_version": platform.python_version(),
    }
    benchmarks = [
        benchmark
        for figures in zip(*processes, strict=True)
        for benchmark in _benchmarks_of(figures, conditions)
    ]
    pyperf.BenchmarkSuite(benchmarks).dump(str(file), replace=True)
    return file


def median_of(figures: Sequence[Figure]) -> float:
    """Return the value of a figure that several processes measured."""
    return statistics.median(figure.value for figure in figures)


def _benchmarks_of(
    figures: Sequence[Figure], conditions: dict[str, str | float]
) -> list[pyperf.Benchmark]:
    what, unit = figures[0].what, figures[0].unit
    facts: dict[str, str | float] = {
        "figure": median_of(figures),
        "figure_unit": unit,
        **conditions,
    }
    if figures[0].curve:
        facts |= {"curve": figures[0].curve, "curve_at": figures[0].at}
    else:
        facts["figure_target"] = float(figures[0].target)
    # Without samples the figure itself is the sample, in a unit of pyperf.
    own = [figure.samples[0] or [_in_unit_of_pyperf(figure)] for figure in figures]
    found = [_benchmark(what, own, "second" if figures[0].samples[0] else _unit(unit), facts)]
    if figures[0].samples[1]:
        beside = [figure.samples[1] for figure in figures]
        found.append(_benchmark(f"{what}{BESIDE}", beside, "second", conditions))
    return found


def _benchmark(
    name: str, samples: Sequence[list[float]], unit: str, facts: dict[str, str | float]
) -> pyperf.Benchmark:
    metadata = {"name": name, "unit": unit, **facts}
    return pyperf.Benchmark(
        [pyperf.Run(_some(values), metadata=metadata, collect_metadata=False) for values in samples]
    )


def _some(values: list[float]) -> list[float]:
    """Return evenly spread quantiles of many samples; the median of all is their median."""
    if len(values) <= KEPT:
        return values
    return statistics.quantiles(values, n=KEPT + 1, method="inclusive")


def _unit(unit: str) -> str:
    if unit in _BYTES:
        return "byte"
    return "second" if _seconds(unit) else "integer"


def _seconds(unit: str) -> float:
    """Return the seconds of a unit such as `us a position above memory`, 0 for another unit."""
    return next((seconds for word, seconds in _SECONDS if unit.split()[0] == word), 0.0)


def _in_unit_of_pyperf(figure: Figure) -> float:
    # pyperf takes no value of 0.
    scale = _BYTES.get(figure.unit) or _seconds(figure.unit) or 1.0
    return max(figure.value * scale, 1e-9)
