"""Feed one decoder many inputs in a process of its own, and say by how many MB its memory grew.

    python -m tests.fuzz.soaking tests.fuzz.decoders:Hints 7 1000

It has a process of its own because memory that another test has used and given back would be used
again by what a decoder keeps, and nothing would seem to grow.
"""

from __future__ import annotations

import gc
import logging
import pkgutil
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.fuzz.decoders import Decoder
from tests.fuzz.mutation import drawn
from tests.support.crash_world import ROOT

SLOWEST_SEC = 2.0
MEMORY_GROWTH_MB_MOST = 10.0
STATUS = Path("/proc/self/statm")
BYTES_IN_A_MB = 1 << 20


def path_of(kind: Callable[[Path], Decoder]) -> str:
    """Return a decoder's class as another process finds it."""
    return f"{kind.__module__}:{kind.__qualname__}"


def soak(decoder: str, seed: int, count: int) -> None:
    """Feed a decoder, named as `module:Class`, in a process of its own.

    Raises:
        AssertionError: an input was neither read nor named, or took too long, or memory grew.
    """
    arguments = [sys.executable, "-m", __name__, decoder, str(seed), str(count)]
    done = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, encoding="utf-8")
    assert not done.returncode, f"{' '.join(arguments)}\n{done.stderr}"


def grown_mb(decoder: Decoder, chance: random.Random, count: int) -> float:
    """Feed a decoder, and return by how much memory grew after the first tenth of the inputs.

    By then everything is imported, and every cache is as full as it gets.
    """
    began_mb = 0.0
    for number in range(count):
        if number == count // 10:
            began_mb = memory_mb()
        feed(decoder, drawn(chance, decoder.messages))
    return memory_mb() - began_mb


def feed(decoder: Decoder, raw: bytes) -> None:
    """Feed one input.

    Raises:
        AssertionError: it took too long.
    """
    # The time of this process alone: on a busy machine a short input may wait for seconds.
    began = time.process_time()
    try:
        decoder.feed(raw)
    except BaseException as error:
        error.add_note(f"fed: {raw!r}")
        raise
    assert time.process_time() - began < SLOWEST_SEC, raw


def memory_mb() -> float:
    """Return what this process has in memory: on Linux now, elsewhere the most so far, and 0 on
    Windows, which does not say it to Python.

    On Linux the most so far is no use: a new process begins with that of the one that started it.
    """
    gc.collect()
    if sys.platform == "win32":
        return 0.0
    import resource

    if STATUS.exists():
        pages = int(STATUS.read_text(encoding="ascii").split()[1])
        return pages * resource.getpagesize() / BYTES_IN_A_MB
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / BYTES_IN_A_MB if sys.platform == "darwin" else most / 1024


def main(name: str, seed: int, count: int) -> None:
    """Be the process."""
    logging.disable(logging.CRITICAL)
    with tempfile.TemporaryDirectory() as folder:
        decoder = pkgutil.resolve_name(name)(Path(folder))
        grown = grown_mb(decoder, random.Random(f"{seed} {name}"), count)
    sys.stdout.write(f"{grown:.2f} MB\n")
    assert grown < MEMORY_GROWTH_MB_MOST, f"memory grew by {grown:.1f} MB"


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
