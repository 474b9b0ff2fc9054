"""The list of all commands: their names, their modules, and their lines in `trueup --help`.

A command's module is imported when the command runs. To import all modules takes ten times as long
as `--help` needs.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, NamedTuple

import typer


class Entry(NamedTuple):
    """A command, or a group of commands.

    `code` is `module:name` under `trueup.cli`, of a function or a `typer.Typer`; `name` may be left
    out if it is the command's own. `summary` is the first line of the command's help: at most 55
    characters, so that `trueup --help` fits into 80 columns.
    """

    name: str
    code: str
    summary: str

    def target(self) -> Any:
        """Import and return the function or the `typer.Typer`."""
        module, _, name = self.code.partition(":")
        return getattr(import_module(f"trueup.cli.{module}"), name or self.name)

    def load(self) -> Any:
        """Import the command and return its click object."""
        target = self.target()
        shell = typer.Typer(rich_markup_mode=None)
        if isinstance(target, typer.Typer):
            shell.add_typer(target, name=self.name)
        else:
            shell.command(self.name)(target)
        return typer.main.get_group(shell).commands[self.name]


# In the order of `trueup --help`.
COMMANDS = (
    Entry("paper", "paper.paper", "Run a strategy on paper and keep its book reconciled."),
    Entry("run", "run.start:app", "Run your strategy on an account, with its settings."),
    Entry("accounts", "operate.accounts", "List the accounts of `trueup run --accounts`."),
    Entry("fleet", "operate.fleet:app", "Run the accounts of a file on many machines."),
    Entry("terminal", "terminal.terminal", "Run a simulated MetaTrader 5 terminal."),
    Entry("status", "operate.status", "Show the bots and the terminal of this folder."),
    Entry("watch", "watch.watch", "Watch an account beside your bot, and send nothing."),
    Entry("page", "page.page", "Show the state of the bots in a browser."),
    Entry("metrics", "metrics.metrics", "Serve metrics for Prometheus, and health."),
    Entry("alerts", "operate.alerts:app", "Tell you when a bot needs you, and when it is over."),
    Entry("plan", "operate.bot", "Show what the next sync would change."),
    Entry("approve", "operate.approve", "Approve a held correction, or an assistant's order."),
    Entry("reject", "operate.approve", "Reject an order that an assistant proposed."),
    Entry("settle", "operate.settle", "Resolve an order in doubt by hand."),
    Entry("pause", "operate.modes", "Pause the strategy of a running bot."),
    Entry(
        "close-only", "operate.modes:close_only", "Let the strategy of a running bot only close."
    ),
    Entry("resume", "operate.modes", "End a pause, or the mode of only closes."),
    Entry("close", "operate.close", "Close positions through a running bot."),
    Entry("sync", "operate.loop", "Have a running bot compare book and broker now."),
    Entry("stop", "operate.loop", "End a running bot after its turn; positions stay open."),
    Entry("rebind", "operate.bot", "Bind the book to the terminal's present account."),
    Entry("mcp", "operate.mcp", "Let an assistant read a bot, and ask for orders."),
    Entry("reconcile", "inspect.reconcile", "Compare the book with the broker's deal history."),
    Entry("audit", "inspect.audit", "List all corrections and all steps of orders."),
    Entry("export", "inspect.export:app", "Write trades, deals, orders and results as tables."),
    Entry("replay", "inspect.journal", "Show book and broker as they were known at a moment."),
    Entry("drill", "rehearse.drill", "Kill a bot in the middle of an order and restart it."),
    Entry("sim", "rehearse.sim:app", "Run seeded simulations with faults and judge them."),
    Entry("doctor", "inspect.doctor", "Check everything between this machine and the broker."),
    Entry("config", "inspect.config:app", "Show the settings and their places; write a file."),
    Entry("conformance", "inspect.conformance", "Check a gateway against the protocol page."),
    Entry("gateway", "gateway.gateway:app", "Serve this machine's MetaTrader 5 terminal to bots."),
    Entry("journal", "inspect.journal:app", "Verify, copy, archive or mend a journal."),
    Entry("trade", "terminal.trade:app", "Trade by hand at the simulated terminal."),
    Entry("keys", "gateway.keys:app", "Create and show the keys of gateways and bots."),
    Entry("completion", "shared.completion", "Print a script that completes commands and options."),
)
