"""docs/internals/speed.md and its pictures, from the figures in benchmarks/results."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

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
        # A benchmark beside another one is no figure itself.
        if not facts["name"].endswith(", beside")
    ]


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
        parts.append(f"## {name}\n\n{_conditions(name)}\n\n{drawn}\n\n{table}\n")
    return "\n".join(parts)


def pictures() -> dict[str, Callable[[], str]]:
    """Return the pictures of the page by their paths."""
    return {f"docs/internals/speed/{name}.svg": partial(_picture, name) for name in known()}


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
