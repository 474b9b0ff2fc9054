"""mt5-trading-mcp by its tools, as an MCP client calls them, with an idempotency key."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from mcp.shared.memory import create_connected_server_and_client_session

SYMBOL = os.environ["PEERS_SYMBOL"]
# One wish has one key, also for a program that starts again.
KEY = "6f1d7a52-5b1e-4c53-9f0e-2b1a4c1d9e{:02}"


class Peer:
    """A session with the server."""

    def __init__(self, session: Any) -> None:
        self.session = session

    async def call(self, tool: str, **arguments: Any) -> Any:
        """Call a tool, and return what it says."""
        result = await self.session.call_tool(tool, arguments)
        parts = [part.text for part in result.content]
        if result.isError:
            return {"error": {"message": "\n".join(parts)}}
        values = [json.loads(text) for text in parts]
        # A list comes as one part for each row.
        return values[0] if len(values) == 1 else values

    async def open_one(self, wish: int = 0) -> tuple[str, Any]:
        """Buy 0.1 lots."""
        said = await self.call(
            "place_order",
            symbol=SYMBOL,
            side="buy",
            type="market",
            volume="0.1",
            idempotency_key=KEY.format(wish),
        )
        error = said.get("error")
        if error is None:
            return "done", f"ticket {said['ticket']}, replayed: {said['replayed']}"
        replayed = f", replayed: {said.get('replayed')}"
        return "failed", f"{error.get('code')}: {error.get('message')}{replayed}"

    async def shown(self) -> int:
        """Return how many positions the package shows."""
        return len(_rows(await self.call("get_positions")))

    def tour(self) -> Iterator[tuple[str, Callable[[], Awaitable[Any]]]]:
        """Yield each kind of call."""
        yield "tools", self._tools
        yield "ping", self._ping
        yield "account", lambda: _names(self.call("get_account_info"))
        yield "terminal", lambda: _names(self.call("get_terminal_info"))
        yield "symbols", lambda: _names(self.call("get_symbols"))
        yield "quote", lambda: _names(self.call("get_quote", symbol=SYMBOL))
        yield (
            "rates",
            lambda: _names(self.call("get_rates", symbol=SYMBOL, timeframe="M1", count=50)),
        )
        yield "margin", self._margin
        yield "open", self.open_one
        yield "the same again", self.open_one
        yield "shown", self.shown
        yield "modify", self._modify
        yield "place pending", self._place
        yield "pending", lambda: _names(self.call("get_orders"))
        yield "change pending", self._change
        yield "cancel pending", self._cancel
        yield "pending left", lambda: _names(self.call("get_orders"))
        yield "close", self._close
        yield "shown at last", self.shown
        yield "history", self._history

    async def _tools(self) -> Any:
        return sorted(tool.name for tool in (await self.session.list_tools()).tools)

    async def _ping(self) -> Any:
        said = await self.call("ping")
        said.pop("latency_ms", None)
        return said

    async def _margin(self) -> Any:
        return await self.call("calc_margin", symbol=SYMBOL, side="buy", volume="0.1")

    async def _modify(self) -> Any:
        (row,) = _rows(await self.call("get_positions"))
        said = await self.call("modify_order", ticket=row["ticket"], sl="1.0", tp="1.3")
        (row,) = _rows(await self.call("get_positions", symbol=SYMBOL))
        return said.get("error"), row.get("sl"), row.get("tp"), row.get("comment")

    async def _place(self) -> Any:
        said = await self.call(
            "place_order", symbol=SYMBOL, side="buy", type="limit", volume="0.1", price="1.01"
        )
        return said.get("error")

    async def _change(self) -> Any:
        (row,) = _rows(await self.call("get_orders"))
        return (await self.call("modify_order", ticket=row["ticket"], price="1.02")).get("error")

    async def _cancel(self) -> Any:
        (row,) = _rows(await self.call("get_orders"))
        return (await self.call("cancel_order", ticket=row["ticket"])).get("error")

    async def _history(self) -> Any:
        now = datetime.now(UTC)
        first, last = now - timedelta(days=1), now + timedelta(days=1)
        span = {"from_ts": first.isoformat(), "to_ts": last.isoformat()}
        return await _names(self.call("get_history", **span))

    async def _close(self) -> Any:
        (row,) = _rows(await self.call("get_positions"))
        return (await self.call("close_position", ticket=row["ticket"])).get("error")


def _rows(said: Any) -> list[Any]:
    if isinstance(said, list):
        return said
    if isinstance(said, dict) and "error" in said:
        raise TypeError(said["error"])
    return [said]


async def _names(call: Awaitable[Any]) -> Any:
    said = await call
    if isinstance(said, list):
        return len(said), sorted(said[0]) if said and isinstance(said[0], dict) else said[:3]
    return sorted(said) if "error" not in said else said


@asynccontextmanager
async def connected() -> AsyncIterator[Peer]:
    """Start the server as its command does, and connect a client to it."""
    os.environ["MT5_LOGIN"] = os.environ["PEERS_LOGIN"]
    os.environ["MT5_PASSWORD"] = os.environ["PEERS_PASSWORD"]
    os.environ["MT5_SERVER"] = os.environ["PEERS_SERVER"]
    from mt5_mcp.server import build_server

    server = build_server()
    async with create_connected_server_and_client_session(server._mcp_server) as session:
        # It connects to the terminal at the first call.
        await session.call_tool("ping", {})
        yield Peer(session)
