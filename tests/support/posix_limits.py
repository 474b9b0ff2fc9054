"""Disks that are full and files that may not be written, for this process alone."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator

import pytest

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="limits another process's files")
posix_only = pytest.mark.skipif(sys.platform == "win32", reason="needs limits and users of POSIX")


@contextlib.contextmanager
def files_limited_to(size: int) -> Iterator[None]:
    """No file of this process may grow beyond a size, as on a disk that is full."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextlib.contextmanager
def no_file_beyond(pid: int, size: int) -> Iterator[None]:
    """No file of another process may grow beyond a size, as on a disk that is full; Linux."""
    import resource

    # It may end meanwhile.
    with contextlib.suppress(ProcessLookupError):
        (_, hard) = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, hard))
    yield
    with contextlib.suppress(ProcessLookupError):
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, hard))


@contextlib.contextmanager
def without_root() -> Iterator[None]:
    """Let permissions count, which for root they do not."""
    if os.geteuid() != 0:
        yield
        return
    # The real user as well, where that can be undone: `os.access` asks about that one.
    both = hasattr(os, "setresuid")
    os.setresuid(65_534, 65_534, 0) if both else os.seteuid(65_534)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0) if both else os.seteuid(0)
