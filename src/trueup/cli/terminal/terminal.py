"""`trueup terminal`: run the simulated terminal as a process of its own."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from trueup.cli.shared.ending import stop_on_signals
from trueup.cli.shared.log_options import LogJsonOption, set_up_log
from trueup.cli.shared.say import say
from trueup.cli.terminal.running_terminal import running_terminal
from trueup.errors import TrueupError
from trueup.gateway.reading.watcher import WATCH_MS
from trueup.runtime.time.clock import SystemClock
from trueup.sim.process.fault_desk import TerminalFault
from trueup.sim.process.process import DEFAULT_SPEED, TerminalOptions, TerminalProcess
from trueup.sim.process.whereabouts import ask, find_terminal, read_state, runs_already

_STOP_SEC = 10.0
_LOOK_AGAIN_SEC = 0.05


class Account(StrEnum):
    """The margin mode of an account."""

    HEDGING = "hedging"
    NETTING = "netting"


AccountOption = Annotated[
    Account,
    typer.Option(help="hedging: any number of positions in a symbol; netting: a single one."),
]
SymbolOption = Annotated[str, typer.Option(help="The symbol of the prices.")]
FeedOption = Annotated[
    str,
    typer.Option(
        metavar="bars|random|FILE",
        help="Prices: the included hourly EURUSD bars, a random walk, or a file: an export of "
        "MetaTrader 5 (bars, ticks, or a chart's Save as), or copy_rates or copy_ticks saved by "
        "pandas.",
    ),
]
SeedOption = Annotated[int, typer.Option(help="The same seed gives the same prices.")]
SpeedOption = Annotated[float, typer.Option(min=0.001, max=1e6, help="Market time over real time.")]
WatchOption = Annotated[
    int,
    typer.Option(
        min=0,
        max=60_000,
        help="Interval in milliseconds of the search for changes, which are hinted to bots; 0 for "
        "no hints.",
    ),
]


def terminal(
    account: AccountOption = Account.HEDGING,
    balance: Annotated[float, typer.Option(min=0.0, help="First deposit, USD.")] = 10_000.0,
    symbol: SymbolOption = "EURUSD",
    feed: FeedOption = "bars",
    seed: SeedOption = 0,
    speed: SpeedOption = DEFAULT_SPEED,
    port: Annotated[
        int, typer.Option(min=0, max=65_535, help="Port for bots; 0 takes a free one.")
    ] = 0,
    idle_exit: Annotated[
        float,
        typer.Option(min=0.0, metavar="MINUTES", help="End after this time unused; 0 for never."),
    ] = 10.0,
    watch_ms: WatchOption = WATCH_MS,
    log: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the log to a file instead.")
    ] = None,
    log_json: LogJsonOption = False,
    stop: Annotated[
        bool, typer.Option("--stop", help="Stop the terminal that runs in this folder.")
    ] = False,
    fault: Annotated[
        TerminalFault | None,
        typer.Option(help="Put a fault on the terminal that runs in this folder; none ends it."),
    ] = None,
) -> None:
    """Run a simulated MetaTrader 5 terminal.

    The terminal's gateway listens on this machine only. Bots trade there (`trueup paper` finds the
    terminal by itself), and you trade by hand with `trueup trade` in a second shell. The terminal
    ends with Ctrl-C, with `trueup terminal --stop`, or after some time without use.
    """
    if stop:
        _stop()
        return
    if fault is not None:
        say(ask(running_terminal(), {"command": "fault", "fault": fault.value})["text"])
        return
    # A second terminal would replace the first in the state file, and its bots would lose it.
    running = find_terminal()
    if running is not None:
        raise runs_already(running)
    set_up_log(console=log is None, file=log, as_json=log_json)
    # Port 0 lets the system choose a free port: bots read the port from the state file.
    options = TerminalOptions(
        account=account.value,
        balance=balance,
        symbol=symbol,
        feed=feed,
        seed=seed,
        speed=speed,
        port=port,
        idle_exit_min=idle_exit,
        watch_ms=watch_ms,
    )
    process = TerminalProcess(options)
    stop_on_signals(process.stop)
    process.run()


def _stop() -> None:
    running = running_terminal()
    left = ask(running, {"command": "stop"})["positions"]
    clock = SystemClock()
    deadline_ns = clock.waiting_ns() + round(_STOP_SEC * 1e9)
    # The terminal removes its state file when it ends, and then a new terminal can start.
    while read_state() == running:
        if clock.waiting_ns() > deadline_ns:
            raise TrueupError(f"The terminal, process {running.pid}, was told to stop and has not.")
        clock.sleep(_LOOK_AGAIN_SEC)
    gone = f"; its {left} open position{'s' * (left != 1)} went with it" if left else ""
    say(f"Stopped the terminal, process {running.pid}{gone}.")
