"""The server: one client over standard input and output, and a thread for each call.

The server is read-only unless the person who starts it allows more. A client cannot ask for more:
the tools that are not allowed do not exist for it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import mcp_types as types
import msgspec
from mcp.server import Server
from mcp.server.context import ServerRequestContext
from mcp.server.stdio import stdio_server

from trueup import __version__
from trueup.core.book.wishes import ASSISTANT
from trueup.doors.mcp.link import Link
from trueup.doors.mcp.plain import shown
from trueup.doors.mcp.tools import INSTRUCTIONS, Allow, Tool, schema_of, tools_of
from trueup.errors import TrueupError
from trueup.logs import Logger, logger
from trueup.runtime.assistants.outcomes import WishOutcome, WishState

log: Logger = logger("trueup.mcp")

NAME = "trueup"
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9._@-]+")
LONGEST_NAME = 40

Context = ServerRequestContext[Any, Any]


class AssistantServer:
    """Answers the calls of a client.

    Args:
        link: the bot and the journal.
        allowed: what the client may do beside reading.
        who: the name of the one for whom the client asks.
        names_client: whether the client's own name is added.
    """

    def __init__(
        self, link: Link, allowed: frozenset[Allow], who: str, *, names_client: bool
    ) -> None:
        self._link, self._who, self._names_client = link, who, names_client
        self._tools = tools_of(link, allowed)
        self.server: Server[Any] = Server(
            NAME,
            version=__version__,
            instructions=INSTRUCTIONS,
            on_list_tools=self._list,
            on_call_tool=self._call,
        )
        # By default every call would be offered to a tracer: what a bot does is for its log alone.
        self.server.middleware.clear()

    def run(self) -> None:
        """Serve until the client closes its end."""
        tools = ", ".join(name for name, tool in self._tools.items() if tool.allow is not None)
        log.info("[MCP] Serving one client; beside reading it may: %s", tools or "nothing")
        anyio.run(self._serve)

    async def _serve(self) -> None:
        async with stdio_server() as (read, write):
            await self.server.run(read, write, self.server.create_initialization_options())

    async def _list(
        self, _: Context, params: types.PaginatedRequestParams | None
    ) -> types.ListToolsResult:
        return types.ListToolsResult(tools=list(map(_described, self._tools.values())))

    async def _call(
        self, context: Context, params: types.CallToolRequestParams
    ) -> types.CallToolResult:
        who = self.name_of(context)
        # A call waits for the bot, so it must not hold up the others.
        call = partial(self.answer, params.name, params.arguments or {}, who)
        return await anyio.to_thread.run_sync(call)

    def name_of(self, context: Context) -> str:
        """Return the name of the client in journal and log, such as mcp:mary/desk."""
        name = _NOT_IN_NAMES.sub("-", self._who)[:LONGEST_NAME]
        if not self._names_client:
            return f"{ASSISTANT}{name}"
        told = context.session.client_params
        client = "a client" if told is None else told.client_info.name
        return f"{ASSISTANT}{name}/{_NOT_IN_NAMES.sub('-', client)[:LONGEST_NAME]}"

    def answer(self, name: str, arguments: dict[str, Any], who: str) -> types.CallToolResult:
        """Return the answer to a call; every failure of ours is a sentence for the assistant."""
        began_ns = self._link.clock.waiting_ns()
        tool = self._tools.get(name)
        if tool is None:
            answer = _failed(f"There is no tool {name!r:.60} here: {', '.join(self._tools)}.")
        else:
            answer = _answer(tool, arguments, who)
        took_ms = (self._link.clock.waiting_ns() - began_ns) / 1e6
        log.info("[MCP] %s: %.60s %s, %.0f ms", who, name, _told(answer), took_ms)
        return answer


def server_of(
    *,
    allowed: Iterable[str],
    who: str,
    names_client: bool,
    place: tuple[str | None, str | None, str | None, Callable[[], str | Path]],
) -> AssistantServer:
    """Return a server for the current folder; `place` has the arguments of `Link`."""
    return AssistantServer(
        Link(*place), frozenset(map(Allow, allowed)), who, names_client=names_client
    )


def _answer(tool: Tool, arguments: dict[str, Any], who: str) -> types.CallToolResult:
    try:
        given = msgspec.convert(arguments, tool.arguments)
    except msgspec.ValidationError as error:
        return _unusable(tool, arguments, f"The arguments are not valid: {error}.")
    try:
        result = shown(msgspec.to_builtins(tool.run(given, who)))
    except TrueupError as error:
        return _unusable(tool, arguments, str(error))
    return _content(result)


def _unusable(tool: Tool, arguments: dict[str, Any], why: str) -> types.CallToolResult:
    """Return a failure; a tool that asks for orders has a state for it."""
    if not tool.refuses:
        return _failed(why)
    key = arguments.get("key")
    reason = f"Nothing was sent. {why}"
    outcome = WishOutcome(
        key=key if isinstance(key, str) else "", state=WishState.REFUSED, reason=reason
    )
    return _content(shown(msgspec.to_builtins(outcome)))


def _content(result: Any) -> types.CallToolResult:
    # The text is for clients that do not read structured results.
    text = msgspec.json.encode(result).decode()
    return types.CallToolResult(
        content=[types.TextContent(type="text", text=text)], structured_content=result
    )


def _failed(why: str) -> types.CallToolResult:
    text = types.TextContent(type="text", text=shown(why))
    return types.CallToolResult(content=[text], is_error=True)


def _told(answer: types.CallToolResult) -> str:
    """Return what became of a call, for the log."""
    if answer.is_error:
        (content, *_) = answer.content
        return f"failed: {content.text if isinstance(content, types.TextContent) else ''}"
    told = answer.structured_content
    state = told.get("state") if isinstance(told, dict) else None
    return str(state or "told")


def _described(tool: Tool) -> types.Tool:
    reads = tool.allow is None
    return types.Tool(
        name=tool.name,
        title=tool.title,
        description=tool.description.strip(),
        input_schema=schema_of(tool.arguments),
        output_schema=schema_of(tool.result),
        annotations=types.ToolAnnotations(
            read_only_hint=reads,
            destructive_hint=tool.allow is Allow.SUBMIT,
            # The same key sends nothing again.
            idempotent_hint=True,
            open_world_hint=not reads,
        ),
    )
