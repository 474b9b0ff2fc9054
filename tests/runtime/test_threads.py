"""Threads that share a book: one syncs, others trade and read, over a real socket."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.forking import needs_fork, program
from trueup.core.book.events import PositionAdopted, PositionClosed
from trueup.core.model import Position as BrokerPosition
from trueup.core.model import Side
from trueup.runtime.bot.kept_book import KeptBook
from trueup.runtime.bot.portfolio import PortfolioManager
from trueup.runtime.bot.shared_copy import SharedCopy
from trueup.runtime.sync.reconciler import StateReconciler
from trueup.runtime.time.clock import ManualClock, SystemClock
from trueup.sim.terminal.person import Person
from trueup.sim.terminal.terminal import SimulatedTerminal
from trueup.testing import AccountSetup, SimulatedGateway

DEADLINE_SEC = 60.0
ORDERS = 18


class Bot:
    """A book, its reconciler, and a gateway of its own on loopback."""

    def __init__(self, folder: Path) -> None:
        self.clock = ManualClock(SystemClock().now_ns())
        self.terminal = SimulatedTerminal(now_msc=lambda: self.clock.now_ns() // 1_000_000)
        assert self.terminal.initialize()
        self.terminal.quote("EURUSD", 1.1, 1.1001)
        self.person = Person(self.terminal.broker, AccountSetup().login)
        self.gateway = SimulatedGateway(self.terminal, self.clock)
        self.pm = PortfolioManager("EURUSD", journal=folder / "bot.db", clock=self.clock)
        self.reconciler = StateReconciler(self.pm, self.gateway.client(), 0)
        assert self.reconciler.startup_recovery().errors == []

    def lots(self) -> float:
        """What the broker has of it."""
        with self.gateway.terminal() as terminal:
            return sum(row.volume for row in terminal.positions_get() or ())


@pytest.fixture
def bot(tmp_path: Path) -> Iterator[Bot]:
    made = Bot(tmp_path)
    yield made
    made.pm.close_journal()
    made.gateway.stop()


@contextmanager
def meanwhile(call: Callable[[], object]) -> Iterator[None]:
    """Have a thread call something over and over; what it raises is raised at the end."""
    is_over = threading.Event()

    def again() -> int:
        count = 0
        while not is_over.is_set():
            call()
            count += 1
        return count

    with ThreadPoolExecutor(1) as pool:
        calling = pool.submit(again)
        try:
            yield
        finally:
            is_over.set()
        assert calling.result(DEADLINE_SEC) > 0


def read_all(bot: Bot) -> None:
    """Read what a page shows."""
    position = bot.pm.position
    if position is not None:
        assert position.net_volume > 0
    for one in bot.pm.get_local_positions().values():
        assert one.net_volume == 0.01
    for name, order in bot.pm.orders.items():
        assert order.order_id == name
    assert len(bot.pm.get_order_history()) <= len(bot.pm.orders)
    assert bot.reconciler.get_status()["health"]
    assert all(entry["action"] for entry in bot.reconciler.get_audit_trail())


def test_one_thread_syncs_another_trades_and_others_read(bot: Bot) -> None:
    with (
        meanwhile(bot.reconciler.sync_continuous),
        meanwhile(bot.reconciler.sync_positions),
        meanwhile(lambda: read_all(bot)),
        meanwhile(lambda: read_all(bot)),
    ):
        for number in range(ORDERS):
            order = bot.pm.submit("buy", 0.01, key=f"k{number}")
            assert order.status.value == "FILLED"
            if number % 3 == 2:
                assert bot.pm.close(order.ticket).status.value == "FILLED"
    assert bot.reconciler.sync_positions().errors == []
    assert bot.pm.position is not None
    assert bot.lots() == pytest.approx(bot.pm.position.net_volume) == 0.01 * ORDERS * 2 / 3


def test_threads_that_use_one_key_send_one_order(bot: Bot) -> None:
    with ThreadPoolExecutor(6) as pool:
        made = [pool.submit(bot.pm.submit, "buy", 0.01, key="monday") for _ in range(12)]
        assert len({one.result(DEADLINE_SEC).order_id for one in made}) == 1
    assert bot.lots() == 0.01


def test_asyncio_to_thread_trades_and_syncs(bot: Bot) -> None:
    async def main() -> None:
        wishes = [asyncio.to_thread(bot.pm.submit, "buy", 0.01, key=f"a{n}") for n in range(5)]
        looks = [asyncio.to_thread(bot.reconciler.sync_positions) for _ in range(5)]
        await asyncio.gather(*wishes, *looks)

    asyncio.run(main())
    assert bot.lots() == pytest.approx(0.05)
    assert len(bot.pm.get_local_positions()) == 5


def test_what_belongs_together_is_done_in_one_turn(bot: Bot) -> None:
    """Of many threads that each want one position, one opens it."""

    def wants_one() -> None:
        with bot.pm.turn:
            if bot.pm.position is None and bot.pm.check_risk(1):
                bot.pm.submit("buy", 0.01)

    with ThreadPoolExecutor(6) as pool:
        for one in [pool.submit(wants_one) for _ in range(12)]:
            one.result(DEADLINE_SEC)
    assert bot.lots() == 0.01


# What only reads, or takes the turn by itself, or is for the thread that has the turn already.
WITHOUT_A_TURN = {
    PortfolioManager: {
        *("is_current", "get_local_positions", "get_position_summary", "get_order_history"),
        *("find_order_by_ticket", "ticket_to_close", "next_order_id"),
        *("recorded", "recorded_among"),
        *("commit", "find_out", "follow", "entries_refused", "close_journal", "watch"),
    },
    StateReconciler: {
        *("get_audit_trail", "get_status", "sync_continuous", "note_neighbours"),
        "recheck_deals",
    },
}


@pytest.mark.parametrize("owner", WITHOUT_A_TURN)
def test_what_may_change_a_book_takes_turns(owner: type) -> None:
    """A method that is added here without a turn has to be named above, with its reason."""
    methods = {
        name: member
        for name, member in vars(owner).items()
        if callable(member) and not name.startswith("_")
    }
    free = {name for name, member in methods.items() if not hasattr(member, "__wrapped__")}
    assert free == WITHOUT_A_TURN[owner]


def test_sync_continuous_returns_at_once_while_another_thread_sends(bot: Bot) -> None:
    """The order is at the gateway, which answers when it is let."""
    with ThreadPoolExecutor(1) as pool, bot.gateway.terminal():
        sending = pool.submit(bot.pm.submit, "buy", 0.01)
        while not bot.pm.orders:
            assert not sending.done()
        assert bot.reconciler.sync_continuous() is None
        # Nor does a reader wait.
        assert bot.pm.position is None
        assert bot.reconciler.get_status()["portfolio_position"] == "FLAT"
        assert not sending.done()
    assert sending.result(DEADLINE_SEC).status.value == "FILLED"
    assert bot.reconciler.sync_positions().errors == []
    assert bot.lots() == 0.01


def test_two_books_share_one_gateway_object(bot: Bot, tmp_path: Path) -> None:
    shared = bot.reconciler.gateway
    other = PortfolioManager("EURUSD", journal=tmp_path / "other.db", clock=bot.clock, magic=7)
    looking = StateReconciler(other, shared, 0)
    looking.startup_recovery()

    def trade(pm: PortfolioManager) -> None:
        for number in range(10):
            assert pm.submit("buy", 0.01, key=f"{pm.magic}-{number}").status.value == "FILLED"

    with meanwhile(lambda: shared.get_tick("EURUSD")), ThreadPoolExecutor(2) as pool:
        for one in [pool.submit(trade, pm) for pm in (bot.pm, other)]:
            one.result(DEADLINE_SEC)
    other.close_journal()
    assert bot.lots() == pytest.approx(0.2)


@needs_fork
def test_a_fork_waits_for_no_thread_that_reads_the_clock_or_writes_the_audit_trail(
    tmp_path: Path,
) -> None:
    code = """
from trueup.runtime.story.audit import AuditTrail
from trueup.runtime.time.clock import AgeClock
clock, trail = AgeClock(lambda: 7, lambda: 9), AuditTrail()
held, goes_on = threading.Event(), threading.Event()
def hold():
    with clock._lock, trail._turn:
        held.set()
        goes_on.wait()
holder = threading.Thread(target=hold)
holder.start()
held.wait()
helper = fork(lambda: say(clock.now_ns(), trail.entries()))
say(wait(helper))
goes_on.set()
holder.join()
"""
    with program(code, cwd=tmp_path) as running:
        assert running.lines() == ["7 []", "0"]


# What a reader sees.

ROW = BrokerPosition(
    ticket=7, identifier=7, symbol="EURUSD", side=Side.BUY, volume=0.1, price_open=1.1
)


def test_a_reader_never_sees_the_middle_of_a_change() -> None:
    """A rollover closes one position and adopts the next in one commit."""
    kept = KeptBook(None, "s", ManualClock(1))
    shown = SharedCopy(kept, lambda: len(kept.book.holdings))
    kept.commit([PositionAdopted(at_ns=1, position=ROW)])
    assert shown.read() == 1
    seen: list[int] = []
    closes = PositionClosed(at_ns=2, position=ROW, because="rolled")
    apply = kept.book.apply

    def slowly(event: object) -> None:
        apply(event)  # type: ignore[arg-type]
        with ThreadPoolExecutor(1) as pool:
            seen.append(pool.submit(shown.read).result(DEADLINE_SEC))

    kept.book.apply = slowly  # type: ignore[method-assign]
    again = BrokerPosition(
        ticket=8, identifier=8, symbol="EURUSD", side=Side.BUY, volume=0.1, price_open=1.2
    )
    kept.commit([closes, PositionAdopted(at_ns=2, position=again)])
    assert seen == [1, 1]
    assert shown.read() == 1


def test_a_copy_that_a_change_overtook_is_made_anew() -> None:
    kept = KeptBook(None, "s", ManualClock(1))
    events = [PositionAdopted(at_ns=1, position=ROW)]

    def make() -> int:
        count = len(kept.book.holdings)
        if events:
            kept.commit([events.pop()])
        return count

    shown = SharedCopy(kept, make)
    assert shown.read() == 1
    assert shown.read() == 1


def test_a_dictionary_that_grows_while_it_is_copied_is_copied_again() -> None:
    kept = KeptBook(None, "s", ManualClock(1))
    trouble = [RuntimeError("dictionary changed size during iteration"), KeyError(7)]

    def make() -> str:
        if trouble:
            raise trouble.pop()
        return "whole"

    assert SharedCopy(kept, make).read() == "whole"


def test_a_copy_that_fails_of_itself_says_so() -> None:
    kept = KeptBook(None, "s", ManualClock(1))

    def make() -> str:
        raise KeyError(7)

    with pytest.raises(KeyError):
        SharedCopy(kept, make).read()


def test_orders_may_be_added_while_they_are_walked() -> None:
    pm = PortfolioManager("EURUSD", clock=ManualClock(1))
    pm.create_order(1, 1.1)
    for _ in pm.orders:
        pm.create_order(1, 1.1)
    names = list(pm.orders)
    assert names == [order.order_id for order in pm.orders.values()]
    assert pm.orders == dict(pm.orders.items())
    assert repr(pm.orders) == repr(pm.book.orders)
