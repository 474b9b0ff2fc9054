"""A metrics process that is read as Prometheus reads it."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from tests.paper.deadline import wait_for
from tests.paper.test_paper_processes import Running, Shell

Sample = tuple[dict[str, str], float]


class Metrics:
    """A metrics process.

    Args:
        shell: the shell in whose folder it runs.
        options: options of the command.
    """

    def __init__(self, shell: Shell, *options: str, port: int = 0) -> None:
        self.running: Running = shell.start("metrics.log", "metrics", "--port", str(port), *options)
        self.running.wait_for("until Ctrl-C.")
        self.address: str = self.running.text().partition("Metrics at ")[2].partition("/metrics")[0]

    def get(self, path: str, accept: str = "*/*") -> tuple[int, str]:
        """The HTTP status and the text of an answer."""
        request = urllib.request.Request(f"{self.address}{path}", headers={"Accept": accept})
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return int(answer.status), answer.read().decode("utf-8")
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode("utf-8")

    def probe(self, path: str) -> tuple[int, dict[str, Any]]:
        """The HTTP status of a probe, and its JSON."""
        code, text = self.get(path)
        return code, json.loads(text)

    def text(self) -> str:
        """The text of a scrape."""
        code, text = self.get("/metrics")
        assert code == 200, text
        return text

    def scrape(self) -> Scrape:
        """A scrape, by series."""
        return Scrape(self.text())

    def wait_until(self, holds: Callable[[Scrape], bool], words: str) -> Scrape:
        """Scrape until this holds, and return the scrape."""
        seen: list[Scrape] = []

        def is_there() -> bool:
            seen.append(self.scrape())
            return holds(seen[-1])

        wait_for(is_there, lambda: f"{words} in\n{seen[-1].text}")
        return seen[-1]

    def wait_for(self, name: str, value: float, **labels: str) -> Scrape:
        """Scrape until a series has a value, and return the scrape."""

        def holds(seen: Scrape) -> bool:
            return seen.values(name, **labels) == [value]

        return self.wait_until(holds, f"{name} {labels} {value}")

    def wait_for_probe(self, path: str, code: int) -> dict[str, Any]:
        """Probe until the HTTP status is this, and return the JSON."""
        seen: list[tuple[int, dict[str, Any]]] = []

        def is_there() -> bool:
            seen.append(self.probe(path))
            return seen[-1][0] == code

        wait_for(is_there, lambda: f"{code} of {path}: {seen[-1]}")
        return seen[-1][1]

    def end(self) -> None:
        """Ask the process to end, and wait for it."""
        self.running.child.terminate()
        self.running.child.wait(60)


class Scrape:
    """What a scrape has."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._series: dict[str, list[Sample]] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                self._series.setdefault(sample.name, []).append((sample.labels, sample.value))

    @property
    def names(self) -> set[str]:
        """The names of all series."""
        return set(self._series)

    def values(self, name: str, **labels: str) -> list[float]:
        """The values of the series with these labels."""
        found = self._series.get(name, [])
        return [value for own, value in found if labels.items() <= own.items()]

    def one(self, name: str, **labels: str) -> float:
        """The value of the only series with these labels."""
        (value,) = self.values(name, **labels)
        return value

    def counters(self) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
        """All counters and histograms, by name and labels; not the bot's own count of readings."""
        return {
            (name, tuple(sorted(labels.items()))): value
            for name, rows in self._series.items()
            if name.endswith(("_total", "_bucket", "_sum", "_count")) and "syncs" not in name
            for labels, value in rows
        }
