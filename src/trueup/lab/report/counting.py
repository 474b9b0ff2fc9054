"""Count the situations that runs met, of those that are to be met."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import ClassVar, Self


class Counted:
    """What the counters of situations share; a subclass names the situations and counts."""

    wanted: ClassVar[Mapping[str, Mapping[str, str]]]
    """All situations to meet: by kind, the name and its meaning."""

    def __init__(self) -> None:
        self.met: dict[str, Counter[str]] = {kind: Counter() for kind in self.wanted}

    def add(self, other: Self) -> None:
        """Add the counts of another watcher."""
        for kind, counter in other.met.items():
            self.met[kind].update(counter)

    def missing(self) -> list[tuple[str, str]]:
        """Return the situations never met, as kind and name."""
        return [
            (kind, name)
            for kind, names in self.wanted.items()
            for name in names
            if not self.met[kind][name]
        ]


def table(counted: Counted) -> str:
    """Return the counts as text, a line each; situations never met are marked NEVER."""
    lines = []
    for kind, names in counted.wanted.items():
        lines.append(f"{kind}:")
        width = max(map(len, names))
        for name, meaning in names.items():
            count = counted.met[kind][name]
            lines.append(f"  {name:<{width}}  {count or 'NEVER':>7}  {meaning}")
    return "\n".join(lines)
