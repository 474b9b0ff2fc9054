"""Give a terminal its screen back if the process that took the screen is killed.

A view in the alternate screen that is killed leaves its last figures there, where they look
current, and the shell behind them. A killed process can do nothing about that. So a tiny shell
waits for the end of the process, and leaves the alternate screen unless the process has done so.
Windows has no such shell; there the console shows the last figures until it is cleared.
"""

from __future__ import annotations

import subprocess
from contextlib import suppress
from pathlib import Path
from typing import IO

_SHELL = Path("/bin/sh")
# Leave the alternate screen, and show the cursor (xterm control sequences, DECSET 1049 and 25).
_LEAVE = r"\033[?1049l\033[?25h"
_SCRIPT = f"read -r ended; [ -n \"$ended\" ] || printf '{_LEAVE}'"
_END_SEC = 1.0


class ScreenGuard:
    """Waits for the end of this process beside a view.

    Args:
        file: the terminal; nothing is done for any other file.
    """

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        self._shell: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start to wait; without a shell, the view works all the same."""
        if not self._file.isatty() or not _SHELL.exists():
            return
        with suppress(OSError):
            self._shell = subprocess.Popen(
                [_SHELL, "-c", _SCRIPT],
                stdin=subprocess.PIPE,
                stdout=self._file.fileno(),
                stderr=subprocess.DEVNULL,
                # Ctrl-C reaches every process of the terminal's group, and would end the guard.
                start_new_session=True,
            )

    def stop(self) -> None:
        """Say that the screen was given back in order."""
        if self._shell is None:
            return
        # The guard may have been killed.
        with suppress(OSError, subprocess.TimeoutExpired):
            self._shell.communicate(b"ended\n", _END_SEC)
