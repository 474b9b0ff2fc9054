"""The results of `make peers`, as they are kept: what the door changes for other packages."""

from __future__ import annotations

import json
from typing import Any

import pytest

from scripts.peers_page import RESULTS

PACKAGES: list[dict[str, Any]] = json.loads(RESULTS.read_text("utf-8"))
TRIALS = [
    pytest.param(sides, id=f"{one['package']}, {fault}")
    for one in PACKAGES
    for fault, sides in one["faults"].items()
]


@pytest.mark.parametrize("sides", TRIALS)
def test_the_door_never_has_more_positions_than_the_bare_module(sides: dict[str, Any]) -> None:
    assert 1 <= sides["door"]["positions"] <= sides["bare"]["positions"]


def test_no_entry_is_made_by_a_list_that_says_nothing() -> None:
    found = {
        (one["package"], fault): sides["door"]["positions"]
        for one in PACKAGES
        for fault, sides in one["faults"].items()
        if fault.startswith("list")
    }
    assert len(found) == 2 * len(PACKAGES)
    assert set(found.values()) == {1}


def test_without_a_fault_every_package_is_answered_as_by_the_bare_module() -> None:
    assert all(one["same_without_fault"] for one in PACKAGES)
    assert {one["package"] for one in PACKAGES} == {
        *("aiomql", "metatrader-mcp-server", "mt5-trading-mcp", "mt5-connector")
    }
