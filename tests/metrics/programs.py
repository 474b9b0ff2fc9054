"""Prometheus' own programs, by which the metrics are checked."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest


def program(name: str) -> str:
    """The path of a program; without it the test is skipped, and fails in CI on Linux."""
    found = shutil.which(name)
    if found is None:
        missing = f"{name} is not installed: apt-get install prometheus"
        if os.environ.get("CI") and sys.platform == "linux":
            pytest.fail(missing)
        pytest.skip(missing)
    return found


def promtool(*arguments: str, text: str | None = None) -> str:
    """Run promtool, which must find no fault, and return what it says."""
    done = subprocess.run(
        [program("promtool"), *arguments],
        input=text,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    return said
