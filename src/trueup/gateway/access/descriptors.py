"""Limit the open files of this process, and reserve some that clients cannot use up.

On POSIX each connection is an open file, and the system limits the open files of a process. libzmq
accepts every TCP connection, so an unauthenticated connection holds a file until the handshake
timeout. So the limit is set as high as is useful, but below the system's maximum. The files that
the gateway itself must open during a connection flood (an edited allow file, a request record, the
terminal's worker) are opened inside `spare`, which raises the limit to that maximum. Windows has no
such limit.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from typing import Final

CONNECTIONS_MAX: Final = 1_000
# A gateway listens on two ports: one for requests, one for hints.
PORTS: Final = 2
# Reserved for all other files: records, logs, the terminal's worker.
OTHER_FILES: Final = 512
# A connection that has sent only its greeting uses 14 kB: 110 MB for this many.
FILES_MAX: Final = 8_192
# Distance between our limit and the system's maximum, where that maximum is below FILES_MAX.
_SPARE: Final = 64
_SPARE_SHARE: Final = 8
_FEWEST: Final = 16


if sys.platform == "win32":

    def limit_files() -> int:
        """Return how many files this process may have open."""
        # Windows counts sockets and files separately, and allows millions of each.
        return FILES_MAX

    def raise_files(wanted: int) -> int:
        """Let this process have so many open files if possible; return how many it can have."""
        return max(wanted, FILES_MAX)

    def spare() -> contextlib.AbstractContextManager[None]:
        """Return a context in which files can be opened although clients have used up the limit."""
        return contextlib.nullcontext()
else:
    import resource

    def limit_files() -> int:
        """Set the limit of open files of this process, and return the limit."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = FILES_MAX
        if hard != resource.RLIM_INFINITY:
            wanted = min(FILES_MAX, hard - min(_SPARE, hard // _SPARE_SHARE))
        if soft == wanted or _set_soft(wanted, hard) or soft == resource.RLIM_INFINITY:
            return wanted
        return min(soft, wanted)

    def raise_files(wanted: int) -> int:
        """Let this process have so many open files if possible; return how many it can have."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft == resource.RLIM_INFINITY or soft >= wanted:
            return wanted if soft == resource.RLIM_INFINITY else soft
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        return most if _set_soft(most, hard) else soft

    def _set_soft(soft: int, hard: int) -> bool:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        except (OSError, ValueError):
            return False
        return True

    class _Spare(contextlib.AbstractContextManager[None]):
        """Raises the limit to the system's maximum while any thread is inside.

        Clients can take some of the extra files too, but only a few in so short a time.
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
        """Return a context in which files can be opened although clients have used up the limit."""
        return _spare


def connections_max() -> int:
    """Return the connection limit of each port; sets the limit of open files first."""
    return max(_FEWEST, min(CONNECTIONS_MAX, (limit_files() - OTHER_FILES) // PORTS))
