"""The streams of a server's journal that are of no account's scope: those of bots of one symbol.

Each opening of an account asks for them, and a fleet's journal has the names of thousands of
accounts beside them. So the names are read again only when the set of all names has changed, and
the openings that ask at the same time share an answer.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Final

from trueup.core.claims import has_scope

# Two sums of 32-bit hashes, which every server has.
_CHECKSUM: Final = (
    "SELECT count(*), sum(hashtext(stream)::bigint), sum(hashtext(stream || '.')::bigint)"
    " FROM journal_writers"
)
_NAMES: Final = "SELECT stream FROM journal_writers ORDER BY stream"


class BotStreams:
    """The names, of all users of a database in this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # How often a look was begun, and the number of the look that the names are of.
        self._begun = self._number = 0
        self._checksum: object = None
        self._names: tuple[str, ...] = ()

    def names(self, fetch: Callable[[str], list[Any]]) -> tuple[str, ...]:
        """Return the names of a moment after this call, in order; `fetch` runs a statement."""
        begun = self._begun
        with self._lock:
            # A look that was begun before the call may have missed a stream that is there now.
            if self._number <= begun:
                self._begun += 1
                number = self._begun
                # Before the names: a stream that is added in between is looked for again later.
                checksum = fetch(_CHECKSUM)
                if checksum != self._checksum:
                    names = (str(name) for (name,) in fetch(_NAMES))
                    self._names = tuple(name for name in names if not has_scope(name))
                    self._checksum = checksum
                self._number = number
            return self._names
