"""The two locks, read: `requirements.lock`, and its part for running."""

from __future__ import annotations

import re
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
RUN, ALL = "requirements-run.lock", "requirements.lock"


def blocks(name: str) -> dict[str, list[str]]:
    """Return the blocks of each package of a lock: version, marker and hashes."""
    text = (ROOT / name).read_text(encoding="utf-8")
    found: dict[str, list[str]] = {}
    for block in re.findall(r"^[a-z0-9].*?(?=^[a-z0-9]|\Z)", text, flags=re.MULTILINE | re.DOTALL):
        found.setdefault(block.partition("==")[0], []).append(block.strip())
    return found


def names_here(name: str) -> set[str]:
    """Return the packages of a lock that are installed on this system."""

    def is_for_here(block: str) -> bool:
        _, _, marker = block.partition("\\\n")[0].partition(" ; ")
        return not marker or Marker(marker).evaluate()

    return {package for package, found in blocks(name).items() if any(map(is_for_here, found))}


def needed(requirements: Iterable[str]) -> set[str]:
    """Return the names of these requirements, and of theirs, as installed on this system."""
    names: set[str] = set()
    for text in requirements:
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            name = canonicalize_name(requirement.name)
            names |= {name} | needed(metadata.requires(name) or [])
    return names


def modules_for_tests_only() -> set[str]:
    """Return the top-level modules here that no package of the lock for running brings."""
    running = names_here(RUN) | {"trueup", "pip", "setuptools"}
    return {
        module
        for module, packages in metadata.packages_distributions().items()
        if running.isdisjoint(map(canonicalize_name, packages))
    }
