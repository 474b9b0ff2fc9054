"""`trueup trade`: trade by hand at the simulated terminal, while a bot trades there."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer

from trueup.cli.shared.json_document import JsonOption, print_document
from trueup.cli.shared.say import say
from trueup.cli.terminal.running_terminal import running_terminal, show_positions
from trueup.errors import Refused, SettingsError
from trueup.sim.process.whereabouts import ask

app: typer.Typer = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Trade by hand at the simulated terminal.",
)


class Side(StrEnum):
    """The side of a position."""

    BUY = "buy"
    SELL = "sell"


Ticket = Annotated[int, typer.Argument(min=1, help="The position's ticket.")]
StopLoss = Annotated[float | None, typer.Option("--sl", help="Stop loss, a price; 0 for none.")]
TakeProfit = Annotated[float | None, typer.Option("--tp", help="Take profit, a price; 0 for none.")]


@app.command("list")
def show(as_json: JsonOption = False) -> None:
    """List the open positions, with their tickets."""
    listed = ask(running_terminal(), {"command": "list"})
    if as_json:
        print_document("trade list", {key: listed[key] for key in listed if key != "ok"})
    else:
        show_positions(listed)


@app.command("open")
def open_position(
    side: Annotated[Side, typer.Argument(help="buy or sell")] = Side.BUY,
    volume: Annotated[float, typer.Argument(help="Lots.")] = 0.01,
    symbol: Annotated[str, typer.Option(help="By default the symbol of the terminal.")] = "",
    sl: StopLoss = None,
    tp: TakeProfit = None,
) -> None:
    """Open a position at the market."""
    _command(command="open", side=side.value, volume=volume, symbol=symbol, sl=sl, tp=tp)


@app.command()
def close(ticket: Annotated[str, typer.Argument(help="A position's ticket, or all.")]) -> None:
    """Close a position, or all of them."""
    if ticket == "all":
        _command(command="close_all")
        return
    if not (ticket.isascii() and ticket.isdigit()):
        raise SettingsError("TICKET", ticket, "give a position's ticket, or all")
    _command(command="close", ticket=int(ticket))


@app.command()
def partial(
    ticket: Ticket,
    volume: Annotated[float | None, typer.Argument(help="Lots; by default half.")] = None,
) -> None:
    """Close a part of a position."""
    _command(command="partial", ticket=ticket, volume=volume)


@app.command()
def modify(ticket: Ticket, sl: StopLoss = None, tp: TakeProfit = None) -> None:
    """Move a position's stop loss or take profit."""
    _command(command="modify", ticket=ticket, sl=sl, tp=tp)


def _command(**command: Any) -> None:
    answer = ask(running_terminal(), command)
    if not answer.get("ok"):
        raise Refused(answer.get("error"))
    say(answer["text"])
