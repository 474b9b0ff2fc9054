"""Two network namespaces and a cable that is pulled: packets vanish, and no end is told."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.crash_world import ROOT, environment

OURS, THEIRS = "10.77.0.1", "10.77.0.2"


def ip(*arguments: str) -> None:
    subprocess.run(
        ["ip", *arguments], check=True, capture_output=True, text=True, encoding="utf-8", timeout=20
    )


@contextmanager
def two_namespaces() -> Iterator[tuple[str, str, str]]:
    """Two namespaces with a cable between them: their names, and the first's end of the cable."""
    first, second, end = (f"tu{os.getpid()}{letter}" for letter in "abe")
    made = []
    try:
        for name in (first, second):
            ip("netns", "add", name)
            made.append(name)
            ip("-n", name, "link", "set", "lo", "up")
        ip("-n", first, "link", "add", end, "type", "veth", "peer", "name", "far", "netns", second)
        for name, device, address in ((first, end, OURS), (second, "far", THEIRS)):
            ip("-n", name, "address", "add", f"{address}/30", "dev", device)
            ip("-n", name, "link", "set", device, "up")
        yield first, second, end
    finally:
        for name in made:
            ip("netns", "delete", name)


@pytest.fixture
def namespaces() -> Iterator[tuple[str, str, str]]:
    """Two namespaces, where this user may make some."""
    if sys.platform != "linux" or shutil.which("ip") is None:
        pytest.skip("network namespaces are Linux's, and made with `ip`")
    try:
        with two_namespaces() as made:
            yield made
    except subprocess.CalledProcessError as error:
        pytest.skip(f"`ip netns` is not permitted here: {error.stderr.strip()}")


def test_a_cable_that_is_pulled_in_the_middle_of_an_order_costs_no_order_and_repeats_none(
    namespaces: tuple[str, str, str], tmp_path: Path
) -> None:
    first, second, end = namespaces
    (tmp_path / "home").mkdir()
    run = [sys.executable, "-m", "tests.chaos.partition_run", str(tmp_path), second, end, OURS]
    done = subprocess.run(
        ["ip", "netns", "exec", first, *run],
        cwd=ROOT,
        env=environment(tmp_path / "home"),
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=110,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    facts = json.loads(done.stdout.splitlines()[-1])
    # Both times the broker had done it, and the answer went into a cable that was not there.
    assert facts["said"] == {"REQUEST": "IN_DOUBT", "REPLY": "IN_DOUBT"}
    assert facts["became"] == {"REQUEST": "FILLED", "REPLY": "FILLED", "after": "FILLED"}
    assert facts["blind"] == ["DEGRADED", 0, 0]
    assert facts["open"] == 4
