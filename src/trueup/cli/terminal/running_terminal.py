"""Find the simulated terminal of this folder, and print its state."""

from __future__ import annotations

from typing import Any

from trueup.cli.shared.say import say
from trueup.core.quantity import format_lots, format_money
from trueup.errors import TrueupError
from trueup.sim.process.whereabouts import Whereabouts, ask, find_terminal

NOT_RUNNING = (
    "No terminal runs in this folder: start one with `trueup terminal`, or with `trueup paper`."
)


def terminal_lines(running: Whereabouts) -> list[str]:
    """Return the state and the open positions of a terminal as lines."""
    facts = ask(running, {"command": "hello"})
    return [
        f"Terminal   process {running.pid}, started {running.started}",
        f"Gateway    {running.gateway}",
        f"Account    {running.account}",
        f"Market     {running.symbol} from {facts['feed']} at speed {facts['speed']:g}, "
        f"{facts['market_time']}",
        *position_lines(ask(running, {"command": "list"})),
    ]


def show_positions(listed: dict[str, Any]) -> None:
    """Print the terminal's answer to `list`."""
    say("\n".join(position_lines(listed)))


def position_lines(listed: dict[str, Any]) -> list[str]:
    """Return the terminal's answer to `list` as lines."""
    digits = listed.get("currency_digits")
    equity, balance = (format_money(listed[name], digits) for name in ("equity", "balance"))
    lines = [f"Equity     {equity} {listed['currency']}, balance {balance}"]
    if not listed["positions"]:
        return [*lines, "Positions  none"]
    # Fixed widths, at most 80 columns in all.
    lines.append(
        "    ticket  symbol   side    lots      open   current  sl       tp         profit"
    )
    for row in listed["positions"]:
        levels = [f"{row[name]:.5f}" if row[name] else "-" for name in ("sl", "tp")]
        lines.append(
            f"{row['ticket']:>10}  {row['symbol']:<7}  {row['side']:<5}  "
            f"{format_lots(row['volume']):>5}  {row['price_open']:>8.5f}  "
            f"{row['price_current']:>8.5f}  {levels[0]:<7}  {levels[1]:<7}  "
            f"{format_money(row['profit'], digits):>8}"
        )
    return lines


def running_terminal() -> Whereabouts:
    """Return the terminal of this folder.

    Raises:
        TrueupError: no terminal runs here; the message says how to start a terminal.
    """
    running = find_terminal()
    if running is None:
        raise TrueupError(NOT_RUNNING)
    return running
