"""How many files this process may have open, and a few more that strangers cannot take.

On POSIX each connection is an open file, and the system limits those of a process. libzmq takes
every connection that comes, and a stranger's costs a file until the time for its handshake is over.
So the limit is set as high as is useful, and below what the system allows. What the gateway has to
open itself during a flood (the allow file that was just edited, a record, the terminal's worker) is
opened within `spare`, beyond that limit. Windows has no such limit.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from typing import Final

CONNECTIONS_MAX: Final = 1_000
# Requests come on one, hints go out on the other.
PORTS: Final = 2
# Kept for everything else: records, logs, the terminal's worker.
OTHER_FILES: Final = 512
# A connection that has sent its greeting and nothing more holds 14 kB: 110 MB in all.
FILES_MAX: Final = 8_192
# How far the limit stays below what the system allows, where that is little.
_SPARE: Final = 64
_SPARE_SHARE: Final = 8
_FEWEST: Final = 16


if sys.platform == "win32":

    def limit_files() -> int:
        """Return how many files this process may have open."""
        # Sockets and files are counted apart there, and by the million.
        return FILES_MAX

    def spare() -> contextlib.AbstractContextManager[None]:
        """Open files in a block although strangers have taken all there are."""
        return contextlib.nullcontext()
else:
    import resource

    def limit_files() -> int:
        """Set how many files this process may have open, and return the number."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = FILES_MAX
        if hard != resource.RLIM_INFINITY:
            wanted = min(FILES_MAX, hard - min(_SPARE, hard // _SPARE_SHARE))
        if soft == wanted or _set_soft(wanted, hard) or soft == resource.RLIM_INFINITY:
            return wanted
        return min(soft, wanted)

    def _set_soft(soft: int, hard: int) -> bool:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        except (OSError, ValueError):
            return False
        return True

    class _Spare(contextlib.AbstractContextManager[None]):
        """Raises the limit to what the system allows, for as long as any thread is inside.

        Strangers take some of those files as well, and each only a few, so short a time it takes.
        """

        def __init__(self) -> None:
            self._lock = threading.Lock()
            self._inside = 0
            self._limit = (0, 0)

        def __enter__(self) -> None:
            with self._lock:
                self._inside += 1
                if self._inside == 1:
                    self._limit = soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
                    if soft != hard:
                        _set_soft(hard, hard)

        def __exit__(self, *_: object) -> None:
            with self._lock:
                self._inside -= 1
                soft, hard = self._limit
                if not self._inside and soft != hard:
                    _set_soft(soft, hard)

    _spare = _Spare()

    def spare() -> contextlib.AbstractContextManager[None]:
        """Open files in a block although strangers have taken all there are."""
        return _spare


def connections_max() -> int:
    """Return how many connections each port has room for; sets the limit of files first."""
    return max(_FEWEST, min(CONNECTIONS_MAX, (limit_files() - OTHER_FILES) // PORTS))
