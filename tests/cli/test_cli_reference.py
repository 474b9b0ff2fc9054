"""docs/reference/cli.md has every command and every option, as they are."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from scripts.cli_page import cli_page, commands, options
from trueup.cli import app

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/reference/cli.md").read_text(encoding="utf-8")
COMMANDS = dict(commands())


def test_the_page_is_the_one_that_make_docs_writes() -> None:
    assert cli_page() == PAGE, "run `make docs`"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_and_is_on_the_page_with_each_option(name: str) -> None:
    """The page and the command line itself agree on what there is."""
    section = PAGE.partition(f"## `{name}`\n")[2].partition("\n## ")[0]
    done = CliRunner().invoke(app, [*name.split()[1:], "--help"], terminal_width=200)
    assert done.exit_code == 0
    for option in options(COMMANDS[name]):
        assert f"`{option}`" in section
        assert option in done.stdout


def test_the_page_misses_no_command_of_the_program() -> None:
    listed = CliRunner().invoke(app, ["--help"]).stdout.partition("Commands:")[2]
    names = {line.split()[0] for line in listed.splitlines() if line[2:3].strip()}
    assert names == {name.split()[1] for name in COMMANDS}
