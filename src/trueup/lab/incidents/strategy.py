"""The strategy of an incident's bot: buys once, then trades when a rehearsal asks for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

ORDER_FILE = "order-now"
VOLUME = 0.02
# So far away that the stop does not act in the minutes of a rehearsal.
STOP_BELOW = 0.05


class Rehearsal:
    """Keeps one position with a stop loss, and sends an order when the file `order-now` appears."""

    def on_start(self, account: Any) -> None:
        """Keep the account."""
        self._account = account

    def on_tick(self, tick: Any) -> None:
        """Buy once; then buy or sell what the file says."""
        if not self._account.positions and not self._account.manager.book.in_doubt:
            self._send("buy", tick)
            return
        asked = Path(ORDER_FILE)
        if asked.exists():
            side = asked.read_text("ascii").strip()
            asked.unlink()
            self._send(side, tick)

    def _send(self, side: str, tick: Any) -> None:
        stop = tick.bid - STOP_BELOW if side == "buy" else tick.ask + STOP_BELOW
        self._account.submit(side, VOLUME, symbol=tick.symbol, sl=round(stop, 5), why="rehearsal")
