"""metatrader-mcp-server by its tools, as an MCP client calls them."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

from mcp.shared.memory import create_connected_server_and_client_session

SYMBOL = os.environ["PEERS_SYMBOL"]


class Peer:
    """A session with the server."""

    def __init__(self, session: Any) -> None:
        self.session = session

    async def call(self, tool: str, **arguments: Any) -> Any:
        """Call a tool, and return what it says: parsed JSON, or text."""
        result = await self.session.call_tool(tool, arguments)
        text = "\n".join(part.text for part in result.content)
        if result.isError:
            return {"error": True, "message": text}
        try:
            return json.loads(text)
        except ValueError:
            return text

    async def open_one(self, wish: int = 0) -> tuple[str, Any]:
        """Buy 0.1 lots."""
        said = await self.call("place_market_order", symbol=SYMBOL, volume=0.1, type="BUY")
        return ("failed" if said["error"] else "done"), said["message"]

    async def rows(self, tool: str, **arguments: Any) -> list[dict[str, str]]:
        """Return the rows of a table."""
        said = await self.call(tool, **arguments)
        if not isinstance(said, str):
            raise TypeError(f"{tool} said {said}")
        head, *lines = said.strip().splitlines() or [""]
        return [dict(zip(head.split(","), line.split(","), strict=False)) for line in lines]

    async def shown(self) -> int:
        """Return how many positions the package shows."""
        return len(await self.rows("get_all_positions"))

    def tour(self) -> Iterator[tuple[str, Callable[[], Awaitable[Any]]]]:
        """Yield each kind of call."""
        yield "account", self._account
        yield "symbols", lambda: self.call("get_symbols", group="*USD*")
        yield "price", self._price
        yield (
            "rates",
            lambda: _length(
                self.rows("get_candles_latest", symbol_name=SYMBOL, timeframe="M1", count=50)
            ),
        )
        yield "open", self.open_one
        yield "shown", self.shown
        yield "modify", self._modify
        yield (
            "place pending",
            lambda: self._error(
                "place_pending_order", symbol=SYMBOL, volume=0.1, type="BUY", price=1.01
            ),
        )
        yield "pending", lambda: _length(self.rows("get_all_pending_orders"))
        yield "change pending", self._change
        yield "cancel pending", self._cancel
        yield "pending left", lambda: _length(self.rows("get_all_pending_orders"))
        yield "close", self._close
        yield "shown at last", self.shown
        yield "deals", lambda: _length(self.rows("get_deals"))
        yield "orders", lambda: _length(self.rows("get_orders"))

    async def _account(self) -> Any:
        said = await self.call("get_account_info")
        return sorted(said), said.get("currency"), said.get("leverage")

    async def _price(self) -> Any:
        return sorted(await self.call("get_symbol_price", symbol_name=SYMBOL))

    async def _error(self, tool: str, **arguments: Any) -> Any:
        said = await self.call(tool, **arguments)
        return said["message"] if said["error"] else False

    async def _modify(self) -> Any:
        (row,) = await self.rows("get_all_positions")
        error = await self._error("modify_position", id=row["id"], stop_loss=1.0, take_profit=1.3)
        (row,) = await self.rows("get_positions_by_symbol", symbol=SYMBOL)
        return error, row["stop_loss"], row["take_profit"]

    async def _change(self) -> Any:
        (row,) = await self.rows("get_all_pending_orders")
        return await self._error("modify_pending_order", id=row["id"], price=1.02)

    async def _cancel(self) -> Any:
        (row,) = await self.rows("get_all_pending_orders")
        return await self._error("cancel_pending_order", id=row["id"])

    async def _close(self) -> Any:
        (row,) = await self.rows("get_all_positions")
        return await self._error("close_position", id=row["id"])


async def _length(call: Awaitable[Any]) -> int:
    return len(await call)


@asynccontextmanager
async def connected() -> AsyncIterator[Peer]:
    """Start the server as its command does, and connect a client to it."""
    for name in ("login", "password", "server"):
        os.environ[name] = os.environ[f"PEERS_{name.upper()}"]
    # Elsewhere than in the folders of Windows a terminal is not found by itself.
    os.environ["MT5_PATH"] = "terminal64.exe"
    from metatrader_mcp.server import mcp

    async with create_connected_server_and_client_session(mcp._mcp_server) as session:
        yield Peer(session)
