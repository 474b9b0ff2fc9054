"""Show how far a command is, if the command takes more than a second and a person watches.

The display is a line on stderr, only if stderr is a terminal, and is wiped away at the end. So a
pipe, a file and a log never get it, and what a command prints on stdout is the same.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

Item = TypeVar("Item")

AFTER_SEC = 1.0
# A call for each item would cost more than many items themselves.
ITEMS_AT_ONCE = 1_000


class Progress:
    """A line that says what a command does, and how much of it is done.

    Args:
        what: what the command does, such as `Verifying EURUSD`.
        total: how many steps there are; None if that is not known.
    """

    def __init__(self, what: str, total: int | None = None) -> None:
        self._what, self._total = what, total
        self._done = 0
        self._bar: Bar | None = None
        self._turn = threading.Lock()
        self._is_over = not _is_watched()
        self._timer = threading.Timer(AFTER_SEC, self._show)
        self._timer.daemon = True

    def begin(self) -> None:
        """Show the line after a second."""
        if self._is_over:
            return
        if AFTER_SEC:
            self._timer.start()
        else:
            self._show()

    def reach(self, done: int) -> None:
        """Say how many steps are done."""
        self._done = done
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=done)

    def advance(self, steps: int = 1) -> None:
        """Say that some more steps are done."""
        self.reach(self._done + steps)

    def watch(self, items: Iterable[Item]) -> Iterator[Item]:
        """Yield items, each of which is a step."""
        count = 0
        for count, item in enumerate(items, start=1):
            if count % ITEMS_AT_ONCE == 0:
                self.advance(ITEMS_AT_ONCE)
            yield item
        self.advance(count % ITEMS_AT_ONCE)

    def end(self) -> None:
        """Wipe the line away; from now on nothing is shown."""
        self._timer.cancel()
        with self._turn:
            self._is_over = True
            bar, self._bar = self._bar, None
        if bar is not None:
            bar.stop()

    @contextlib.contextmanager
    def aside(self) -> Iterator[None]:
        """Take the line away while something else is printed."""
        bar = self._bar
        if bar is not None:
            bar.stop()
        yield
        if bar is not None:
            bar.start()

    def _show(self) -> None:
        # Imported here: without a person who waits there is nothing to draw.
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

        bar = Progress(
            "{task.description}",
            BarColumn(bar_width=20),
            *([] if self._total is None else [MofNCompleteColumn(), TimeRemainingColumn()]),
            console=Console(stderr=True),
            transient=True,
            # Another stream may be a file, whose lines must not go to the terminal.
            redirect_stdout=False,
            redirect_stderr=False,
        )
        task = bar.add_task(self._what, total=self._total)
        with self._turn:
            if self._is_over:
                return
            self._bar = bar
            # Only now: another thread may have gone on before it saw the bar.
            bar.update(task, completed=self._done)
            bar.start()


@contextlib.contextmanager
def progress(what: str, total: int | None = None) -> Iterator[Progress]:
    """Show the progress of a block; see `Progress`."""
    shown = Progress(what, total)
    shown.begin()
    try:
        yield shown
    finally:
        shown.end()


def _is_watched() -> bool:
    """Return whether a person sees stderr, on a terminal that can wipe a line away."""
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
