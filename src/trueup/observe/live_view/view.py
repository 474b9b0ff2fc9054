"""Keep the drawing of a status on a console up to date, in the console's alternate screen."""

from __future__ import annotations

from rich.console import Console
from rich.live import Live

from trueup.observe.live_view.drawing import render
from trueup.observe.live_view.screen_guard import ScreenGuard
from trueup.observe.status.status import Status


class LiveView:
    """Shows one status on a console; the console's earlier content comes back at the end.

    Args:
        console: the console.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False, screen=True)
        self._guard = ScreenGuard(console.file)
        self._last: tuple[Status, str, int, int] | None = None

    def __enter__(self) -> LiveView:
        self._guard.start()
        self._live.start()
        # A process that is killed cannot show a hidden cursor again, so never hide the cursor.
        self._console.show_cursor(True)
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()
        self._guard.stop()

    def show(self, status: Status, foot: str) -> None:
        """Draw a status in place of the last; do nothing if both are equal."""
        size = self._console.size
        drawing = (status, foot, size.width, size.height)
        if drawing != self._last:
            self._last = drawing
            self._live.update(render(*drawing), refresh=True)
