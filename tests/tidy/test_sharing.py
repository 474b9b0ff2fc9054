"""How the tests are shared: each runs once, and long ones begin the shares."""

from __future__ import annotations

import itertools
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.sharing import LONG, dealt

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("file", LONG)
def test_a_long_file_is_there(file: str) -> None:
    assert (ROOT / file).is_file()


@pytest.mark.parametrize("shares", [1, 2, 3, 4, 16])
def test_each_test_runs_once_and_its_file_stays_in_one_piece(shares: int) -> None:
    files = ["tests/a.py", *sorted(LONG), "tests/z.py"]
    tests: list[Any] = [
        SimpleNamespace(nodeid=f"{file}::test_{number}") for file in files for number in range(30)
    ]
    order = dealt(tests, shares)
    assert sorted(one.nodeid for one in order) == sorted(one.nodeid for one in tests)
    long = [file for one in order if (file := one.nodeid.partition("::")[0]) in LONG]
    assert sum(a != b for a, b in itertools.pairwise(long)) == len(LONG) - 1


def test_the_longest_files_begin_the_shares() -> None:
    tests: list[Any] = [SimpleNamespace(nodeid=f"tests/a.py::test_{n}") for n in range(400)]
    tests += [SimpleNamespace(nodeid=f"{file}::test") for file in LONG]
    order = dealt(tests, 4)
    size = len(tests) // 4
    assert [order[n * size].nodeid.partition("::")[0] for n in range(4)] == list(LONG[:4])
