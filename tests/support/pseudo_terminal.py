"""A program that believes to stand before a person: its input and output are a terminal."""

from __future__ import annotations

import contextlib
import os
import re
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from tests.paper.deadline import DEADLINE_SEC

ON_POSIX = pytest.mark.skipif(sys.platform == "win32", reason="POSIX has pseudo terminals")
# Make the terminal the process's own, as of a person who logs in: a shell asks for that. And a
# program that is started in the background does not inherit an ignored Ctrl-C.
_LOG_IN = """
import fcntl, os, signal, sys, termios
signal.signal(signal.SIGINT, signal.SIG_DFL)
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execvp(sys.argv[1], sys.argv[1:])
"""
# What moves the cursor, colours, sets titles and modes.
_CONTROLS = re.compile(
    r"\x1b(\[[0-9;?<>=]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)|[PX^_].*?\x1b\\|[()][A-Z0-9]|.)"
)


class PseudoTerminal:
    """A program in a pseudo terminal, and all that it has shown so far."""

    def __init__(
        self,
        words: Sequence[str],
        folder: Path,
        environment: Mapping[str, str],
        size: tuple[int, int] = (24, 80),
    ) -> None:
        # Imported here: Windows has neither of them.
        import pty
        import termios

        self._ours, theirs = pty.openpty()
        termios.tcsetwinsize(theirs, size)
        self.child = subprocess.Popen(
            [sys.executable, "-c", _LOG_IN, *words],
            cwd=folder,
            env={**environment, "TERM": "xterm", "LINES": str(size[0]), "COLUMNS": str(size[1])},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        self.raw = ""

    @property
    def shown(self) -> str:
        """All text so far, without what only moves or colours."""
        return _CONTROLS.sub("", self.raw)

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self._ours, text.encode())

    def wait_for(self, text: str, *, after: int = 0) -> int:
        """Read until a text is shown behind a place; return the place behind the text."""
        deadline = time.monotonic() + DEADLINE_SEC
        while text not in self.shown[after:]:
            left = deadline - time.monotonic()
            assert left > 0, f"waited in vain for {text!r} in {self.shown[after:]!r}"
            if not self._read(left):
                assert text in self.shown[after:], f"ended without {text!r}: {self.shown!r}"
        return self.shown.index(text, after) + len(text)

    def wait_for_control(self, sequence: str) -> None:
        """Read until a control sequence has come."""
        deadline = time.monotonic() + DEADLINE_SEC
        while sequence not in self.raw:
            left = deadline - time.monotonic()
            assert left > 0, f"waited in vain for {sequence!r} in {self.raw!r}"
            assert self._read(left), f"ended without {sequence!r}: {self.raw!r}"

    def read_to_the_end(self) -> int:
        """Read until the program ends; return its exit code."""
        deadline = time.monotonic() + DEADLINE_SEC
        while self._read(deadline - time.monotonic()):
            assert time.monotonic() < deadline, f"has not ended: {self.shown!r}"
        return self.child.wait(DEADLINE_SEC)

    def close(self) -> None:
        """End the program."""
        self.child.kill()
        self.child.wait()
        os.close(self._ours)

    def _read(self, seconds: float) -> bool:
        """Read what is there within some seconds; return False at the end of the output."""
        ready, _, _ = select.select([self._ours], [], [], max(seconds, 0))
        if not ready:
            return True
        # Linux answers EIO where the other side is closed.
        try:
            piece = os.read(self._ours, 65_536)
        except OSError:
            return False
        self.raw += piece.decode(errors="replace")
        return bool(piece)


@contextlib.contextmanager
def terminal(
    words: Sequence[str], folder: Path, environment: Mapping[str, str]
) -> Iterator[PseudoTerminal]:
    """A program in a pseudo terminal, which ends with the block."""
    made = PseudoTerminal(words, folder, environment)
    try:
        yield made
    finally:
        made.close()
