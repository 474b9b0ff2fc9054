"""A bot's process: the product's classes, put together as a bot puts them, that can be killed.

Death is an exception that nothing in the product may catch. It comes where the process is: at a
crash point, at the disk, blocked on its link, or between two turns. Nothing is saved on the way
out; what the next process knows is what the disk has.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from typing import Protocol

import msgspec

from trueup.core.book.events import OrderKind
from trueup.core.book.lifecycle import OrderStatus
from trueup.core.book.order import Order
from trueup.core.policy import Policy
from trueup.errors import JournalConflict, NotSent, Refused, StrategyError, TrueupError
from trueup.gateway.client.execution_gateway import ExecutionGateway
from trueup.lab.facts import facts
from trueup.lab.plan.plan import SYMBOL, FaultPlan
from trueup.lab.system.clocks import Machine, ProcessClock
from trueup.lab.system.disk import Disk
from trueup.lab.system.schedule import MS, Schedule
from trueup.lab.system.views import SyncWatch, book_seen
from trueup.lab.system.wire import Network, WorldLink
from trueup.processes import Process
from trueup.protocol.ticks import Tick
from trueup.runtime.bot.crash_points import CrashPoint
from trueup.runtime.bot.portfolio import PortfolioManager
from trueup.runtime.sync.reconciler import SyncResult
from trueup.runtime.trading.loop import TradingLoop
from trueup.runtime.trading.prices import GatewayPrices
from trueup.runtime.trading.strategy import Strategy

# After how many intervals without a sync a strategy takes what it is told for old.
CURRENT_SYNCS = 1.5
# How many fills a bot is told again after each sync that is to bring agreement.
FILLS_AGAIN = 3
# After how many events a bot saves its book: so early that most starts begin from what was saved,
# or, as in production, never within a run.
EVENTS_PER_CHECKPOINT = (3, 10, 10_000)


class Interrupted(KeyboardInterrupt):
    """Ctrl-C inside the simulated world; the real Ctrl-C of the operator ends the run."""


class Killed(BaseException):
    """The bot's process is no more. No `Exception`, so that nothing on the way catches it."""


class Trader(Protocol):
    """What a bot's owner wants of it; it outlives the process."""

    magic: int
    """The magic number of the bot's book."""

    def act(self, bot: BotProcess, loop: TradingLoop) -> None:
        """Ask for something, or for nothing."""


class Doom(msgspec.Struct):
    """Where a bot is to die: at a crash point, before a commit, or after one."""

    where: CrashPoint | str
    down_ms: int
    struck: Callable[[], None]
    meanwhile: Callable[[], None] | None = None


class Quiet:
    """A strategy without signals: the trader says what is done."""

    def on_tick(self, tick: Tick) -> int:
        """Return 0, always."""
        return 0


class SendingLink(WorldLink):
    """A bot's link, which tells of the orders that are handed to it."""

    def __init__(self, network: Network, owner: BotProcess) -> None:
        super().__init__(network, owner)
        self._bot, self._is_order = owner, False

    def send(self, message: bytes, timeout_ms: int) -> None:
        """Hand a request over."""
        super().send(message, timeout_ms)
        self._is_order = b'"order_id"' in message
        if self._is_order:
            self._bot.sent(message)

    def receive(self, timeout_ms: int) -> bytes | None:
        """Return the reply, unless somebody interrupts who waits for that of an order."""
        interrupted = self._bot.interrupted
        if self._is_order and interrupted is not None:
            self._bot.interrupted = None
            interrupted()
            raise Interrupted
        return super().receive(timeout_ms)


class BotProcess:
    """One bot on one machine, by name; it starts when `start` is called, and again after deaths."""

    def __init__(
        self,
        name: str,
        plan: FaultPlan,
        policy: Policy,
        schedule: Schedule,
        network: Network,
        disk: Disk,
        trader: Trader,
        make_strategy: Callable[[], Strategy],
        observe: Callable[[facts.Fact], None],
        opened: Callable[[int, facts.BookSeen], None],
    ) -> None:
        self.name = name
        self.plan: FaultPlan = plan
        self.policy: Policy = policy
        self.schedule: Schedule = schedule
        self.disk: Disk = disk
        self.machine: Machine = Machine(schedule)
        self.observe = observe
        self._opened = opened
        self.pm: PortfolioManager | None = None
        self.loop: TradingLoop | None = None
        self.reconciler: SyncWatch | None = None
        self.doom: Doom | None = None
        self.meanwhile: Callable[[], None] | None = None
        """What somebody does when a look of it is under way next."""
        self.interrupted: Callable[[], None] | None = None
        """Told as somebody presses Ctrl-C while the answer to the next order is waited for."""
        self.retells: random.Random | None = None
        """By what the readings of its syncs by hand are told in another way too."""
        self.owes_own_sync = False
        """It has not believed a reading that it asked for by itself since this was set."""
        self.rests = False
        """It takes no turns of its own any more, and syncs when it is told to."""
        self.is_retired: bool = False
        """It does not start again after its death."""
        self.was_refused: bool = False
        """At its latest start another one wrote the journal."""
        self._network, self._trader, self._make_strategy = network, trader, make_strategy
        self._events_per_checkpoint = plan.chance(f"checkpoints {name}").choice(
            EVENTS_PER_CHECKPOINT
        )
        self._starts = 0
        self._is_running = False
        self._is_killed = False
        self._killed_down_ms = 0
        self._asleep_until_ns = 0

    # Life and death.

    def is_alive(self) -> bool:
        """Return whether the process runs."""
        return self.pm is not None and not self._is_killed

    def is_doomed(self) -> bool:
        """Return whether it was killed while it was blocked."""
        return self._is_killed

    def must_live(self) -> None:
        """Raise where it was killed."""
        if self._is_killed:
            raise Killed("in the middle of a turn")

    def is_running(self) -> bool:
        """Return whether a start would be none: the process is there, alive or about to die."""
        return self.pm is not None or self._is_running

    def start(self, *, take_over: bool = False) -> None:
        """Start the process, unless it runs."""
        if not self.is_running():
            self._run(lambda: self._start(take_over=take_over))

    def kill(self, down_ms: int) -> None:
        """Kill the process wherever it is; it starts again after `down_ms`."""
        if not self.is_running():
            return
        self._is_killed, self._killed_down_ms = True, down_ms
        if not self._is_running:
            self._bury("between two turns")

    def sleep_until(self, until_ns: int) -> None:
        """Let the whole machine sleep: no turn before that time."""
        self._asleep_until_ns = until_ns
        self.machine.sleep_until(until_ns)

    def _run(self, step: Callable[[], None]) -> None:
        """Run a step of the process, to its end or to the process's."""
        self._is_running = True
        try:
            step()
            self.must_live()
        except Killed as death:
            self._bury(str(death))
        except StrategyError:
            # No disaster of the world's: its author is told.
            raise
        except TrueupError as error:
            # Nobody catches it in a bot either: the process ends, and somebody starts it again.
            self._killed_down_ms = 1_000
            self._bury(f"{type(error).__name__}: {_told(error)}")
        finally:
            self._is_running = False

    def _bury(self, where: str) -> None:
        journal, self.pm = self.pm, None
        self.loop = self.reconciler = None
        self._is_killed = False
        self._network.hang_up(self)
        self.observe(facts.Died(self.schedule.now_ns, self.name, where))
        doom, self.doom = self.doom, None
        if doom is not None and doom.meanwhile is not None:
            doom.meanwhile()
        if self.disk.holder is self:
            self.disk.holder = None
        del journal
        if not self.is_retired:
            self.schedule.after(self._killed_down_ms, self.start)

    def _die(self, where: str) -> None:
        doom = self.doom
        assert doom is not None
        doom.struck()
        self._killed_down_ms = doom.down_ms
        raise Killed(where)

    # Where death may come.

    def pass_point(self, point: CrashPoint) -> None:
        """Pass a crash point of the product."""
        if self.doom is not None and self.doom.where is point:
            self._die(point.value)

    def commits(self, *, is_done: bool) -> None:
        """Pass the moment before a commit, and the one after it."""
        where = "after a commit" if is_done else "before a commit"
        if self.doom is not None and self.doom.where == where:
            self._die(where)

    def sent(self, message: bytes) -> None:
        """Note that an order was handed to the link; pass the moment after it."""
        self.observe(facts.Sent(self.schedule.now_ns, self.name, message))
        self.pass_point(CrashPoint.AFTER_SEND)

    def wait(self, ms: int) -> None:
        """Be blocked for a time."""
        self._wait_until(self.schedule.now_ns + ms * MS)

    def _wait_until(self, until_ns: int) -> None:
        self.schedule.run(until_ns, self.is_doomed)
        self.must_live()

    # What it does.

    def _start(self, *, take_over: bool) -> None:
        setting = self.plan.setting
        self._starts += 1
        self.was_refused = False
        clock = ProcessClock(self.machine, self._wait_until)
        try:
            journal = self.disk.open(self, clock.now_ns, take_over=take_over)
        except JournalConflict as error:
            now_ns = self.schedule.now_ns
            self.was_refused = True
            self.observe(facts.Refused(now_ns, self.name, _told(error)))
            return
        run = f"{self.plan.seed:x}{self.name}{self._starts}"
        self.pm = PortfolioManager(
            SYMBOL,
            journal=journal,
            clock=clock,
            magic=self._trader.magic,
            run=run,
            magic_token=setting.magic_token,
            crash=self.pass_point,
            events_per_checkpoint=self._events_per_checkpoint,
        )
        # A run is the same on every machine.
        self.pm.process = Process(1, "simulated")
        self._put_together(self.pm, run, journal.token)
        assert self.reconciler is not None
        assert self.loop is not None
        self.loop.last_result = self.reconciler.startup_recovery()
        self._plan_turn(self.schedule.now_ns + setting.pace_ms * MS)

    def _put_together(self, pm: PortfolioManager, run: str, token: int) -> None:
        setting = self.plan.setting
        gateway = ExecutionGateway(
            "127.0.0.1",
            5555,
            setting.timeout_ms,
            link=lambda _: SendingLink(self._network, self),
            session=run,
            hints=lambda _: self._network.hint_line(self),
        )
        self.reconciler = SyncWatch(
            pm,
            gateway,
            setting.sync_interval_ms / 1000,
            policy=self.policy,
            bot=self,
        )
        self.loop = TradingLoop(
            pm,
            self.reconciler,
            self._make_strategy() if setting.trades_by_signal else Quiet(),
            GatewayPrices(gateway, SYMBOL),
            volume=10 * setting.lots if setting.is_coarse else setting.lots,
            pace_sec=setting.pace_ms / 1000,
        )
        self._opened(token, book_seen(pm, self.schedule.now_ns, self.name))

    def _plan_turn(self, at_ns: int) -> None:
        start = self._starts
        self.schedule.at(at_ns, lambda: self._turn(start))

    def _turn(self, start: int) -> None:
        """Take a turn of the process of this start, and plan the next one."""
        if self.pm is None or start != self._starts or self.rests:
            return
        if self.schedule.now_ns < self._asleep_until_ns:
            self._plan_turn(self._asleep_until_ns)
            return
        began_ns, pace_ms = self.schedule.now_ns, self.plan.setting.pace_ms
        if self._is_running:
            # It waits for the answer to somebody else's question.
            self._plan_turn(began_ns + pace_ms * MS)
            return
        self._run(self._take_turn)
        if self.pm is not None:
            self._plan_turn(began_ns + pace_ms * MS)
            if self.meanwhile is not None and self.reconciler and self.reconciler.is_looking:
                self.schedule.after(pace_ms / 2, self._meddle)

    def _meddle(self) -> None:
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            meanwhile()

    def _take_turn(self) -> None:
        assert self.loop is not None
        try:
            self.loop.turn()
            self._ask()
            if not self.plan.setting.trades_by_signal:
                self._trader.act(self, self.loop)
        except Interrupted:
            # As in a notebook: the call ends, and the program goes on.
            return
        except JournalConflict:
            # Another process writes the journal now: a bot of ours ends then.
            self.is_retired = True
            raise

    def _ask(self) -> None:
        """Ask what a strategy asks before it trades."""
        pm = self.pm
        assert pm is not None
        max_age_sec = CURRENT_SYNCS * self.plan.setting.sync_interval_ms / 1000
        passes = [pm.check_risk(signal) for signal in (1, -1)]
        self.observe(
            facts.HandedOut(
                self.schedule.now_ns,
                bot=self.name,
                flat=not pm.book.holdings,
                current=pm.is_current(max_age_sec),
                max_age_ns=round(max_age_sec * 1e9),
                # Whoever is flat in the symbol opens something with whatever passes.
                may_open=not pm.entries_refused() or (pm.position is None and any(passes)),
            )
        )

    def stop(self, down_ms: int) -> None:
        """End the process in good order, and start it again after `down_ms`."""
        if self.pm is not None and not self._is_running:
            self._killed_down_ms = down_ms
            self._run(self._close)

    def _close(self) -> None:
        assert self.pm is not None
        self.pm.close_journal()
        raise Killed("in good order")

    def sync(self) -> SyncResult | None:
        """Reconcile now, as a person at the console asks it to."""
        results: list[SyncResult] = []
        if self.reconciler is not None and not self._is_running:
            reconciler = self.reconciler
            self._run(lambda: results.append(reconciler.sync_positions()))
        return results[0] if results else None

    def trade(self) -> list[str]:
        """Close all that the book has, and open one position; return what did not work, and why.

        What is held back for a reason is left alone.
        """
        said: list[str] = []
        if self.pm is not None and not self._is_running:
            self._run(lambda: said.extend(self._trade()))
        return said

    def _trade(self) -> Iterator[str]:
        pm, reconciler = self.pm, self.reconciler
        assert pm is not None
        assert reconciler is not None
        if reconciler.holds or pm.book.in_doubt or pm.restrictions:
            return
        magic = next(iter(self.policy.magics or ()), 0)
        wishes: list[tuple[str, Callable[[], Order]]] = [
            (f"close {ticket}", lambda ticket=ticket: pm.close(ticket))  # type: ignore[misc]
            for ticket in [held.position.ticket for held in pm.book.holdings.values()]
        ]
        wishes.append(("open a position", lambda: pm.submit("buy", 0.01, magic=magic)))
        for wish, ask in wishes:
            try:
                order = ask()
            except (Refused, NotSent, ValueError) as error:
                yield f"{self.name} cannot {wish}: {_told(error)}"
            else:
                if order.status is not OrderStatus.FILLED:
                    yield f"{self.name} cannot {wish}: {order.status.value}, {order.error}"

    def hear_again(self) -> None:
        """Be told the last fills again, the newest first, as by a gateway that repeats itself."""
        if self.pm is not None and not self._is_running:
            self._run(self._hear_again)

    def _hear_again(self) -> None:
        assert self.pm is not None
        before = self.pm.book.state()
        at_market = [one for one in self.pm.book.orders.values() if one.kind is OrderKind.MARKET]
        filled = [one for one in at_market if one.status is OrderStatus.FILLED][-FILLS_AGAIN:]
        for order in reversed(filled):
            self.pm.on_fill(
                {
                    "order_id": order.order_id,
                    "status": "FILLED",
                    "ticket": order.ticket,
                    "filled_price": order.fill_price,
                    "filled_volume": order.filled_volume,
                }
            )
        after, now_ns = self.pm.book.state(), self.schedule.now_ns
        what = f"each of its last {len(filled)} fills"
        self.observe(facts.Repeated(now_ns, self.name, what, before, after))


def _told(error: Exception) -> str:
    """Return what an error says, without what differs from one run of the world to the next."""
    return re.sub(r" \(process \d+ on [^)]*\)", "", str(error))
