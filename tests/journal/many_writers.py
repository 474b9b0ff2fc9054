"""A process that writes many streams, told by lines; see `many_writers_process.py`."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support import forked

PROGRAM = Path(__file__).with_name("many_writers_process.py")
SOURCES = Path(__file__).parents[2] / "src"


class ManyWriters:
    """A process that writes the streams `account-0`, `account-1` and so on."""

    def __init__(self, url: str, holder: str, streams: int, threads: int) -> None:
        self._streams = streams
        self.process, self._told, self._said = forked.start_piped(
            [str(PROGRAM), url, holder, str(streams), str(threads)],
            cwd=SOURCES,
            env={**os.environ, "PYTHONPATH": str(SOURCES), "PYTHONUTF8": "1"},
        )
        self.refusals: list[str] = []
        while not (line := self.line()).startswith("open "):
            self.refusals.append(line)
        self.opened = int(line.split()[1])

    def line(self) -> str:
        """Return the next line it says."""
        line = self._said.readline()
        assert line, "it ended"
        return line.rstrip("\n")

    def lines(self) -> list[str]:
        """Return the lines about one event of each stream."""
        return [self.line() for _ in range(self._streams)]

    def tell(self, command: str) -> None:
        """Give it a command without waiting for what it says."""
        self._told.write(f"{command}\n")

    def kill(self) -> list[str]:
        """Kill it; return the whole lines that it still had said."""
        self.process.kill()
        said = [] if self._said.closed else list(self._said)
        self.process.wait()
        self._told.close()
        self._said.close()
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
