"""docs/operating/mcp.md says what the server has."""

from __future__ import annotations

import json
import re
from pathlib import Path

from scripts.cli_page import commands, options
from trueup.doors.mcp.link import Link
from trueup.doors.mcp.tools import Allow, tools_of

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/operating/mcp.md").read_text(encoding="utf-8")


def test_the_page_has_each_tool_and_what_it_needs() -> None:
    section = PAGE.partition("## Tools\n")[2].partition("\n## ")[0]
    rows = dict(re.findall(r"^\| `(\w+)` \|.*\| ([^|]*)\|$", section, flags=re.MULTILINE))
    tools = tools_of(Link(None, None, None, lambda: "bot.db"), frozenset(Allow))
    assert set(rows) == set(tools)
    for name, tool in tools.items():
        wanted = "" if tool.allow is None else f"--allow {tool.allow.value}"
        assert (wanted in rows[name]) if wanted else ("--allow" not in rows[name]), name


def test_the_configuration_of_the_page_names_options_of_the_command() -> None:
    block = PAGE.partition('```json title="the client\'s configuration"\n')[2].partition("```")[0]
    (server,) = json.loads(block)["mcpServers"].values()
    command, *words = server["args"]
    (found,) = [one for name, one in commands() if name == f"trueup {command}"]
    known = set(options(found))
    assert {word for word in words if word.startswith("--")} <= known
    for option in re.findall(r"`(--[a-z]+)", PAGE):
        assert option in known, option


def test_the_messages_of_the_page_are_those_of_the_program() -> None:
    source = "".join(
        path.read_text(encoding="utf-8") for path in (ROOT / "src/trueup").rglob("*.py")
    )
    source = re.sub(r'"\s*f?"', "", source)
    table = PAGE.partition("## When something does not work\n")[2]
    said = re.findall(r"^\| `([^`]+)` \|", table, flags=re.MULTILINE)
    assert said
    for message in said:
        words = re.sub(r"^2 |'submit'| \.\.\.$", "", message)
        parts = [part.strip() for part in words.split("  ") if part.strip()]
        assert all(part in source for part in parts), message
