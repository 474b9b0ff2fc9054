"""docs/internals/speed.md and its pictures, from the figures in benchmarks/results."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

from scripts.curve_picture import Panel, Point, curve_picture

CURVES = "docs/concepts/scaling"
PANELS = {
    "accounts": (
        Panel("CPU, % of a core", ("CPU",), 100, "one core"),
        Panel("syncs made, % of those due", ("syncs made",), 100, ""),
        Panel("lateness of a sync, ms", ("late p50", "late p99"), 250, "goal: 250", is_log=True),
        Panel("memory of an account, KiB", ("memory of an account",), 40, "goal: 40"),
    )
}
"""The panels of each benchmark with curves."""
RESULTS = Path(__file__).resolve().parent.parent / "benchmarks" / "results"
_HEAD = """\
# Speed, as measured

<!-- Written by `make docs` from benchmarks/results. `make bench` measures anew. -->

Each figure is made in one run: a ratio comes from two things that were timed in turn, so that a
machine that slows down slows both. In a picture a bar is a figure as a share of its target, and the
line is the target: a bar that ends before the line meets it. The JSON behind a picture is in
`benchmarks/results`, and `python -m pyperf stats` shows the samples.
[Scaling](../concepts/scaling.md) says what the figures mean, and [testing](testing.md#speed) has
the gate that keeps them.
"""
_BAR, _LEFT, _WIDTH, _ROW = 360, 430, 900, 26
# The bar of a figure far over its target ends here, as a multiple of the target.
_LONGEST = 2.0
_MET, _MISSED, _TEXT, _LINE = "#2f7d4f", "#b4532a", "#333", "#888"


class Kept(NamedTuple):
    """A figure in the results: its name, its value, the largest value allowed, and the unit."""

    what: str
    value: float
    target: float
    unit: str

    @property
    def is_met(self) -> bool:
        """Whether the target is met."""
        return self.value <= self.target


def read(name: str, folder: Path = RESULTS) -> list[Kept]:
    """Return the figures of a benchmark, in the order of its run."""
    return [
        Kept(facts["name"], facts["figure"], facts["figure_target"], facts["figure_unit"])
        for facts in _facts(name, folder)
        # A benchmark beside another one is no figure itself, and a point is one of a curve.
        if not facts["name"].endswith(", beside") and "curve" not in facts
    ]


def curves(name: str, folder: Path = RESULTS) -> dict[str, list[Point]]:
    """Return the points of each curve of a benchmark; empty for a benchmark without curves."""
    found: dict[str, list[Point]] = {}
    for facts in _facts(name, folder):
        if "curve" in facts:
            point = Point(facts["curve_at"], facts["figure"])
            found.setdefault(f"{facts['curve']}", []).append(point)
    return found


def _curve_table(name: str) -> str:
    """Return a table of the curves: a row for each place on the axis."""
    units = {facts["curve"]: facts["figure_unit"] for facts in _facts(name) if "curve" in facts}
    found = curves(name)
    if not found:
        return ""
    heads = [f"{curve}, {unit}" for curve, unit in units.items()]
    rows = [
        [f"{points[0].at:,}", *(_number(point.value) for point in points)]
        for points in zip(*found.values(), strict=True)
    ]
    lines = [[name, *heads], ["---:"] * (len(heads) + 1), *rows]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"\n![{name}: curves](../concepts/scaling/{name}.svg)\n\n{table}\n"


def _facts(name: str, folder: Path = RESULTS) -> list[dict[str, Any]]:
    suite = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    # pyperf writes once what all benchmarks of a file share.
    shared = suite.get("metadata", {})
    return [{**shared, **benchmark.get("metadata", {})} for benchmark in suite["benchmarks"]]


def _conditions(name: str) -> str:
    facts = _facts(name)[0]
    return (
        f"Measured with Python {facts['python_version']} on {facts['cpu_count']} cores, at a load "
        f"of {facts['load_avg_1min']:.0f}."
    )


def known(folder: Path = RESULTS) -> list[str]:
    """Return the names of all benchmarks with results."""
    return sorted(file.stem for file in folder.glob("*.json"))


def speed_page() -> str:
    """docs/internals/speed.md: a picture and a table for each benchmark."""
    parts = [_HEAD]
    for name in known():
        rows = [
            f"| {figure.what} | {_number(figure.value)} {figure.unit} | {_number(figure.target)} | "
            f"{'met' if figure.is_met else '**missed**'} |"
            for figure in read(name)
        ]
        table = "\n".join(["| what | measured | at most | |", "| --- | ---: | ---: | --- |", *rows])
        drawn = f"![{name}: shares of the targets](speed/{name}.svg)"
        parts.append(
            f"## {name}\n\n{_conditions(name)}\n\n{drawn}\n\n{table}\n{_curve_table(name)}"
        )
    return "\n".join(parts)


def pictures() -> dict[str, Callable[[], str]]:
    """Return the pictures of the page by their paths."""
    bars = {f"docs/internals/speed/{name}.svg": partial(_picture, name) for name in known()}
    drawn = {f"{CURVES}/{name}.svg": partial(_curves, name) for name in PANELS if curves(name)}
    return {**bars, **drawn}


def _curves(name: str) -> str:
    return curve_picture(PANELS[name], curves(name), name, _conditions(name))


def _picture(name: str) -> str:
    return picture(read(name))


def picture(figures: Sequence[Kept]) -> str:
    """Return an SVG with a bar for each figure, as a share of its target."""
    height = _ROW * (len(figures) + 1)
    target_x = _LEFT + _BAR / _LONGEST
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" '
        f'font-family="sans-serif" font-size="13" fill="{_TEXT}">',
        f'<rect width="{_WIDTH}" height="{height}" fill="#fff"/>',
    ]
    for row, figure in enumerate(figures):
        y = _ROW * row + 6
        share = min(figure.value / figure.target, _LONGEST)
        said = f"{_number(figure.value)} {figure.unit.split()[0]}"
        colour = _MET if figure.is_met else _MISSED
        length = max(1, round(_BAR * share / _LONGEST))
        parts += [
            f'<text x="{_LEFT - 8}" y="{y + 13}" text-anchor="end">{escape(figure.what)}</text>',
            f'<rect x="{_LEFT}" y="{y}" width="{length}" height="{_ROW - 9}" fill="{colour}"/>',
            f'<text x="{_LEFT + length + 6}" y="{y + 13}">{escape(said)}</text>',
        ]
    parts += [
        f'<line x1="{target_x:.0f}" x2="{target_x:.0f}" y1="0" y2="{height - _ROW + 6}" '
        f'stroke="{_LINE}" stroke-dasharray="3 3"/>',
        f'<text x="{target_x:.0f}" y="{height - 6}" text-anchor="middle">target</text>',
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _number(value: float) -> str:
    """Return three digits, or all digits before the point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
