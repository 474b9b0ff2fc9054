"""Locking a file by the operating system, which ends the lock with the process that holds it.

The lock is on the file and does not hinder reading it: whoever finds it locked can read in it who
has it.
"""

from __future__ import annotations

import os
import sys

BINARY = getattr(os, "O_BINARY", 0)
"""A flag for `os.open`: Windows would translate line ends otherwise."""

if sys.platform == "win32":
    import msvcrt

    # A locked byte cannot be read by others: lock one far behind what is written.
    _LOCKED_BYTE = 1 << 30

    def lock(handle: int) -> None:
        """Lock an open file.

        Raises:
            OSError: another has it.
        """
        os.lseek(handle, _LOCKED_BYTE, os.SEEK_SET)
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def lock(handle: int) -> None:
        """Lock an open file.

        Raises:
            OSError: another has it.
        """
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
