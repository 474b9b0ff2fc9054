"""A run as a page: two books over time, with faults and decisions on the same axis.

The page stands alone: the drawing is SVG written here, the style is part of the page, nothing is
fetched. All text goes through `html.escape`. Drawing and words both come from `telling`, so they
cannot differ.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from html import escape

from trueup.core.quantity import format_lots
from trueup.lab.facts import facts
from trueup.lab.facts.facts import UNITS, Violation
from trueup.lab.report.scenes import BOOK, BROKER, Lane, Scenes, Steps
from trueup.lab.report.telling import Line, lines

WIDTH, LEFT, RIGHT = 1200, 370, 16
CHART, LANE, ROW = 120, 18, 22
MOST_LANES = 40
# The most characters of a row's name; a longer name would run into the drawing.
MOST_CHARACTERS = 60
MOST_VERDICTS = 8
DOWN = "M-6,-5 H6 L0,6 Z"
UP = "M0,-6 L6,5 H-6 Z"

# The name and the shape of the marks of each kind. Faults have a row for each kind of fault.
_KINDS = {
    "request": ("requests that the broker answered", "M-4,-4 H4 V4 H-4 Z"),
    "bot": ("what a bot asks and sees", "M0,-5 L5,0 L0,5 L-5,0 Z"),
    "decision": ("what a bot changes in its book", "M-5,0 A5,5 0 1,0 5,0 A5,5 0 1,0 -5,0 Z"),
    "death": ("starts and ends of bots", "M-5,-5 L5,5 M5,-5 L-5,5"),
    "verdict": ("broken promises", "M-6,-6 H6 V6 H-6 Z"),
}

# Both schemes: texts have a contrast of 4.5 to the page at least, marks of 3 (WCAG 2.2, AA).
LIGHT = {
    "page": "#ffffff", "text": "#1d2733", "faint": "#4a5868", "grid": "#e6eaef", "calm": "#e9f6ec",
    "broker": "#2f6fb5", "book": "#b35c00", "fault": "#c62828", "bot": "#6b7785",
    "decision": "#23774a", "bad": "#b00020", "apart": "#f7d7da",
}  # fmt: skip
DARK = {
    "page": "#14191f", "text": "#e4e9ee", "faint": "#a9b4c0", "grid": "#2b333c", "calm": "#17291d",
    "broker": "#6fb0f2", "book": "#f0a04b", "fault": "#ff7b72", "bot": "#8b97a3",
    "decision": "#56c98a", "bad": "#ff8a95", "apart": "#5c2329",
}  # fmt: skip


def _colours(scheme: dict[str, str]) -> str:
    return " ".join(f"--{name}: {colour};" for name, colour in scheme.items())


_STYLE = (
    f"""
:root {{ color-scheme: light dark; {_colours(LIGHT)} }}
@media (prefers-color-scheme: dark) {{ :root {{ {_colours(DARK)} }} }}
@media print {{ :root {{ {_colours(LIGHT)} }} }}
"""
    + """
body { font: 14px/1.45 system-ui, sans-serif; color: var(--text); background: var(--page);
       max-width: 1240px; margin: 24px auto; padding: 0 20px; }
h1 { font-size: 20px; margin: 0 0 4px; } h2 { font-size: 15px; margin: 28px 0 6px; }
h1, td { overflow-wrap: anywhere; }
p { margin: 4px 0 12px; color: var(--faint); } p.bad { color: var(--bad); font-weight: 600; }
a { color: inherit; }
.wide { overflow-x: auto; } svg { display: block; width: 100%; min-width: 900px; height: auto; }
svg text { font: 12px system-ui, sans-serif; fill: var(--faint); }
svg text.fault { fill: var(--fault); stroke: none; } svg text.bad { fill: var(--bad); }
.grid { stroke: var(--grid); } .axis { stroke: var(--faint); stroke-opacity: 0.5; }
.healed { fill: var(--calm); } .apart { fill: var(--apart); } .alive { fill: var(--bot); }
.broker { fill: var(--broker); stroke: var(--broker); }
.book { fill: var(--book); stroke: var(--book); }
.line { fill: none; stroke-width: 2; } path.book { stroke-dasharray: 5 3; }
.fault { fill: var(--fault); } .request { fill: var(--broker); } .bot { fill: var(--bot); }
.refused { fill: var(--page); stroke: var(--broker); stroke-width: 1.5; }
.decision { fill: var(--decision); }
.death { fill: none; stroke: var(--text); stroke-width: 2; } .start { fill: var(--text); }
.verdict { fill: var(--bad); } .broken { stroke: var(--bad); stroke-dasharray: 3 3; }
table { border-collapse: collapse; width: 100%; font-size: 13px; }
td { padding: 2px 8px; vertical-align: top; border-bottom: 1px solid var(--grid); }
td:first-child { text-align: right; white-space: nowrap; color: var(--faint);
                 font-variant-numeric: tabular-nums; }
td:nth-child(2) { white-space: nowrap; font-weight: 600; }
tr.fault td:nth-child(2) { color: var(--fault); }
tr.decision td:nth-child(2) { color: var(--decision); }
tr.verdict td { color: var(--bad); font-weight: 600; } tr.turn td { background: var(--calm); }
tr:target td { outline: 2px solid var(--book); outline-offset: -2px; }
.key { display: inline-block; width: 22px; height: 4px; margin: 0 6px 3px 14px; }
.key.broker { background: var(--broker); } .key.book { background: var(--book); }
.key.apart { background: var(--apart); height: 12px; margin-bottom: -2px; }
.key.healed { background: var(--calm); height: 12px; margin-bottom: -2px; }
"""
)


def page(told: Sequence[facts.Fact], violations: Sequence[Violation], title: str) -> str:
    """Return the run as a whole HTML page."""
    # The lines get numbers, so that marks in the drawing can link to them.
    written = list(lines(told, violations))
    scenes = Scenes(told)
    body = [
        f"<h1>{escape(title)}</h1>",
        *_verdicts(violations, written, scenes),
        f'<p><span class="key {BROKER}"></span>the broker '
        f'<span class="key {BOOK}"></span>the bots&#39; book, as journalled '
        '<span class="key apart"></span>they differ '
        '<span class="key healed"></span>all faults have stopped. '
        "Point at a mark to read it, click it to find its line.</p>",
        f'<div class="wide">{_drawing(scenes, written)}</div>',
        "<h2>What happened</h2>",
        _table(written, scenes.begin_ns),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>\n"
        + "\n".join(body)
        + "\n</body></html>\n"
    )


def _verdicts(
    violations: Sequence[Violation], written: Sequence[Line], scenes: Scenes
) -> Iterator[str]:
    """Return the broken promises with links to their lines, and the part that is not drawn."""
    if not violations:
        yield "<p>Every promise was kept.</p>"
    # The verdicts are in the lines in the same order as in `violations`.
    broken = [number for number, line in enumerate(written) if line.kind == "verdict"]
    for violation, number in zip(violations[:MOST_VERDICTS], broken, strict=False):
        at_sec = (violation.at_ns - scenes.begin_ns) / 1e9
        said = f"Promise {violation.invariant} was broken at {at_sec:.3f} s: {violation.sentence}"
        yield f'<p class="bad"><a href="#l{number}">{escape(said)}</a></p>'
    if len(violations) > MOST_VERDICTS:
        yield f'<p class="bad">and {len(violations) - MOST_VERDICTS} more</p>'
    if scenes.unreadable is not None:
        at_sec = (scenes.unreadable[0] - scenes.begin_ns) / 1e9
        said = f"From {at_sec:.3f} s on the book is not drawn: {scenes.unreadable[1]}"
        yield f'<p class="bad">{escape(said)}</p>'


def _table(written: Iterable[Line], begin_ns: int) -> str:
    rows = [
        f'<tr id="l{number}" class="{escape(line.kind)}"><td>{_seconds(line, begin_ns)}</td>'
        f"<td>{escape(line.who)}</td><td>{escape(line.words)}</td></tr>"
        for number, line in enumerate(written)
    ]
    return f'<div class="wide"><table>{"".join(rows)}</table></div>'


def _seconds(line: Line, begin_ns: int) -> str:
    return f"{(line.at_ns - begin_ns) / 1e9:.3f}"


class _Canvas:
    """The place of a time on the page."""

    def __init__(self, scenes: Scenes) -> None:
        self.begin_ns = self._begin_ns = scenes.begin_ns
        self._span_ns = max(1, scenes.end_ns - scenes.begin_ns)

    def x(self, at_ns: int) -> float:
        """Return the place of a time."""
        return LEFT + (at_ns - self._begin_ns) / self._span_ns * (WIDTH - LEFT - RIGHT)

    def seconds(self) -> Iterator[tuple[float, str]]:
        """Yield about ten round times, with their labels."""
        span = self._span_ns / 1e9
        step = next((s for s in (0.1, 1, 2, 5, 10, 20, 60, 300, 3600) if span / s <= 12), 86_400)
        for number in range(int(span / step) + 1):
            yield self.x(self._begin_ns + round(number * step * 1e9)), f"{number * step:g} s"


def _drawing(scenes: Scenes, written: Sequence[Line]) -> str:
    canvas = _Canvas(scenes)
    parts: list[str] = []
    top = 20.0
    # The books come first; below them, on the same axis, the causes of their differences.
    for symbol in scenes.symbols:
        parts += _chart(canvas, scenes, symbol, top)
        top += CHART + 30
    # A long run has hundreds of positions, which no page can show.
    shown = scenes.lanes[:MOST_LANES]
    for lane in shown:
        parts += _lane(canvas, lane, top)
        top += LANE
    if len(scenes.lanes) > len(shown):
        more = len(scenes.lanes) - len(shown)
        parts.append(_text(LEFT, top + 10, f"and {more} more positions"))
        top += LANE
    top += 14
    # A row per kind of fault, so that repeated faults are seen as such.
    marks = list(enumerate(written))
    for name in dict.fromkeys(_fault(line) for line in written if line.kind == "fault"):
        short = textwrap.shorten(name, MOST_CHARACTERS, placeholder="…")
        parts.append(_text(8, top + 4, short, style="fault"))
        struck = [(n, one) for n, one in marks if one.kind == "fault" and _fault(one) == name]
        parts += _markers(canvas, struck, DOWN, top)
        top += ROW
    for bot in dict.fromkeys(bot for bot, _, _ in scenes.alive):
        parts.append(_text(8, top + 4, f"bot {bot} runs"))
        for name, begin_ns, end_ns in scenes.alive:
            if name == bot:
                parts.append(_bar(canvas, "alive", begin_ns, end_ns, top - 3, 6))
        top += ROW
    for kind, (name, shape) in _KINDS.items():
        shown_marks = [(n, one) for n, one in marks if one.kind == kind]
        if shown_marks or kind != "verdict":
            parts.append(_text(8, top + 4, name, style="bad" if kind == "verdict" else ""))
            parts += _markers(canvas, shown_marks, shape, top)
            top += ROW
    # The height is known only now, and the grid belongs behind the other parts.
    return (
        f'<svg viewBox="0 0 {WIDTH} {top + 24:.0f}" role="img" '
        'aria-label="Two books, faults and decisions over time; the table below says the same">'
        + "".join([*_grid(canvas, scenes, written, top), *parts])
        + "</svg>"
    )


def _fault(line: Line) -> str:
    """Return the kind of a fault, which is the beginning of its sentence."""
    return line.words.partition(": ")[0].partition(" (number ")[0]


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
    for begin_ns, end_ns in scenes.differ(symbol):
        # A book always follows a little later, so differences too short to see are not drawn.
        if canvas.x(end_ns) - canvas.x(begin_ns) >= 1:
            yield _bar(canvas, "apart", begin_ns, end_ns, top, CHART)
    yield _text(LEFT - 6, middle + 4, "flat", "end")
    yield f'<line class="axis" x1="{LEFT}" y1="{middle}" x2="{WIDTH - RIGHT}" y2="{middle}"/>'
    for offset, (style, steps) in enumerate(drawn):
        # Side by side, so that two books that agree are two lines.
        stopped = style == BOOK and scenes.unreadable is not None
        end_ns = scenes.unreadable[0] if stopped and scenes.unreadable else scenes.end_ns
        path = _staircase(canvas, steps, end_ns, middle + 3 * offset, scale)
        yield f'<path class="line {style}" d="{path}" style="fill:none"/>'


def _staircase(canvas: _Canvas, steps: Steps, end_ns: int, zero: float, scale: float) -> str:
    (at_ns, units), *later = steps.points
    path = [f"M{canvas.x(at_ns):.1f},{zero - units * scale:.1f}"]
    path += [f"H{canvas.x(at_ns):.1f} V{zero - units * scale:.1f}" for at_ns, units in later]
    return " ".join([*path, f"H{canvas.x(end_ns):.1f}"])


def _lane(canvas: _Canvas, lane: Lane, top: float) -> Iterator[str]:
    """Draw a position: the broker's bar above, the book's below."""
    yield _text(8, top + 11, lane.title)
    places = {BROKER: 2.0, BOOK: 8.0}
    for whose, begin_ns, end_ns in lane.spans:
        yield _bar(canvas, whose, begin_ns, end_ns, top + places[whose], 5)


def _bar(canvas: _Canvas, style: str, begin_ns: int, end_ns: int, top: float, height: float) -> str:
    x, x2 = canvas.x(begin_ns), canvas.x(end_ns)
    return (
        f'<rect class="{style}" x="{x:.1f}" y="{top:.1f}" '
        f'width="{max(1.0, x2 - x):.1f}" height="{height:.0f}" style="stroke:none"/>'
    )


def _markers(
    canvas: _Canvas, marked: Sequence[tuple[int, Line]], shape: str, y: float
) -> Iterator[str]:
    for number, line in marked:
        said = escape(f"{_seconds(line, canvas.begin_ns)} s, {line.who}: {line.words}")
        style, drawn = line.kind, shape
        if line.kind == "death" and line.words.startswith("starts"):
            style, drawn = "start", UP
        elif line.kind == "request" and line.words.startswith("refuses"):
            style = "refused"
        yield (
            f'<a href="#l{number}"><path class="{style}" d="{drawn}" '
            f'transform="translate({canvas.x(line.at_ns):.1f},{y:.1f})">'
            f"<title>{said}</title></path></a>"
        )


def _text(x: float, y: float, words: str, anchor: str = "start", style: str = "") -> str:
    named = f' class="{style}"' if style else ""
    said = escape(words)
    return f'<text{named} x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{said}</text>'
