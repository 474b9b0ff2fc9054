// Draws the charts of the page; without this script the newest figures stand there as text.
"use strict";
addEventListener("DOMContentLoaded", () => {
  for (const part of document.querySelectorAll("[data-chart]")) {
    const { title, unit, at, of } = JSON.parse(part.dataset.chart);
    if (at.length < 2) continue;
    const color = getComputedStyle(document.documentElement).getPropertyValue("--dim").trim();
    const axis = { stroke: color, grid: { stroke: color + "40" }, ticks: { stroke: color + "40" } };
    // Times of day within a day, and dates beyond; all of UTC, as everywhere on the page.
    const [from, to] = at[at.length - 1] - at[0] > 172800 ? [5, 10] : [11, 19];
    const times = (_, splits) => splits.map((sec) => new Date(sec * 1000).toISOString().slice(from, to));
    const options = () => ({
      width: part.clientWidth, height: 180, legend: { show: false },
      series: [{}, { label: title + (unit && ", " + unit), stroke: color, width: 2, points: { show: at.length < 60 } }],
      axes: [{ ...axis, values: times, space: 80 }, { ...axis, size: 70 }],
    });
    const drawn = new uPlot(options(), [at, of], part);
    drawn.root.setAttribute("aria-hidden", "true");
    addEventListener("resize", () => drawn.setSize({ width: part.clientWidth, height: 180 }));
  }
});
