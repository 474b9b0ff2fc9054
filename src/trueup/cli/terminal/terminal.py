"""`trueup terminal`: the simulated terminal as a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

import trueup
from trueup.cli.shared.say import say
from trueup.cli.terminal.running_terminal import running_terminal
from trueup.errors import TrueupError
from trueup.gateway.reading.watcher import WATCH_MS
from trueup.observe.log import set_up_logging
from trueup.private import make_private_folder
from trueup.runtime.time.clock import SystemClock
from trueup.sim.process.process import DEFAULT_SPEED, TerminalOptions, TerminalProcess
from trueup.sim.process.whereabouts import Whereabouts, ask, find_terminal, read_state, state_folder

LOG_FILE = "terminal.log"
# For a machine that is busy with other things; whoever waits is told as soon as it answers.
_START_SEC = 90.0
_STOP_SEC = 10.0
_LOOK_AGAIN_SEC = 0.05


class Account(StrEnum):
    """How an account keeps positions."""

    HEDGING = "hedging"
    NETTING = "netting"


AccountOption = Annotated[
    Account,
    typer.Option(help="hedging: any number of positions in a symbol; netting: one."),
]
SymbolOption = Annotated[str, typer.Option(help="The symbol that the prices are for.")]
FeedOption = Annotated[
    str,
    typer.Option(
        metavar="bars|random|FILE",
        help="Prices: the real hourly EURUSD bars that come along, a random walk, or a file that "
        "MetaTrader 5 exported (bars, ticks, or a chart's Save as), or that pandas saved of "
        "copy_rates or copy_ticks.",
    ),
]
SeedOption = Annotated[int, typer.Option(help="The same seed gives the same prices.")]
SpeedOption = Annotated[float, typer.Option(min=0.001, max=1e6, help="Market time over real time.")]
WatchOption = Annotated[
    int,
    typer.Option(
        min=0,
        max=60_000,
        help="Look for changes this often, in milliseconds, and hint at them to bots; 0 to leave "
        "them to their own intervals.",
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
        typer.Option(min=0.0, metavar="MINUTES", help="End after this long unused; 0 for never."),
    ] = 10.0,
    watch_ms: WatchOption = WATCH_MS,
    log: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the log to a file instead.")
    ] = None,
    stop: Annotated[
        bool, typer.Option("--stop", help="Stop the terminal that runs in this folder.")
    ] = False,
) -> None:
    """Run a simulated MetaTrader 5 terminal.

    Its gateway listens on this machine only. Bots trade there (`trueup paper` finds it by itself),
    and so do you, with `trueup trade` in a second shell. It ends with Ctrl-C, with
    `trueup terminal --stop`, or when nobody uses it.
    """
    if stop:
        _stop()
        return
    running = find_terminal()
    if running is not None:
        raise TrueupError(
            f"A terminal runs in this folder already, process {running.pid} at {running.gateway}: "
            "stop it with `trueup terminal --stop`."
        )
    set_up_logging(console=log is None, file=log)
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


def start_terminal(options: TerminalOptions) -> Whereabouts:
    """Start a terminal process that outlives this one, and wait until it answers.

    Raises:
        TrueupError: it ended, or does not answer; the message has its last words.
    """
    folder = state_folder()
    make_private_folder(folder)
    log_path = folder / LOG_FILE
    with log_path.open("ab") as log:
        child = subprocess.Popen(
            _command_line(options),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=_environment(),
            **_detached(),
        )
    clock = SystemClock()
    deadline_ns = clock.waiting_ns() + round(_START_SEC * 1e9)
    while clock.waiting_ns() < deadline_ns:
        running = find_terminal()
        if running is not None:
            return running
        if child.poll() is not None:
            break
        clock.sleep(_LOOK_AGAIN_SEC)
    said = log_path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    because = said[-1] if said else "it said nothing"
    raise TrueupError(f"The simulated terminal did not start ({log_path}): {because}")


def stop_on_signals(stop: Any) -> None:
    """Call `stop` on Ctrl-C, on SIGTERM, and on the Ctrl-Break of a Windows console."""
    for name in ("SIGINT", "SIGTERM", "SIGBREAK"):
        number = getattr(signal, name, None)
        if number is not None:
            signal.signal(number, lambda *_: stop())


def _stop() -> None:
    running = running_terminal()
    left = ask(running, {"command": "stop"})["positions"]
    clock = SystemClock()
    deadline_ns = clock.waiting_ns() + round(_STOP_SEC * 1e9)
    while read_state() == running:
        if clock.waiting_ns() > deadline_ns:
            raise TrueupError(f"The terminal, process {running.pid}, was told to stop and has not.")
        clock.sleep(_LOOK_AGAIN_SEC)
    gone = f"; its {left} open position{'s' * (left != 1)} went with it" if left else ""
    say(f"Stopped the terminal, process {running.pid}{gone}.")


def _command_line(options: TerminalOptions) -> list[str]:
    # -P keeps files of the current folder, such as somebody's signal.py, from being imported.
    return [
        *(sys.executable, "-P", "-m", "trueup", "terminal"),
        *("--account", options.account, "--symbol", options.symbol),
        *("--feed", options.feed, "--seed", str(options.seed), "--speed", str(options.speed)),
    ]


def _environment() -> dict[str, str]:
    """This process's environment, and the package where it was found in a bare checkout."""
    environment = {**os.environ, "PYTHONUTF8": "1"}
    home = Path(trueup.__file__).resolve().parents[1]
    if not home.name.endswith("-packages"):
        paths = [str(home), environment.get("PYTHONPATH", "")]
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    return environment


def _detached() -> dict[str, Any]:
    """What keeps a Ctrl-C, or the end of this process, from reaching the child."""
    if sys.platform == "win32":
        flags = subprocess.DETACHED_PROCESS | subprocess.CREATE_NEW_PROCESS_GROUP
        return {"creationflags": flags}
    return {"start_new_session": True}
