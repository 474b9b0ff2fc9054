"""A client of the Model Context Protocol, by the protocol's own library, and the real server."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

from anyio.from_thread import start_blocking_portal

from tests.support.forked import program

# The library is imported when a client is made: half a second of CPU, which every process that
# collects the tests would need.
if TYPE_CHECKING:
    from mcp import Client
    from mcp.types import CallToolResult, Tool


class Assistant:
    """A client that starts `trueup mcp` in a folder, and calls its tools.

    Args:
        folder: the bot's folder.
        options: the options of the server.
        environment: the variables of the server's process.
        name: the client's own name.
        mode: how versions of the protocol are agreed on; `legacy` is the initialize handshake.
    """

    def __init__(
        self,
        folder: Path,
        *options: str,
        environment: dict[str, str] | None = None,
        name: str = "desk",
        mode: Literal["auto", "legacy"] = "legacy",
    ) -> None:
        from mcp import StdioServerParameters
        from mcp.types import Implementation

        self._log = folder / "mcp.log"
        words = ["-m", "trueup", "mcp", "--log", str(self._log), *options]
        command, *arguments = program(words, environment or {})
        self._parameters = StdioServerParameters(
            command=command,
            args=arguments,
            env=environment,
            cwd=folder,
        )
        self._info, self._mode = Implementation(name=name, version="1"), mode

    def __enter__(self) -> Self:
        from mcp import Client

        self._portal_context = start_blocking_portal()
        self._portal = self._portal_context.__enter__()
        client = Client(self._parameters, client_info=self._info, mode=self._mode)
        self._client_context = self._portal.wrap_async_context_manager(client)
        self.client: Client = self._client_context.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # Without the test's own error, which the library would wrap in groups.
        self._client_context.__exit__(None, None, None)
        self._portal_context.__exit__(None, None, None)

    def tools(self) -> dict[str, Tool]:
        """Return the tools that the server offers."""
        return {tool.name: tool for tool in self._portal.call(self.client.list_tools).tools}

    def call(self, tool: str, **arguments: Any) -> CallToolResult:
        """Call a tool; the library checks the result by the tool's schema."""
        answer: CallToolResult = self._portal.call(self.client.call_tool, tool, arguments)
        return answer

    def get(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """Call a tool that succeeds, and return its result."""
        answer = self.call(tool, **arguments)
        assert not answer.is_error, answer
        result: dict[str, Any] = answer.structured_content
        return result

    def fail(self, tool: str, **arguments: Any) -> str:
        """Call a tool that fails, and return its sentence."""
        from mcp.types import TextContent

        answer = self.call(tool, **arguments)
        assert answer.is_error, answer
        (content,) = answer.content
        assert isinstance(content, TextContent)
        return content.text

    @property
    def log(self) -> str:
        """What the server has logged."""
        return self._log.read_text(encoding="utf-8")
