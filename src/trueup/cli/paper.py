"""`trueup paper`: a strategy that trades on paper, with its book kept in agreement."""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console

from trueup.cli.screen import picture
from trueup.cli.terminal import (
    Account,
    AccountOption,
    FeedOption,
    SeedOption,
    SpeedOption,
    start_terminal,
    stop_on_signals,
)
from trueup.errors import SettingsError
from trueup.gateway.client import ExecutionGateway
from trueup.observe.live import LiveView
from trueup.observe.log import set_up_logging
from trueup.runtime.loop import TradingLoop
from trueup.runtime.portfolio import PortfolioManager
from trueup.runtime.prices import GatewayPrices, Prices
from trueup.runtime.reconciler import StateReconciler
from trueup.runtime.strategy import MovingAverageCross, Strategy, load_strategy
from trueup.settings import Settings, load_settings
from trueup.sim.playback import LocalPrices
from trueup.sim.process import DEFAULT_SPEED, TerminalOptions, play
from trueup.sim.whereabouts import Whereabouts, find_terminal, state_folder

LOG_FILE = "paper.log"
_ENDPOINT = re.compile(r"tcp://(?P<host>[^:/\s]+|\[[0-9a-fA-F:.]+\]):(?P<port>\d{1,5})")


class Place(msgspec.Struct, frozen=True):
    """Where the orders go; `terminal` is the simulated one, None for somebody's gateway."""

    host: str
    port: int
    terminal: Whereabouts | None = None

    @property
    def title(self) -> str:
        """A few words for the head of the live view."""
        kind = "" if self.terminal is None else " (simulated terminal)"
        return f"at tcp://{self.host}:{self.port}{kind}"


def paper(
    gateway: Annotated[
        str | None,
        typer.Option(
            metavar="tcp://HOST:PORT",
            help="Trade at this gateway. By default GTW_HOST and GTW_PORT, where one is set; else "
            "the simulated terminal of this folder, which is started if it does not run.",
        ),
    ] = None,
    symbol: Annotated[str, typer.Option(help="The symbol to trade.")] = "EURUSD",
    volume: Annotated[float, typer.Option(min=0.00000001, help="Lots of an entry.")] = 0.01,
    strategy: Annotated[
        str | None,
        typer.Option(
            metavar="MODULE:CLASS", help="Your strategy; by default a moving-average cross."
        ),
    ] = None,
    account: AccountOption = Account.HEDGING,
    feed: FeedOption = "bars",
    seed: SeedOption = 0,
    speed: SpeedOption = DEFAULT_SPEED,
    duration: Annotated[
        float | None,
        typer.Option(min=0.0, metavar="SECONDS", help="End after this long; Ctrl-C before."),
    ] = None,
    plain: Annotated[
        bool, typer.Option("--plain", help="Log lines in place of the live view.")
    ] = False,
    log: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the log to a file as well.")
    ] = None,
) -> None:
    """Trade on paper, keeping the book in agreement with the broker.

    With no gateway configured, a simulated terminal is found or started as a process of its own.
    It stays when this command ends, and so do the positions, as they would at a real one.
    --account, --feed, --seed and --speed are for a terminal that is started here.
    """
    settings = load_settings()
    live = sys.stdout.isatty() and not plain
    if live and log is None:
        log = state_folder() / LOG_FILE
    set_up_logging(console=not live, file=log)
    trader = MovingAverageCross() if strategy is None else _load(strategy)
    options = TerminalOptions(
        account=account.value, symbol=symbol, feed=feed, seed=seed, speed=speed
    )
    place = _place(gateway, settings, options)
    _trade(place, settings, options, trader, volume, duration, live=live)
    _say_what_stays(place)


def main() -> None:
    """Run `trueup paper` with this process's arguments."""
    from trueup.cli import app  # the app imports this module

    app(["paper", *sys.argv[1:]], prog_name="trueup")


def _load(name: str) -> Strategy:
    # A strategy lives beside where the command is given; `python -m` has that folder, a script not.
    if "" not in sys.path:
        sys.path.insert(0, "")
    return load_strategy(name)


def _place(gateway: str | None, settings: Settings, options: TerminalOptions) -> Place:
    if gateway is not None:
        return _endpoint(gateway)
    if settings.gateway_is_configured:
        return Place(settings.gtw_host, settings.gtw_port)
    running = find_terminal()
    if running is None:
        play(options.feed, options.seed, options.speed, PortfolioManager().clock)
        running = start_terminal(options)
        typer.echo(f"Started a simulated terminal, process {running.pid} at {running.gateway}.")
    else:
        typer.echo(f"Found the simulated terminal, process {running.pid} at {running.gateway}.")
    return Place("127.0.0.1", running.port, running)


def _endpoint(text: str) -> Place:
    found = _ENDPOINT.fullmatch(text.strip())
    if found is None or not 0 < int(found["port"]) < 65_536:
        raise SettingsError("--gateway", text, "give tcp://HOST:PORT, such as tcp://127.0.0.1:5555")
    return Place(found["host"], int(found["port"]))


def _trade(
    place: Place,
    settings: Settings,
    options: TerminalOptions,
    trader: Strategy,
    volume: float,
    duration: float | None,
    *,
    live: bool,
) -> None:
    pm = PortfolioManager(symbol=options.symbol)

    def local_prices() -> Prices:
        playback = play(options.feed, options.seed, options.speed, pm.clock)
        return LocalPrices(playback, options.symbol)

    with ExecutionGateway(place.host, place.port, settings.gtw_timeout_ms) as gateway:
        reconciler = StateReconciler(pm, gateway, settings.sync_interval_sec)
        prices = GatewayPrices(gateway, pm.symbol, local_prices)
        loop = TradingLoop(pm, gateway, reconciler, trader, prices, volume=volume)
        stop_on_signals(loop.stop)
        with _view(loop, place, prices) if live else contextlib.nullcontext() as draw:
            loop.run(duration, draw)


@contextlib.contextmanager
def _view(loop: TradingLoop, place: Place, prices: GatewayPrices) -> Iterator[Callable[[], None]]:
    with LiveView(Console()) as view:

        def draw() -> None:
            foot = "Ctrl-C ends this; positions stay open."
            if prices.is_local:
                foot = f"PRICES FROM THE LOCAL FEED. {foot}"
            view.show(picture(loop, place.title, foot))

        draw()
        yield draw


def _say_what_stays(place: Place) -> None:
    if place.terminal is None:
        typer.echo(f"Ended. What is open at {place.host}:{place.port} stays open.")
        return
    typer.echo(
        f"Ended. The simulated terminal goes on, process {place.terminal.pid}, and so do its "
        "positions: see them with `trueup trade list`, stop it with `trueup terminal --stop`."
    )
