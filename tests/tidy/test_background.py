"""The tests can be run in the background of a shell."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LOOK = """
import signal
signal.signal(signal.SIGINT, signal.SIG_IGN)
import tests.conftest
print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no shell of Windows lets Ctrl-C be ignored")
def test_ctrl_c_reaches_programs_of_tests_that_a_shell_runs_in_the_background() -> None:
    asked = [sys.executable, "-c", LOOK]
    said = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=True)
    assert said.stdout.split() == ["True"]
