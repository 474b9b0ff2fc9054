"""Find the simulated terminal of this folder, and print its state."""

from __future__ import annotations

from typing import Any

from trueup.cli.shared.say import columns, say
from trueup.core.quantity import format_money
from trueup.errors import TrueupError
from trueup.observe.lines import WIDTH, said, time_of
from trueup.observe.status.books_text import book_lines
from trueup.observe.status.status import BookRow, Side, Verdict
from trueup.sim.process.whereabouts import Whereabouts, ask, find_terminal

NOT_RUNNING = (
    "No terminal runs in this folder: start one with `trueup terminal`, or with `trueup paper`."
)


def terminal_lines(running: Whereabouts, width: int = WIDTH) -> list[str]:
    """Return the state and the open positions of a terminal as lines."""
    facts = ask(running, {"command": "hello"})
    market = f"{running.symbol} from {facts['feed']} at speed {facts['speed']:g}, market time"
    return [
        *said("Terminal", f"process {running.pid}, started {time_of(running.started)}", width),
        *said("Gateway", running.gateway, width),
        *said("Account", running.account, width),
        *said("Market", f"{market} {facts['market_time'][:19].replace('T', ' ')}", width),
        *position_lines(ask(running, {"command": "list"}), width),
    ]


def show_positions(listed: dict[str, Any]) -> None:
    """Print the terminal's answer to `list`."""
    say("\n".join(position_lines(listed, columns())))


def position_lines(listed: dict[str, Any], width: int = WIDTH) -> list[str]:
    """Return the terminal's answer to `list` as lines."""
    digits = listed.get("currency_digits")
    equity, balance = (format_money(listed[name], digits) for name in ("equity", "balance"))
    rows = [_row(row) for row in listed["positions"]]
    return [
        *said("Equity", f"{equity} {listed['currency']}, balance {balance}", width),
        *said("Positions", f"{len(rows) or 'none'}", width),
        *book_lines(rows, digits, width, most=len(rows)),
    ]


def _row(row: dict[str, Any]) -> BookRow:
    """Return a position of the terminal, which has one side only."""
    side = Side(row["side"], row["volume"], row["price_open"], row["sl"], row["tp"])
    return BookRow(
        ticket=row["ticket"],
        identifier=row["ticket"],
        symbol=row["symbol"],
        ours=None,
        broker=side,
        verdict=Verdict.AGREES,
        profit=row["profit"],
        price=row["price_current"],
    )


def running_terminal() -> Whereabouts:
    """Return the terminal of this folder.

    Raises:
        TrueupError: no terminal runs here; the message says how to start a terminal.
    """
    running = find_terminal()
    if running is None:
        raise TrueupError(NOT_RUNNING)
    return running
