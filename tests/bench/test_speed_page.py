"""The page of measured speeds says what the kept results say, and pyperf reads these results."""

from __future__ import annotations

import re
import statistics
import sys
from pathlib import Path

import pytest

from benchmarks._measure import Figure
from scripts.curve_picture import Panel, Point, curve_picture
from scripts.generate_docs import PAGES, ROOT
from scripts.speed_page import CURVES, PANELS, Kept, curves, known, picture, read, speed_page

SYNC = Figure("a sync", 2.0, 1.2, "x bare", ([0.2, 0.4, 0.6], [0.1, 0.2, 0.3]))
SIZE = Figure("memory", 3.0, 40.0, "KiB", ([], []))
LATE = [
    Figure(f"late at {at}", value, 0.0, "ms", ([], []), "late", at)
    for at, value in ((1, 2), (9, 300))
]


def test_every_figure_of_the_results_is_on_the_page_and_in_its_picture() -> None:
    assert len(known()) > 3
    page = (ROOT / "docs/internals/speed.md").read_text(encoding="utf-8")
    assert page == speed_page()
    for name in known():
        path = f"docs/internals/speed/{name}.svg"
        assert f"](speed/{name}.svg)" in page
        drawn = (ROOT / path).read_text(encoding="utf-8")
        assert drawn == PAGES[path]()
        for figure in read(name):
            assert f"| {figure.what} | " in page
            assert figure.what in drawn


def test_no_picture_is_left_of_results_that_are_gone() -> None:
    drawn = {path.stem for path in (ROOT / "docs/internals/speed").glob("*.svg")}
    assert drawn == set(known())


def test_a_missed_target_is_marked_and_its_bar_ends_in_the_picture() -> None:
    drawn = picture([Kept("far <over>", 90.0, 3.0, "ms"), Kept("half", 1.5, 3.0, "ms")])
    assert "far &lt;over&gt;" in drawn
    assert drawn.count('fill="#b4532a"') == drawn.count('fill="#2f7d4f"') == 1
    # A full bar is twice the target, so half a target is a quarter of it.
    assert 'width="360"' in drawn
    assert 'width="90"' in drawn


@pytest.mark.skipif(sys.platform == "win32", reason="pyperf is not installed there")
def test_results_are_kept_for_pyperf_and_read_again(tmp_path: Path) -> None:
    import pyperf

    from benchmarks._results import write

    slower = SYNC._replace(value=3.0, samples=([0.3], [0.1]))
    faster = SYNC._replace(value=1.0, samples=([0.1], [0.1]))
    write("some", [[SYNC, SIZE], [slower, SIZE], [faster, SIZE]], tmp_path)
    assert read("some", tmp_path) == [
        Kept("a sync", 2.0, 1.2, "x bare"),
        Kept("memory", 3.0, 40.0, "KiB"),
    ]
    suite = pyperf.BenchmarkSuite.load(str(tmp_path / "some.json"))
    assert suite.get_benchmark_names() == ["a sync", "a sync, beside", "memory"]
    assert suite.get_benchmark("a sync").get_values() == (0.2, 0.4, 0.6, 0.3, 0.1)
    assert suite.get_benchmark("memory").get_values() == (3072.0,) * 3
    write("alone", [[SIZE]], tmp_path)
    assert read("alone", tmp_path) == [Kept("memory", 3.0, 40.0, "KiB")]


@pytest.mark.skipif(sys.platform == "win32", reason="pyperf is not installed there")
def test_points_of_a_curve_are_kept_for_pyperf_and_are_no_figures(tmp_path: Path) -> None:
    import pyperf

    from benchmarks._results import write

    write("some", [[SIZE, *LATE]], tmp_path)
    assert read("some", tmp_path) == [Kept("memory", 3.0, 40.0, "KiB")]
    assert curves("some", tmp_path) == {"late": [Point(1, 2), Point(9, 300)]}
    suite = pyperf.BenchmarkSuite.load(str(tmp_path / "some.json"))
    assert suite.get_benchmark("late at 9").get_values() == (0.3,)


def test_every_point_of_the_results_is_on_the_page() -> None:
    page = (ROOT / "docs/internals/speed.md").read_text(encoding="utf-8")
    for name in PANELS:
        found = curves(name)
        assert {curve for panel in PANELS[name] for curve in panel.curves} <= set(found)
        for point in found["CPU"]:
            assert f"| {point.at:,} | " in page
        assert f"](../concepts/scaling/{name}.svg)" in page
        drawn = (ROOT / f"{CURVES}/{name}.svg").read_text(encoding="utf-8")
        assert drawn == PAGES[f"{CURVES}/{name}.svg"]()
    assert "](scaling/accounts.svg)" in (ROOT / "docs/concepts/scaling.md").read_text("utf-8")


def test_curve_has_its_points_where_the_axes_say() -> None:
    points = {"CPU": [Point(0, 0), Point(500, 50), Point(1000, 100)], "late": [Point(1000, 90)]}
    late = Panel("late <ms>", ("late",), 250, "goal", is_log=True)
    drawn = curve_picture([Panel("CPU, %", ("CPU",), 100, "one core"), late], points, "accounts")
    assert "late &lt;ms&gt;" in drawn
    (way,) = re.findall(r'<polyline points="([^ "]+ [^"]+)"', drawn)
    (x0, y0), (x1, y1), (x2, y2) = (map(float, place.split(",")) for place in way.split())
    # A straight line: the second lies in the middle of the others, and the last on the bound.
    assert (x1, y1) == pytest.approx(((x0 + x2) / 2, (y0 + y2) / 2), abs=0.1)
    assert f'y1="{y2:.1f}" y2="{y2:.1f}" stroke="#888"' in drawn
    # Powers of ten around the values.
    for number in (10, 100, "1,000"):
        assert f'text-anchor="end">{number}</text>' in drawn


@pytest.mark.skipif(sys.platform == "win32", reason="pyperf is not installed there")
def test_kept_samples_have_the_median_of_all(tmp_path: Path) -> None:
    import pyperf

    from benchmarks._results import KEPT, write

    many = [((number * 7919) % 1000 + 1) / 1000 for number in range(1000)]
    write("many", [[SYNC._replace(samples=(many, many))]], tmp_path)
    suite = pyperf.BenchmarkSuite.load(str(tmp_path / "many.json"))
    values = suite.get_benchmark("a sync").get_values()
    assert len(values) == KEPT
    assert statistics.median(values) == pytest.approx(statistics.median(many), rel=0.01)


@pytest.mark.skipif(sys.platform == "win32", reason="pyperf is not installed there")
@pytest.mark.parametrize("name", known())
def test_a_kept_ratio_is_that_of_its_samples(name: str) -> None:
    """The figure is the median of a few processes; the samples of all agree with it roughly."""
    import pyperf

    suite = pyperf.BenchmarkSuite.load(str(ROOT / f"benchmarks/results/{name}.json"))
    names = suite.get_benchmark_names()
    for figure in read(name):
        if f"{figure.what}, beside" not in names or not figure.unit.startswith(("x ", "bare ")):
            continue
        both = (suite.get_benchmark(f"{figure.what}{end}") for end in ("", ", beside"))
        first, second = ([run.values for run in benchmark.get_runs()] for benchmark in both)
        ratios = [
            statistics.median(own) / statistics.median(beside)
            for own, beside in zip(first, second, strict=True)
        ]
        assert statistics.median(ratios) == pytest.approx(figure.value, rel=0.05)
