"""A rotating log file that survives a failed rename and a full disk."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path


class LogFile(RotatingFileHandler):
    """A log file that continues if a rename fails, as on Windows while a reader has the file open.

    The standard handler would lose each later line, and an older file with each line. While the
    file cannot be written, as on a full disk, lines are lost; `tell` gets a sentence once.
    """

    stream: TextIOWrapper

    _is_lost = False

    def __init__(
        self, path: Path, bytes_max: int, files_kept: int, tell: Callable[[str], None]
    ) -> None:
        super().__init__(path, maxBytes=bytes_max, backupCount=files_kept, encoding="utf-8")
        self._tell = tell

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line."""
        was_lost, self._is_lost = self._is_lost, False
        super().emit(record)
        if self._is_lost and not was_lost:
            self._tell(f"Lines of the log {self.baseFilename} are lost: {self._because}.")

    def handleError(self, record: logging.LogRecord) -> None:
        """Note that a line was lost."""
        self._is_lost, self._because = True, sys.exception()

    def doRollover(self) -> None:
        """Begin a new file; if that fails, continue in this file and retry at the next line."""
        if self.stream is not None:
            self.stream.close()
        try:
            # Before the older files are moved, so that they stay in place if this fails.
            os.replace(self.baseFilename, self._aside)
        except OSError:
            self.stream = self._open()
        else:
            super().doRollover()

    def rotate(self, source: str, dest: str) -> None:
        """Give the closed file its number."""
        super().rotate(self._aside, dest)

    @property
    def _aside(self) -> str:
        return f"{self.baseFilename}.full"
