"""docs/reference/cli.md has every command and every option, as they are."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from scripts.cli_page import cli_page, commands, options
from tests.cli.test_bot_processes import start
from tests.paper.test_paper_processes import Shell
from trueup.cli import app
from trueup.cli.commands import COMMANDS as COMMANDS_LISTED
from trueup.cli.commands import Entry

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


@pytest.mark.parametrize("entry", COMMANDS_LISTED, ids=lambda entry: entry.name)
def test_the_summary_is_the_first_line_of_the_help_and_is_not_cut(entry: Entry) -> None:
    help_text = entry.load().help or ""
    assert help_text.partition("\n")[0] == entry.summary
    assert len(entry.summary) <= 55
    listed = CliRunner().invoke(app, ["--help"], terminal_width=80).stdout
    assert f" {entry.summary}\n" in listed


@pytest.mark.parametrize("group", ["gateway", "journal", "trade", "keys"])
def test_no_summary_is_cut_in_the_help_of_a_group(group: str) -> None:
    listed = CliRunner().invoke(app, [group, "--help"], terminal_width=80).stdout
    assert "..." not in listed.partition("Commands:")[2]


def imported(heavy: set[str], folder: Path, *arguments: str) -> str:
    """Return the modules of `heavy` that a command imports, as Python prints a list."""
    program = (
        "import sys, trueup.cli\n"
        "try: trueup.cli.app(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        f"print(sorted({heavy} & {{*sys.modules}}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=folder,
        stdout=subprocess.PIPE,
        encoding="utf-8",
        check=True,
    )
    return done.stdout.splitlines()[-1]


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_and_version_import_no_command(option: str, tmp_path: Path) -> None:
    """A command costs ten times the time of a bare help; what is not run is not imported."""
    heavy = {"pydantic", "zmq", "sqlite3", "trueup.runtime", "trueup.cli.operate.bot"}
    assert imported(heavy, tmp_path, option) == "[]"


def test_status_imports_no_conversion_and_no_database(tmp_path: Path) -> None:
    """Monitors call it each minute; pydantic alone costs more than the rest."""
    heavy = {"pydantic", "zmq", "sqlite3", "trueup.core.book.book", "rich", "logging.handlers"}
    assert imported(heavy, tmp_path, "status") == "[]"


def test_status_of_a_running_bot_imports_no_book_and_no_journal(shell: Shell) -> None:
    """The bot makes the status; the command asks for it and writes it."""
    bot = start(shell, "bot.log")
    bot.wait_for("[STARTUP] No recovery needed")
    heavy = {"pydantic", "sqlite3", "trueup.core.book.book", "trueup.core.model", "rich"}
    heavy |= {"trueup.journal", "trueup.observe.status.making", "logging.handlers"}
    assert imported(heavy, shell.folder, "status") == "[]"


def test_the_page_misses_no_command_of_the_program() -> None:
    listed = CliRunner().invoke(app, ["--help"]).stdout.partition("Commands:")[2]
    names = {line.split()[0] for line in listed.splitlines() if line[2:3].strip()}
    assert names == {name.split()[1] for name in COMMANDS}
