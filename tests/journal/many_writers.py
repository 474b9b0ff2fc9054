"""A process that writes many streams, told by lines; see `many_writers_process.py`."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

PROGRAM = Path(__file__).with_name("many_writers_process.py")
SOURCES = Path(__file__).parents[2] / "src"


class ManyWriters:
    """A process that writes the streams `account-0`, `account-1` and so on."""

    def __init__(self, url: str, holder: str, streams: int, threads: int) -> None:
        self._streams = streams
        self.process = subprocess.Popen(
            [sys.executable, str(PROGRAM), url, holder, str(streams), str(threads)],
            env={**os.environ, "PYTHONPATH": str(SOURCES)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            bufsize=1,
        )
        self.refusals: list[str] = []
        while not (line := self.line()).startswith("open "):
            self.refusals.append(line)
        self.opened = int(line.split()[1])

    def line(self) -> str:
        """Return the next line it says."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "it ended"
        return line.rstrip("\n")

    def lines(self) -> list[str]:
        """Return the lines about one event of each stream."""
        return [self.line() for _ in range(self._streams)]

    def tell(self, command: str) -> None:
        """Give it a command without waiting for what it says."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{command}\n")

    def kill(self) -> list[str]:
        """Kill it; return the whole lines that it still had said."""
        self.process.kill()
        pipes = self.process.stdin, self.process.stdout
        assert pipes[1] is not None
        # Not `communicate`, which does not return what was read from the pipe already.
        said = [] if pipes[1].closed else list(pipes[1])
        self.process.wait()
        for pipe in pipes:
            assert pipe is not None
            pipe.close()
        return [line.rstrip("\n") for line in said if line[-1] == "\n"]


@contextmanager
def many_writers(url: str, holder: str, streams: int, threads: int) -> Iterator[ManyWriters]:
    """Run the process for as long as a block lasts."""
    writers = ManyWriters(url, holder, streams, threads)
    try:
        yield writers
    finally:
        writers.kill()


def acknowledged(lines: Iterable[str]) -> Counter[str]:
    """Return the last position of each stream that the process said."""
    last = Counter[str]()
    for name, position in (line.split() for line in lines):
        last[name] = max(last[name], int(position))
    return last
