"""Why some tests cannot run on Windows."""

from __future__ import annotations

import shutil
import sys

import pytest

needs_interrupt = pytest.mark.skipif(
    sys.platform == "win32",
    reason="Windows sends Ctrl-C to a whole console, as in tests/wine/test_console.py",
)
needs_bash = pytest.mark.skipif(not shutil.which("bash"), reason="runs blocks of bash")
needs_linter = pytest.mark.skipif(
    sys.platform == "win32", reason="the linter reads the same files on Linux (`make check`)"
)
