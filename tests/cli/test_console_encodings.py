"""Commands on a console that lacks characters: Windows's code pages have no arrow and no box.

Each writes code page 1252, strictly: one character that it lacks would end a process with a
traceback, and a bot in the middle of what it does.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.paper.test_paper_processes import Shell, start_paper

READERS = (
    ["status"],
    ["plan"],
    ["audit"],
    ["replay", "--at", "1s"],
    ["doctor"],
    ["journal", "verify"],
    ["trade", "list"],
)


@pytest.fixture
def console(tmp_path: Path) -> Iterator[Shell]:
    shell = Shell(tmp_path, "cp1252")
    try:
        yield shell
    finally:
        shell.clean()


def test_a_bot_and_all_who_ask_about_it_say_all_in_the_console_s_characters(
    console: Shell,
) -> None:
    bot = start_paper(console, "bot.log")
    ticket = bot.ticket()
    assert console.ask("trade", "partial", str(ticket), "0.01").returncode == 0
    # The guide has an arrow here, which it lacks.
    bot.wait_for("[DRIFT_FIX] Volume 0.02L -> 0.01L")
    for command in READERS:
        # All write the same way, so one of them is a process.
        said = (console.run if command == ["status"] else console.ask)(*command)
        assert (said.returncode in (0, 1), said.stderr) == (True, ""), (command, said)
        assert said.stdout.strip(), command
    assert bot.child.poll() is None


def test_a_story_is_told_in_the_console_s_characters(console: Shell) -> None:
    said = console.run("sim", "--seed", "7", "--trace")
    assert (said.returncode, said.stderr) == (0, ""), said
    assert len(said.stdout.splitlines()) > 20
