"""The command line: every command of `trueup`; docs/reference/cli.md has them all.

What goes wrong is one sentence on stderr and exit code 2; see `cli.group` and `cli.process`.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from trueup import __version__
from trueup.cli import (
    bot,
    conformance,
    doctor,
    drill,
    gateway,
    journal,
    keys,
    paper,
    reconcile,
    settle,
    sim,
    terminal,
    trade,
)
from trueup.cli.group import SentenceGroup
from trueup.cli.say import say
from trueup.observe.log import make_streams_safe

app = typer.Typer(
    name="trueup",
    cls=SentenceGroup,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("paper")(paper.paper)
app.command("terminal")(terminal.terminal)
app.command("status")(bot.status)
app.command("plan")(bot.plan)
app.command("approve")(bot.approve)
app.command("settle")(settle.settle)
app.command("rebind")(bot.rebind)
app.command("reconcile")(reconcile.reconcile)
app.command("audit")(journal.audit)
app.command("replay")(journal.replay)
app.command("drill")(drill.drill)
app.command("sim")(sim.sim)
app.command("doctor")(doctor.doctor)
app.command("conformance")(conformance.conformance)
app.add_typer(gateway.app, name="gateway")
app.add_typer(journal.app, name="journal")
app.add_typer(trade.app, name="trade")
app.add_typer(keys.app, name="keys")


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
