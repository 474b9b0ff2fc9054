"""The command line. `cli.commands` lists the commands, docs/reference/cli.md describes them.

Every error is a sentence on stderr and exit code 2, and 64 for wrong usage; see `cli.group` and
`cli.process`.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from trueup import __version__
from trueup.cli.group import CommandGroup
from trueup.cli.shared.say import say
from trueup.observe.log import make_streams_safe

app: typer.Typer = typer.Typer(
    name="trueup",
    cls=CommandGroup,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    # The commands below take the names of the help option over.
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        say(f"trueup {__version__}")
        raise typer.Exit


@app.callback()
def _every_command(
    version: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_print_version, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Keep a trading process and its MetaTrader 5 account in agreement, through crashes."""
    make_streams_safe(sys.stdout, sys.stderr)
