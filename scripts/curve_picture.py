"""A picture of curves, from the points that a benchmark has kept: one panel for each unit."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import NamedTuple

LINE, TEXT, GRID, TARGET = "#2458a6", "#333", "#ddd", "#888"
_COLOURS = (LINE, "#b4532a")
_WIDTH, _HEIGHT, _COLUMNS = 900, 250, 2
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 30, 34, 40
_WORDS = 30


class Point(NamedTuple):
    """A point of a curve: where on the axis, and its value."""

    at: float
    value: float


class Panel(NamedTuple):
    """A panel: its title with the unit, its curves, what is allowed at most, and the axis.

    With `is_log` each line of the axis is ten times the one below it.
    """

    title: str
    curves: tuple[str, ...]
    bound: float
    bound_words: str
    is_log: bool = False


def curve_picture(
    panels: Sequence[Panel], curves: Mapping[str, Sequence[Point]], axis: str, words: str = ""
) -> str:
    """Return an SVG of all panels, two in a row.

    Args:
        panels: what each panel shows.
        curves: the points of each curve.
        axis: what the horizontal axis counts.
        words: how the points were measured, below all panels.
    """
    rows = -(-len(panels) // _COLUMNS)
    height = _HEIGHT * rows + _WORDS
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" '
        f'font-family="sans-serif" font-size="13" fill="{TEXT}">',
        f'<rect width="{_WIDTH}" height="{height}" fill="#fff"/>',
    ]
    for number, panel in enumerate(panels):
        x, y = _WIDTH // _COLUMNS * (number % _COLUMNS), _HEIGHT * (number // _COLUMNS)
        shown = {name: curves[name] for name in panel.curves}
        parts += [f'<g transform="translate({x} {y})">', *_Drawn(panel, shown, axis).parts, "</g>"]
    parts.append(f'<text x="{_LEFT}" y="{height - 10}" fill="#666">{escape(words)}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


class _Drawn:
    """One panel, as parts of an SVG."""

    def __init__(self, panel: Panel, curves: Mapping[str, Sequence[Point]], axis: str) -> None:
        self._panel = panel
        points = [point for curve in curves.values() for point in curve]
        self._most_x = max(point.at for point in points)
        values = [point.value for point in points]
        self._bottom, self._top = _range(values, panel)
        self.parts = [
            f'<text x="{_LEFT}" y="18" font-weight="bold">{escape(panel.title)}</text>',
            *self._lines(),
            *self._axis(sorted({point.at for point in points}), axis),
            *self._bound(),
        ]
        for colour, (name, curve) in zip(_COLOURS, curves.items(), strict=False):
            self.parts += self._curve(curve, colour, name if len(curves) > 1 else "")

    def _x(self, at: float) -> float:
        return _LEFT + (_WIDTH / _COLUMNS - _LEFT - _RIGHT) * at / self._most_x

    def _y(self, value: float) -> float:
        height = _HEIGHT - _TOP - _BOTTOM
        if self._panel.is_log:
            low, high, value = (
                math.log10(number) for number in (self._bottom, self._top, max(value, self._bottom))
            )
        else:
            low, high = self._bottom, self._top
        return _TOP + height * (1 - (value - low) / (high - low))

    def _lines(self) -> list[str]:
        right = _WIDTH // _COLUMNS - _RIGHT
        found = []
        for value in _steps(self._bottom, self._top, is_log=self._panel.is_log):
            y = self._y(value)
            found += [
                f'<line x1="{_LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}" stroke="{GRID}"/>',
                f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:,g}</text>',
            ]
        return found

    def _axis(self, counts: Sequence[float], axis: str) -> list[str]:
        y, found, free_from = _HEIGHT - _BOTTOM + 17, list[str](), 0.0
        for at in counts:
            # Numbers that would lie over each other are left out.
            if self._x(at) >= free_from:
                found.append(
                    f'<text x="{self._x(at):.1f}" y="{y}" text-anchor="middle">{at:,g}</text>'
                )
                free_from = self._x(at) + 44
        middle = (_LEFT + _WIDTH / _COLUMNS - _RIGHT) / 2
        return [*found, f'<text x="{middle:.0f}" y="{y + 16}" text-anchor="middle">{axis}</text>']

    def _bound(self) -> list[str]:
        y, right = self._y(self._panel.bound), _WIDTH // _COLUMNS - _RIGHT
        return [
            f'<line x1="{_LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}" stroke="{TARGET}" '
            'stroke-dasharray="3 3"/>',
            f'<text x="{_LEFT + 4}" y="{y - 4:.1f}" fill="#666">'
            f"{escape(self._panel.bound_words)}</text>",
        ]

    def _curve(self, curve: Sequence[Point], colour: str, name: str) -> list[str]:
        places = [(self._x(point.at), self._y(point.value)) for point in curve]
        way = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        last_x, last_y = places[-1]
        return [
            f'<polyline points="{way}" fill="none" stroke="{colour}" stroke-width="2"/>',
            *(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in places),
            f'<text x="{last_x:.1f}" y="{last_y - 8:.1f}" text-anchor="end" fill="{colour}">'
            f"{escape(name)}</text>",
        ]


def _range(values: Sequence[float], panel: Panel) -> tuple[float, float]:
    """Return the ends of the vertical axis, with room above the greatest value."""
    most = max(*values, panel.bound)
    if panel.is_log:
        least = min(*values, panel.bound)
        return 10.0 ** math.floor(math.log10(max(least, 0.1))), 10.0 ** math.ceil(math.log10(most))
    step = _step(most)
    return 0.0, step * math.ceil(most * 1.05 / step)


def _step(most: float) -> float:
    """Return a round number that fits four to ten times."""
    size = 10.0 ** math.floor(math.log10(most))
    return next(size * part for part in (0.1, 0.2, 0.25, 0.5, 1) if most / (size * part) <= 8)


def _steps(bottom: float, top: float, *, is_log: bool) -> list[float]:
    if is_log:
        count = round(math.log10(top / bottom))
        return [bottom * 10**number for number in range(count + 1)]
    step = _step(top / 1.05)
    return [step * number for number in range(round(top / step) + 1)]
