"""The terminal process: a simulated MetaTrader 5 terminal behind a gateway, for `trueup terminal`.

One thread serves three sources in turn: the prices of the market, requests of bots on one loopback
port, and manual commands on another port. A gateway's worker calls a second terminal on the same
account, from a separate thread. The market's time is the server's time. Positions exist as long as
the process: after the end of a bot its positions stay open, as at a real terminal.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import os
import random
import threading
from collections.abc import Callable
from typing import Any

import msgspec

from trueup.errors import SettingsError, TrueupError
from trueup.filelock import ProcessLock
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
from trueup.sim.process.fault_desk import OTHER_LOGIN, FaultDesk
from trueup.sim.process.module_port import ModulePort
from trueup.sim.process.person_desk import PersonDesk
from trueup.sim.process.playback import Playback
from trueup.sim.process.whereabouts import (
    Whereabouts,
    lock_folder,
    remove_state,
    write_state,
)
from trueup.sim.terminal.terminal import SimulatedTerminal

log: Logger = logger("trueup.terminal")

LOOPBACK = "tcp://127.0.0.1"
TURN_MS = 20
FAREWELL_MS = 200
MARGIN_MODES = {
    "hedging": mt5.ACCOUNT_MARGIN_MODE_RETAIL_HEDGING,
    "netting": mt5.ACCOUNT_MARGIN_MODE_RETAIL_NETTING,
}
# So an hourly bar has four ticks per second at the default speed.
TICKS_PER_BAR = 240
DEFAULT_SPEED = 60.0
TICKETS_BEGIN_SEC = 1_600_000_000


class TerminalOptions(msgspec.Struct, frozen=True):
    """Options of a terminal process.

    `balance` is the first deposit in USD. `feed` is bars, random, or the path of a file. `speed` is
    market time divided by real time. `port` 0 selects a free port. The process ends after
    `idle_exit_min` minutes without a request, 0 for never. Every `watch_ms` milliseconds the
    process checks for changes to publish as hints, 0 for never.
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
    """Open a feed and start its playback.

    Raises:
        FeedError: the feed cannot be read.
    """
    quotes = open_feed(feed, seed=seed, ticks_per_bar=TICKS_PER_BAR)
    return Playback(quotes, speed, clock)


class TerminalProcess:
    """One terminal process: broker, terminals, sockets and the loop that serves the sockets.

    Raises:
        FeedError: the feed cannot be read.
        SettingsError: the symbol does not exist, or the port is in use.
    """

    def __init__(self, options: TerminalOptions, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._options = options
        self._playback = play(options.feed, options.seed, options.speed, self._clock)
        # Held during each access to the broker, from the loop or from a worker's thread.
        self._lock = threading.Lock()
        self.terminal: SimulatedTerminal = _make_terminal(options, self._playback, self._clock)
        self.module: SimulatedTerminal = SimulatedTerminal(broker=self.terminal.broker)
        # The first quote comes before the first request, so that no request finds an empty market.
        self._step_market()
        faults = FaultDesk((self.terminal, self.module), options.speed)
        people = PersonDesk(self.terminal, options.symbol, self._facts, self._stop_soon, faults)
        boot = f"{os.getpid()}-{self._clock.now_ns():x}"
        # The record of requests is in memory: record and simulated broker end together.
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
        self._folder: ProcessLock | None = None
        self._stop_at_ns: int | None = None
        self._busy_ns = self._clock.waiting_ns()
        self.whereabouts: Whereabouts = Whereabouts(
            pid=os.getpid(),
            gateway=self._bots.endpoint,
            person=self._people.endpoint,
            account=options.account,
            symbol=options.symbol,
            started=_utc(self._clock).isoformat(timespec="microseconds"),
            module=self._module_port.address,
        )

    def run(self) -> None:
        """Serve until `stop`, or until the idle time has passed without a request.

        Raises:
            TrueupError: another terminal has this folder.
            OSError: the state folder cannot be written.
        """
        # Bots find the terminal by this file; without the file the process is of no use.
        try:
            self._folder = lock_folder()
            write_state(self.whereabouts)
        except (TrueupError, OSError):
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
        """End `run` after the current turn; safe to call from a signal handler."""
        self.is_stopped = True

    def turn(self, wait_ms: int) -> None:
        """Apply new prices, then serve requests; wait at most `wait_ms` for the first request."""
        self._step_market()
        served = self._bots.serve_once(wait_ms) + self._people.serve_once(0)
        self._watch()
        with self._lock:
            self._desk.tend()
        # A clock that stands while the machine sleeps: sleep is no idle time.
        now_ns = self._clock.waiting_ns()
        if served:
            self._note_busy()
        if self._stop_at_ns is not None and now_ns >= self._stop_at_ns:
            self.stop()
        idle_min = (now_ns - self._busy_ns) / 60e9
        if self._options.idle_exit_min and idle_min >= self._options.idle_exit_min:
            log.info("[TERMINAL] No request for %g minutes", self._options.idle_exit_min)
            self.stop()

    def close(self) -> None:
        """Close the sockets and remove the state file."""
        left = len(self.terminal.ledger.positions)
        log.info("[TERMINAL] Ends, with %d open position%s", left, "s" * (left != 1))
        self._let_go()

    def _let_go(self) -> None:
        self._bots.close()
        self._people.close()
        self._module_port.close()
        self._desk.close()
        remove_state(self.whereabouts.pid)
        if self._folder is not None:
            self._folder.release()

    def _stop_soon(self) -> None:
        """Stop after a delay, so that the answer to the command `stop` is sent first."""
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
    # A trade server never reuses a ticket, so the numbers of a new process continue by the clock.
    first = clock.now_ns() // 1_000_000_000 - TICKETS_BEGIN_SEC
    broker = Broker(
        # The second account is for the login of another account, a fault.
        accounts=[account, dataclasses.replace(account, login=OTHER_LOGIN)],
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
        valid = f"give a port that is free, or 0 for any free one: {error.strerror}"
        raise SettingsError("--port", str(port), valid) from error


def _utc(clock: Clock) -> dt.datetime:
    return dt.datetime.fromtimestamp(clock.now_ns() / 1e9, dt.UTC)
