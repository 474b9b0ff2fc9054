"""A bot's process: the product's classes, put together as a bot does, in a process that can die.

Death is an exception that no code of the product may catch. The exception is raised at the current
place of the process: at a crash point, at the disk, blocked on its link, or between two turns.
Nothing is saved on the way out; the next process knows only the contents of the disk.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Protocol

import msgspec

from trueup.core.book.events import OrderKind
from trueup.core.book.lifecycle import OrderStatus
from trueup.core.book.order import Order
from trueup.core.limits.limits import NO_LIMITS
from trueup.core.policy import Policy
from trueup.errors import JournalConflict, NotSent, Refused, StrategyError, TrueupError
from trueup.gateway.client.execution_gateway import ExecutionGateway
from trueup.lab.facts import facts
from trueup.lab.plan.plan import SYMBOL, FaultPlan
from trueup.lab.system.clocks import Machine, ProcessClock
from trueup.lab.system.disk import Disk
from trueup.lab.system.schedule import MS, Schedule
from trueup.lab.system.views import SyncWatch, book_seen, lasting
from trueup.lab.system.wire import Network, WorldLink
from trueup.processes import Process
from trueup.protocol.ticks import Tick
from trueup.runtime.bot.crash_points import CrashPoint
from trueup.runtime.bot.portfolio import PortfolioManager
from trueup.runtime.sync.reconciler import SyncResult
from trueup.runtime.trading.loop import TradingLoop
from trueup.runtime.trading.prices import GatewayPrices
from trueup.runtime.trading.strategy import Strategy

# The number of sync intervals after which a strategy takes its state for old.
CURRENT_SYNCS = 1.5
# The number of fills reported again after each sync that leads to agreement.
FILLS_AGAIN = 3
# The number of events between two checkpoints: so small that most starts use a checkpoint, or, as
# in production, so large that no run has a checkpoint.
EVENTS_PER_CHECKPOINT = (3, 10, 10_000)


class Interrupted(KeyboardInterrupt):
    """Ctrl-C inside the simulated world; the real Ctrl-C of the operator ends the run."""


class Killed(BaseException):
    """The bot's process died. Not an `Exception`, so that no code on the way catches this."""


class Trader(Protocol):
    """The owner of a bot, who asks for orders and outlives the process."""

    magic: int
    """The magic number of the bot's book."""

    def act(self, bot: BotProcess, loop: TradingLoop) -> None:
        """Ask for an order, or for nothing."""


class Doom(msgspec.Struct):
    """The place of a bot's next death: a crash point, or just before or after a commit."""

    where: CrashPoint | str
    down_ms: int
    struck: Callable[[], None]
    meanwhile: Callable[[], None] | None = None


class Quiet:
    """A strategy without signals: the trader asks for all orders."""

    def on_tick(self, tick: Tick) -> int:
        """Return 0, always."""
        return 0


class SendingLink(WorldLink):
    """A bot's link, which reports the orders that the bot sends."""

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
        """Return the reply, unless Ctrl-C interrupts the wait for the reply to an order."""
        interrupted = self._bot.interrupted
        if self._is_order and interrupted is not None:
            self._bot.interrupted = None
            interrupted()
            raise Interrupted
        return super().receive(timeout_ms)


class BotProcess:
    """A named bot on its own machine; `start` starts the bot, which restarts after each death."""

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
        """Called once during the bot's next sync, while the bot waits for the reading."""
        self.interrupted: Callable[[], None] | None = None
        """Called when Ctrl-C interrupts the wait for the reply to the next order."""
        self.retells: random.Random | None = None
        """Draws equivalent forms of the readings of syncs by hand; None for no second plan."""
        self.owes_own_sync = False
        """No sync of the bot's own loop has trusted a reading since this was set."""
        self.rests = False
        """The bot takes no turns any more, and syncs only on request."""
        self.is_retired: bool = False
        """The bot does not restart after its death."""
        self.was_refused: bool = False
        """The latest start was refused, because another bot wrote the journal."""
        # The next fields belong to the bot's owner and outlive each process.
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
        """Return whether the process was killed while blocked."""
        return self._is_killed

    def must_live(self) -> None:
        """Raise `Killed` if the process was killed."""
        if self._is_killed:
            raise Killed("in the middle of a turn")

    def is_running(self) -> bool:
        """Return whether a process exists, alive or about to die, so that no start is possible."""
        return self.pm is not None or self._is_running

    def start(self, *, take_over: bool = False) -> None:
        """Start the process, unless the process runs."""
        if not self.is_running():
            self._run(lambda: self._start(take_over=take_over))

    def kill(self, down_ms: int) -> None:
        """Kill the process at its current place; a new process starts after `down_ms`."""
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
        """Run a step of the process, to the step's end or to the process's death."""
        self._is_running = True
        try:
            step()
            self.must_live()
        except Killed as death:
            self._bury(str(death))
        except StrategyError:
            # Not a fault of the world: the strategy's author must see the error.
            raise
        except TrueupError as error:
            # A bot does not catch this error either: the process ends, and is started again.
            self._killed_down_ms = 1_000
            self._bury(f"{type(error).__name__}: {lasting(str(error))}")
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

    # Places of death.

    def pass_point(self, point: CrashPoint) -> None:
        """Pass a crash point of the product."""
        if self.doom is not None and self.doom.where is point:
            self._die(point.value)

    def commits(self, *, is_done: bool) -> None:
        """Pass the time just before a commit, or just after a commit."""
        where = "after a commit" if is_done else "before a commit"
        if self.doom is not None and self.doom.where == where:
            self._die(where)

    def sent(self, message: bytes) -> None:
        """Note that an order was handed to the link; pass the crash point after that."""
        self.observe(facts.Sent(self.schedule.now_ns, self.name, message))
        self.pass_point(CrashPoint.AFTER_SEND)

    def wait(self, ms: int) -> None:
        """Be blocked for a time."""
        self._wait_until(self.schedule.now_ns + ms * MS)

    def _wait_until(self, until_ns: int) -> None:
        self.schedule.run(until_ns, self.is_doomed)
        self.must_live()

    # Turns and syncs.

    def _start(self, *, take_over: bool) -> None:
        setting = self.plan.setting
        self._starts += 1
        self.was_refused = False
        clock = ProcessClock(self.machine, self._wait_until)
        # The fence of the journal decides whether this bot may start at all.
        try:
            journal = self.disk.open(self, clock.now_ns, take_over=take_over)
        except JournalConflict as error:
            now_ns = self.schedule.now_ns
            self.was_refused = True
            self.observe(facts.Refused(now_ns, self.name, lasting(str(error))))
            return
        # Each process has a name of its own, from which its order ids and tokens follow.
        run = f"{self.plan.seed:x}{self.name}{self._starts}"
        # A run depends on its seed alone, not on the limits of the folder.
        self.pm = PortfolioManager(
            SYMBOL,
            journal=journal,
            clock=clock,
            magic=self._trader.magic,
            run=run,
            magic_token=setting.magic_token,
            crash=self.pass_point,
            events_per_checkpoint=self._events_per_checkpoint,
            limits=NO_LIMITS,
        )
        # The real process id would make runs differ.
        self.pm.process = Process(1, "simulated")
        self._put_together(self.pm, run, journal.token)
        assert self.reconciler is not None
        assert self.loop is not None
        self.loop.last_result = self.reconciler.startup_recovery()
        self._plan_turn(self.schedule.now_ns + setting.pace_ms * MS)

    def _put_together(self, pm: PortfolioManager, run: str, token: int) -> None:
        setting = self.plan.setting
        # The product's own client and reconciler; only link and hint line are simulated.
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
            {SYMBOL: GatewayPrices(gateway, SYMBOL)},
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
            # The process still waits for the answer to a question of another event.
            self._plan_turn(began_ns + pace_ms * MS)
            return
        self._run(self._take_turn)
        # A fault that needs a sync under way is carried out before the next turn.
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
            # As in a notebook: the call ends, and the program continues.
            return
        except JournalConflict:
            # Another process writes the journal now: a bot of ours ends then.
            self.is_retired = True
            raise

    def _ask(self) -> None:
        """Ask the questions that a strategy asks before trading, and record the answers."""
        pm = self.pm
        assert pm is not None
        max_age_sec = CURRENT_SYNCS * self.plan.setting.sync_interval_ms / 1000
        pm.follow()
        # A flat bot opens a position with any signal that passes.
        may_open = not pm.entries_refused() or (
            pm.position is None and any(map(pm.check_risk, (1, -1)))
        )
        self.observe(
            facts.HandedOut(
                self.schedule.now_ns,
                bot=self.name,
                flat=not pm.book.holdings,
                current=pm.is_current(max_age_sec),
                max_age_ns=round(max_age_sec * 1e9),
                may_open=may_open,
                symbol=pm.symbol,
            )
        )

    def stop(self, down_ms: int) -> None:
        """Stop the process in good order, and start a new process after `down_ms`."""
        if self.pm is not None and not self._is_running:
            self._killed_down_ms = down_ms
            self._run(self._close)

    def _close(self) -> None:
        assert self.pm is not None
        self.pm.close_journal()
        raise Killed("in good order")

    def sync(self) -> SyncResult | None:
        """Reconcile now, on the request of a person at the console."""
        results: list[SyncResult] = []
        if self.reconciler is not None and not self._is_running:
            reconciler = self.reconciler
            self._run(lambda: results.append(reconciler.sync_positions()))
        return results[0] if results else None

    def trade(self) -> list[str]:
        """Close all positions of the book, and open a position; return the failures with reasons.

        A bot with held corrections, doubts or restrictions does not trade.
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
        # The tickets are collected first, because each close changes the book.
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
                yield f"{self.name} cannot {wish}: {lasting(str(error))}"
            else:
                if order.status is not OrderStatus.FILLED:
                    yield f"{self.name} cannot {wish}: {order.status.value}, {order.error}"

    def hear_again(self) -> None:
        """Receive the last fills again, the newest first, as if the gateway repeated them."""
        if self.pm is not None and not self._is_running:
            self._run(self._hear_again)

    def _hear_again(self) -> None:
        assert self.pm is not None
        # Nothing may change the book here, so its state is compared before and after.
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
