"""A run as one page: two books over time, with faults and decisions on the same axis.

The page stands alone: its drawing is SVG written here, its style is in it, nothing is fetched. All
text goes through `html.escape`. What it shows is what `telling` says, so the drawing and the words
below it cannot differ.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from html import escape

from trueup.core.quantity import format_lots
from trueup.sim.oracle import facts
from trueup.sim.oracle.facts import UNITS
from trueup.sim.scenes import BOOK, BROKER, Lane, Scenes, Steps
from trueup.sim.telling import Line, lines
from trueup.sim.world.moments import Violation

WIDTH, LEFT, RIGHT = 1100, 150, 20
CHART, LANE, ROW = 120, 16, 22
MOST_LANES = 40

_KINDS = {
    "fault": ("faults", "M0,-6 L6,5 L-6,5 Z"),
    "request": ("requests", "M-4,-4 H4 V4 H-4 Z"),
    "bot": ("orders, syncs", "M0,-5 L5,0 L0,5 L-5,0 Z"),
    "decision": ("decisions", "M-5,0 A5,5 0 1,0 5,0 A5,5 0 1,0 -5,0 Z"),
    "death": ("starts, ends", "M-5,-5 L5,5 M5,-5 L-5,5"),
    "verdict": ("broken promises", "M-6,-6 H6 V6 H-6 Z"),
}

_STYLE = """
:root { color-scheme: light; }
body { font: 14px/1.45 system-ui, sans-serif; color: #1d2733; background: #fff;
       max-width: 1140px; margin: 24px auto; padding: 0 20px; }
h1 { font-size: 20px; margin: 0 0 4px; } h2 { font-size: 15px; margin: 28px 0 6px; }
p { margin: 4px 0 12px; color: #4a5868; } p.bad { color: #b00020; font-weight: 600; }
svg { width: 100%; height: auto; } svg text { font: 11px system-ui, sans-serif; fill: #4a5868; }
.grid { stroke: #e6eaef; } .axis { stroke: #b8c2cc; } .healed { fill: #eef8f0; }
.broker { fill: #2f6fb5; stroke: #2f6fb5; } .book { fill: #e08a1e; stroke: #e08a1e; }
.line { fill: none; stroke-width: 2; }
.fault { fill: #d64545; } .request { fill: #2f6fb5; } .bot { fill: #98a4b0; }
.decision { fill: #2e8b57; } .death { fill: none; stroke: #1d2733; stroke-width: 2; }
.verdict { fill: #b00020; } .broken { stroke: #b00020; stroke-dasharray: 3 3; }
table { border-collapse: collapse; width: 100%; font-size: 13px; }
td { padding: 2px 8px; vertical-align: top; border-bottom: 1px solid #eef1f4; }
td:first-child { text-align: right; white-space: nowrap; color: #7a8794;
                 font-variant-numeric: tabular-nums; }
td:nth-child(2) { white-space: nowrap; font-weight: 600; }
tr.fault td:nth-child(2) { color: #d64545; } tr.decision td:nth-child(2) { color: #2e8b57; }
tr.verdict td { color: #b00020; font-weight: 600; } tr.turn td { background: #f5f7f9; }
.key { display: inline-block; width: 22px; height: 4px; margin: 0 6px 3px 14px; }
.key.broker { background: #2f6fb5; } .key.book { background: #e08a1e; }
"""


def page(told: Sequence[facts.Fact], violations: Sequence[Violation], title: str) -> str:
    """Return the run as a whole HTML page."""
    written = list(lines(told, violations))
    scenes = Scenes(told)
    body = [
        f"<h1>{escape(title)}</h1>",
        _verdict(violations),
        f'<p><span class="key {BROKER}"></span>the broker '
        f'<span class="key {BOOK}"></span>the bots&#39; book, as journalled</p>',
        _drawing(scenes, written),
        "<h2>What happened</h2>",
        _table(written, scenes.begin_ns),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>\n"
        + "\n".join(body)
        + "\n</body></html>\n"
    )


def _verdict(violations: Sequence[Violation]) -> str:
    if not violations:
        return "<p>Every promise was kept.</p>"
    first = violations[0]
    more = f" ({len(violations) - 1} more below)" if len(violations) > 1 else ""
    said = f"Promise {first.invariant} was broken: {first.sentence}{more}"
    return f'<p class="bad">{escape(said)}</p>'


def _table(written: Iterable[Line], begin_ns: int) -> str:
    rows = [
        f'<tr class="{escape(line.kind)}"><td>{(line.at_ns - begin_ns) / 1e9:.3f}</td>'
        f"<td>{escape(line.who)}</td><td>{escape(line.words)}</td></tr>"
        for line in written
    ]
    return f"<table>{''.join(rows)}</table>"


class _Canvas:
    """Where a moment is on the page."""

    def __init__(self, scenes: Scenes) -> None:
        self._begin_ns = scenes.begin_ns
        self._span_ns = max(1, scenes.end_ns - scenes.begin_ns)

    def x(self, at_ns: int) -> float:
        """Return the place of a moment."""
        return LEFT + (at_ns - self._begin_ns) / self._span_ns * (WIDTH - LEFT - RIGHT)

    def seconds(self) -> Iterator[tuple[float, str]]:
        """Yield about ten round moments, and how they are written."""
        span = self._span_ns / 1e9
        step = next((s for s in (0.1, 1, 2, 5, 10, 20, 60, 300, 3600) if span / s <= 12), 86_400)
        for number in range(int(span / step) + 1):
            yield self.x(self._begin_ns + round(number * step * 1e9)), f"{number * step:g} s"


def _drawing(scenes: Scenes, written: Sequence[Line]) -> str:
    canvas = _Canvas(scenes)
    parts: list[str] = []
    top = 20.0
    for symbol in scenes.symbols:
        parts += _chart(canvas, scenes, symbol, top)
        top += CHART + 30
    shown = scenes.lanes[:MOST_LANES]
    for lane in shown:
        parts += _lane(canvas, lane, top)
        top += LANE
    if len(scenes.lanes) > len(shown):
        more = len(scenes.lanes) - len(shown)
        parts.append(_text(LEFT, top + 10, f"and {more} more positions"))
        top += LANE
    top += 14
    for kind, (name, shape) in _KINDS.items():
        parts.append(_text(8, top + 4, name))
        parts += _markers(canvas, [line for line in written if line.kind == kind], shape, top)
        top += ROW
    return (
        f'<svg viewBox="0 0 {WIDTH} {top + 24:.0f}" role="img">'
        + "".join([*_grid(canvas, scenes, written, top), *parts])
        + "</svg>"
    )


def _grid(canvas: _Canvas, scenes: Scenes, written: Sequence[Line], bottom: float) -> Iterator[str]:
    if scenes.healed_ns is not None:
        x = canvas.x(scenes.healed_ns)
        width = WIDTH - RIGHT - x
        yield f'<rect class="healed" x="{x:.1f}" y="8" width="{width:.1f}" height="{bottom:.0f}"/>'
        yield _text(x + 4, 17, "all faults stop")
    for x, text in canvas.seconds():
        yield f'<line class="grid" x1="{x:.1f}" y1="8" x2="{x:.1f}" y2="{bottom:.0f}"/>'
        yield _text(x, bottom + 14, text, "middle")
    for line in written:
        if line.kind == "verdict":
            x = canvas.x(line.at_ns)
            yield f'<line class="broken" x1="{x:.1f}" y1="8" x2="{x:.1f}" y2="{bottom:.0f}"/>'


def _chart(canvas: _Canvas, scenes: Scenes, symbol: str, top: float) -> Iterator[str]:
    """Draw the net lots of a symbol, at the broker and in each book."""
    drawn = [(w, scenes.net[(w, symbol)]) for w in (BROKER, BOOK) if (w, symbol) in scenes.net]
    highest = max([abs(units) for _, steps in drawn for _, units in steps.points] + [1])
    middle, scale = top + CHART / 2, (CHART / 2 - 6) / highest
    yield _text(8, top + 12, f"{symbol}, net lots")
    for units in (highest, -highest):
        label = ("-" if units < 0 else "") + format_lots(abs(units) / UNITS)
        yield _text(LEFT - 6, middle - units * scale + 4, label, "end")
    yield _text(LEFT - 6, middle + 4, "flat", "end")
    yield f'<line class="axis" x1="{LEFT}" y1="{middle}" x2="{WIDTH - RIGHT}" y2="{middle}"/>'
    for offset, (style, steps) in enumerate(drawn):
        # Side by side, so that two books that agree are two lines.
        path = _staircase(canvas, steps, scenes.end_ns, middle + 2 * offset, scale)
        yield f'<path class="line {style}" d="{path}" style="fill:none"/>'


def _staircase(canvas: _Canvas, steps: Steps, end_ns: int, zero: float, scale: float) -> str:
    (at_ns, units), *later = steps.points
    path = [f"M{canvas.x(at_ns):.1f},{zero - units * scale:.1f}"]
    path += [f"H{canvas.x(at_ns):.1f} V{zero - units * scale:.1f}" for at_ns, units in later]
    return " ".join([*path, f"H{canvas.x(end_ns):.1f}"])


def _lane(canvas: _Canvas, lane: Lane, top: float) -> Iterator[str]:
    """Draw one position: the broker's bar above, the book's below."""
    yield _text(8, top + 11, lane.title)
    places = {BROKER: 2.0, BOOK: 8.0}
    for whose, begin_ns, end_ns in lane.spans:
        x, x2 = canvas.x(begin_ns), canvas.x(end_ns)
        yield (
            f'<rect class="{whose}" x="{x:.1f}" y="{top + places[whose]:.1f}" '
            f'width="{max(1.0, x2 - x):.1f}" height="5" style="stroke:none"/>'
        )


def _markers(canvas: _Canvas, marked: Sequence[Line], shape: str, y: float) -> Iterator[str]:
    for line in marked:
        said = escape(f"{line.who}: {line.words}")
        yield (
            f'<path class="{line.kind}" d="{shape}" '
            f'transform="translate({canvas.x(line.at_ns):.1f},{y:.1f})"><title>{said}</title></path>'
        )


def _text(x: float, y: float, words: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'
