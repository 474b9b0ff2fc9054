"""A walk-through of the documentation, executed as its reader executes it, in two shells.

A page has blocks. `console title="first shell"` and `"second shell"` hold commands ("$ " and the
words) and what the reader then sees; any other block with a title is a file that the reader writes.

* A command of the first shell may go on: the following blocks wait for its output. `^C` interrupts
  it. `kill -9 PROCESS` of the second shell kills it.
* Each line below a command must come, in this order; other lines may come between.
* "..." stands for any text. A ticket, an order id, the id of a hold, a time, a price and an amount
  of money are examples: the first such word is bound to what is there, and the same word in a
  later line or command stands for that.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, Self

from tests.paper.deadline import wait_for

COMMAND_SEC = 90.0
_BLOCK = re.compile(r'^```(\w+) title="([^"]+)"\n(.*?)^```', re.DOTALL | re.MULTILINE)
# Bound to what is there: tickets, process numbers after the word, order ids, ids of holds.
_BOUND = (
    r"(?<![\w.:/])\d{9,12}(?![\w.])|\bORD_\d+_[0-9a-f]{8}\b|\b(?:zombie|ghost|drift|proposal)-[0-9a-f]{8}\b"
    r"|(?<=process )\d+|(?<=tcp://127\.0\.0\.1:)\d+"
)
# Different at each run, and bound to nothing.
_FREE = r"\d\d:\d\d:\d\d(?:\.\d+)?Z?|\d{4}-\d\d-\d\d|[-+]?\d+\.\d{2,5}|\.\.\."
_WORDS = re.compile(f"(?P<bound>{_BOUND})|(?P<free>{_FREE})")


class Block(NamedTuple):
    """A block of a page."""

    title: str
    text: str


class Step(NamedTuple):
    """A command, and the lines that follow."""

    command: str
    lines: list[str]


def blocks(page: str) -> list[Block]:
    """Return the blocks of a page that have a title."""
    return [Block(title, text) for _, title, text in _BLOCK.findall(page)]


def steps(text: str) -> Iterator[Step]:
    """Yield the commands of a console block; lines before the first belong to an empty command."""
    step = Step("", [])
    for line in text.splitlines():
        if line.startswith("$ "):
            if step.command or step.lines:
                yield step
            step = Step(line[2:], [])
        elif line.strip():
            step.lines.append(line)
    yield step


class Walk:
    """The reader of a page: a folder, two shells, and the examples that were bound so far.

    Args:
        folder: the reader's folder, a checkout with its environment.
        variables: what the environment has besides.
    """

    def __init__(self, folder: Path, variables: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self.bound: dict[str, str] = {}
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("GTW_", "TRUEUP_"))}
        self.environment = {
            **clean,
            # The environment that is lent to the checkout has the package of another.
            "PYTHONPATH": str(folder / "src"),
            "PYTHONUTF8": "1",
            "COLUMNS": "80",
            **(variables or {}),
        }
        self._first: subprocess.Popen[bytes] | None = None
        self._log = folder / ".first-shell.log"
        self._seen = 0

    def follow(self, page: str) -> None:
        """Do all that a page says, and see all that it shows."""
        for block in blocks(page):
            if block.title == "first shell":
                self._in_first(block.text)
            elif block.title == "second shell":
                self._in_second(block.text)
            else:
                text = self._actual(block.text)
                (self.folder / block.title).write_text(text, encoding="utf-8")

    def _actual(self, text: str) -> str:
        """Return a text of the page with the examples that were bound replaced by what is there."""
        for example, actual in self.bound.items():
            text = text.replace(example, actual)
        return text

    def _in_first(self, text: str) -> None:
        for step in steps(text):
            if step.command:
                self._start(step.command)
            for line in step.lines:
                self._interrupt() if line == "^C" else self._see(line)

    def _start(self, command: str) -> None:
        assert self._first is None or self._ended(), f"the first shell is busy: {command}"
        self._seen = 0
        with self._log.open("wb") as log:
            self._first = subprocess.Popen(
                self._words(command),
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _ended(self) -> bool:
        child = self._first
        assert child is not None
        wait_for(lambda: child.poll() is not None, lambda: f"the end of\n{self._text()}")
        return True

    def _text(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")

    def _see(self, line: str) -> None:
        """Wait for a line of the first shell, after the lines that were seen."""
        pattern = self._pattern(line)

        def is_there() -> bool:
            found = pattern.search(self._text(), self._seen)
            ended = self._first is None or self._first.poll() is not None
            found = found or (pattern.search(self._text(), self._seen) if ended else None)
            assert found or not ended, (
                f"ended without {line!r}, {pattern.pattern} in\n{self._text()}"
            )
            if found is not None:
                self._seen = found.end()
                self._bind(found)
            return found is not None

        wait_for(is_there, lambda: f"{line!r}, {pattern.pattern} in\n{self._text()}")

    def _in_second(self, text: str) -> None:
        for step in steps(text):
            if re.match(r"(?:pkill|kill) -9 ", step.command):
                self._signal(signal.SIGKILL)
                self._ended()
                continue
            done = subprocess.run(
                self._words(step.command),
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                encoding="utf-8",
                timeout=COMMAND_SEC,
            )
            at = 0
            for line in step.lines:
                found = self._pattern(line).search(done.stdout, at)
                assert found, (
                    f"{line!r} is missing after {step.command!r}, which printed\n{done.stdout}"
                )
                self._bind(found)
                at = found.end()

    def _words(self, command: str) -> list[str]:
        """Return a command's words, as this machine has the programs."""
        program, *words = shlex.split(self._actual(command))
        return [sys.executable if program == "python" else program, *words]

    def _pattern(self, line: str) -> re.Pattern[str]:
        """Return the pattern of a line; what it binds are its groups, in order."""
        self._examples: list[str] = []
        parts, at = [], 0
        for word in _WORDS.finditer(line):
            parts.append(_spaced(line[at : word.start()]))
            at = word.end()
            example = word.group()
            if word.group("free"):
                parts.append(r".*?" if example == "..." else r"[-+\d.:Z]+")
            elif example in self.bound:
                parts.append(re.escape(self.bound[example]))
            elif example in self._examples:
                parts.append(rf"(?P=g{self._examples.index(example)})")
            else:
                kind = r"[\w-]+" if not example.isdigit() else r"\d+"
                parts.append(rf"(?P<g{len(self._examples)}>{kind})")
                self._examples.append(example)
        parts.append(_spaced(line[at:]))
        return re.compile("".join(parts))

    def _bind(self, found: re.Match[str]) -> None:
        for number, example in enumerate(self._examples):
            self.bound[example] = found[f"g{number}"]

    def _interrupt(self) -> None:
        self._signal(signal.SIGINT)
        self._ended()

    def _signal(self, number: signal.Signals) -> None:
        """Signal the first shell's command as a terminal does: with every process that it has."""
        assert self._first is not None
        os.killpg(self._first.pid, number)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._first is not None and self._first.poll() is None:
            self._signal(signal.SIGKILL)
            self._first.wait()
        if (self.folder / ".trueup" / "terminal.json").exists():
            subprocess.run(
                [".venv/bin/trueup", "terminal", "--stop"],
                cwd=self.folder,
                env=self.environment,
                capture_output=True,
                check=False,
            )


def _spaced(text: str) -> str:
    """Return a text as a pattern in which any number of blanks may stand for some."""
    return re.sub(r"(\\ )+", r"\\s+", re.escape(text))
