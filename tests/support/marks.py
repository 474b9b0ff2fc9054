"""Why some tests cannot run on Windows."""

from __future__ import annotations

import sys

import pytest

needs_interrupt = pytest.mark.skipif(
    sys.platform == "win32",
    reason="Windows sends Ctrl-C to a whole console, as in tests/wine/test_console.py",
)
