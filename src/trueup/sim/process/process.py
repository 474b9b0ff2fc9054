"""The terminal process: a simulated MetaTrader 5 terminal behind a gateway, for `trueup terminal`.

One thread does it, in turns: the market's prices, then the bots' requests on one loopback port,
then a person's commands on another. A gateway's worker calls a second terminal on the same account
at its own pace. The market's time is the server's time. Positions live as long as the process: a
bot that ends, or is killed, leaves them open, as at a real terminal.
"""

from __future__ import annotations

import datetime as dt
import os
import random
import threading
from collections.abc import Callable
from typing import Any

import msgspec

from trueup.errors import SettingsError
from trueup.gateway.desk.desk import Desk
from trueup.gateway.reading.watcher import WATCH_MS
from trueup.gateway.server.sockets import Server, anybody
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.gateway.terminal.clocks import Clocks
from trueup.logs import Logger, logger
from trueup.protocol.hints import capability
from trueup.runtime.time.clock import Clock, SystemClock
from trueup.sim.broker.broker import Broker
from trueup.sim.market.switches import Switches
from trueup.sim.market.symbols import DEFAULT_SYMBOLS, AccountSetup
from trueup.sim.prices import open_feed
from trueup.sim.process.module_port import ModulePort
from trueup.sim.process.person_desk import PersonDesk
from trueup.sim.process.playback import Playback
from trueup.sim.process.whereabouts import Whereabouts, remove_state, write_state
from trueup.sim.terminal.terminal import SimulatedTerminal

log: Logger = logger("trueup.terminal")

LOOPBACK = "tcp://127.0.0.1"
TURN_MS = 20
FAREWELL_MS = 200
MARGIN_MODES = {
    "hedging": mt5.ACCOUNT_MARGIN_MODE_RETAIL_HEDGING,
    "netting": mt5.ACCOUNT_MARGIN_MODE_RETAIL_NETTING,
}
# An hourly bar played at the default speed then ticks four times a second.
TICKS_PER_BAR = 240
DEFAULT_SPEED = 60.0
TICKETS_BEGIN_SEC = 1_600_000_000


class TerminalOptions(msgspec.Struct, frozen=True):
    """What a terminal process is started with.

    `balance` is the first deposit in USD; `feed` is bars, random, or the path of a file; `speed`
    is market time over real time; `port` 0 takes a free one; after `idle_exit_min` minutes
    without a request the process ends, 0 for never; every `watch_ms` it looks for what its bots
    should know at once, 0 for never.
    """

    account: str = "hedging"
    balance: float = 10_000.0
    symbol: str = "EURUSD"
    feed: str = "bars"
    seed: int = 0
    speed: float = DEFAULT_SPEED
    port: int = 0
    idle_exit_min: float = 10.0
    watch_ms: int = WATCH_MS


def play(feed: str, seed: int, speed: float, clock: Clock) -> Playback:
    """Open a feed and play it.

    Raises:
        FeedError: it cannot be read.
    """
    quotes = open_feed(feed, seed=seed, ticks_per_bar=TICKS_PER_BAR)
    return Playback(quotes, speed, clock)


class TerminalProcess:
    """Everything of one terminal process except its beginning and its end.

    Raises:
        FeedError: the feed cannot be read.
        SettingsError: there is no such symbol, or the port is taken.
    """

    def __init__(self, options: TerminalOptions, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._options = options
        self._playback = play(options.feed, options.seed, options.speed, self._clock)
        self._lock = threading.Lock()  # whoever holds it has the broker to himself
        self.terminal: SimulatedTerminal = _make_terminal(options, self._playback, self._clock)
        self.module: SimulatedTerminal = SimulatedTerminal(broker=self.terminal.broker)
        self._step_market()
        people = PersonDesk(self.terminal, options.symbol, self._facts, self._stop_soon)
        boot = f"{os.getpid()}-{self._clock.now_ns():x}"
        # Its record of requests is in memory: it lives as long as the broker that it is about.
        clocks = Clocks(self._clock.now_ns, self._clock.age_ns, self._clock.waiting_ns)
        self._desk = bots = Desk(
            self.terminal, boot, self._clock.now_ns, pace=options.speed, clocks=clocks
        )
        self._bots = _listen(options.port, self._alone(bots.handle))
        self._watcher = bots.watcher(options.watch_ms) if options.watch_ms else None
        if self._watcher is not None:
            bots.capabilities = (*bots.capabilities, capability(self._bots.hints_port))
        self._people = Server(f"{LOOPBACK}:0", anybody(self._alone(people.handle)))
        self._module_port = ModulePort(self.module, self._lock, self._note_busy)
        self.is_stopped: bool = False
        self._stop_at_ns: int | None = None
        self._busy_ns = self._clock.waiting_ns()
        self.whereabouts: Whereabouts = Whereabouts(
            pid=os.getpid(),
            gateway=self._bots.endpoint,
            person=self._people.endpoint,
            account=options.account,
            symbol=options.symbol,
            started=_utc(self._clock).isoformat(timespec="seconds"),
            module=self._module_port.address,
        )

    def run(self) -> None:
        """Serve until `stop`, or until nobody has asked anything for the idle time.

        Raises:
            OSError: the state folder cannot be written.
        """
        try:
            write_state(self.whereabouts)
        except OSError:
            self._let_go()
            raise
        log.info(
            "[TERMINAL] Simulated terminal: %s account, %s, gateway at %s",
            self._options.account,
            self._options.symbol,
            self._bots.endpoint,
        )
        try:
            while not self.is_stopped:
                self.turn(TURN_MS)
        finally:
            self.close()

    def stop(self) -> None:
        """End `run` after the turn under way; may be called from a signal handler."""
        self.is_stopped = True

    def turn(self, wait_ms: int) -> None:
        """Take in the market's prices, then serve what is there, waiting at most `wait_ms`."""
        self._step_market()
        served = self._bots.serve_once(wait_ms) + self._people.serve_once(0)
        self._watch()
        with self._lock:
            self._desk.tend()
        now_ns = self._clock.waiting_ns()
        if served:
            self._note_busy()
        if self._stop_at_ns is not None and now_ns >= self._stop_at_ns:
            self.stop()
        idle_min = (now_ns - self._busy_ns) / 60e9
        if self._options.idle_exit_min and idle_min >= self._options.idle_exit_min:
            log.info("[TERMINAL] Nobody asked anything for %g minutes", self._options.idle_exit_min)
            self.stop()

    def close(self) -> None:
        """Stop listening, and take back the state file."""
        left = len(self.terminal.ledger.positions)
        log.info("[TERMINAL] Ends, with %d open position%s", left, "s" * (left != 1))
        self._let_go()

    def _let_go(self) -> None:
        self._bots.close()
        self._people.close()
        self._module_port.close()
        self._desk.close()
        remove_state(self.whereabouts.pid)

    def _stop_soon(self) -> None:
        """Stop when the answer to the command that said so has had time to leave."""
        self._stop_at_ns = self._clock.waiting_ns() + FAREWELL_MS * 1_000_000

    def _alone(self, handle: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
        def alone(raw: bytes) -> bytes:
            with self._lock:
                return handle(raw)

        return alone

    def _watch(self) -> None:
        if self._watcher is None:
            return
        with self._lock:
            hint = self._watcher.turn()
        if hint is not None:
            self._bots.publish(hint)

    def _note_busy(self) -> None:
        self._busy_ns = self._clock.waiting_ns()

    def _step_market(self) -> None:
        with self._lock:
            for quote in self._playback.due():
                if quote.is_live:
                    self.terminal.quote(self._options.symbol, quote.bid, quote.ask)

    def _facts(self) -> dict[str, Any]:
        market = dt.datetime.fromtimestamp(self._playback.now_msc() / 1000, dt.UTC)
        return {
            **msgspec.to_builtins(self.whereabouts),
            "feed": self._options.feed,
            "speed": self._options.speed,
            "market_time": market.isoformat(timespec="seconds"),
        }


def _make_terminal(options: TerminalOptions, playback: Playback, clock: Clock) -> SimulatedTerminal:
    known = [setup.name for setup in DEFAULT_SYMBOLS]
    if options.symbol not in known:
        raise SettingsError("--symbol", options.symbol, f"give one of {', '.join(known)}")
    account = AccountSetup(margin_mode=MARGIN_MODES[options.account], balance=options.balance)
    # A trade server never gives a ticket twice, so the numbers go on from one process to the next.
    first = clock.now_ns() // 1_000_000_000 - TICKETS_BEGIN_SEC
    broker = Broker(
        accounts=[account],
        symbols=DEFAULT_SYMBOLS,
        now_msc=playback.now_msc,
        switches=Switches(server_offset_minutes=0),
        first_order=first,
        first_deal=first,
    )
    terminal = SimulatedTerminal(broker=broker, rng=random.Random(options.seed))
    terminal.initialize()
    return terminal


def _listen(port: int, handle: Any) -> Server:
    try:
        return Server(f"{LOOPBACK}:{port}", anybody(handle), hints=f"{LOOPBACK}:0")
    except OSError as error:
        valid = f"give a port that is free, or 0 for any free one ({error.strerror})"
        raise SettingsError("--port", str(port), valid) from error


def _utc(clock: Clock) -> dt.datetime:
    return dt.datetime.fromtimestamp(clock.now_ns() / 1e9, dt.UTC)
