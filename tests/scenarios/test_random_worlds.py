"""Random worlds: traders, people and robots on one account, faults of every kind, in any order.

What has to hold at every step: a sync that was not believed changed nothing; nothing that is open
at the broker left the book by a sync; nothing was closed without proof; nothing foreign was taken
or touched; planning again on the same snapshot is empty. And when the faults stop, book and broker
agree within a few syncs.
"""

from __future__ import annotations

import json
import random
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.desk_world import BUY, NETTING, OTHER, SELL, DeskWorld, agree
from trueup.core.book.book import Book
from trueup.core.digest import digest
from trueup.core.look.inputs import SyncInputs
from trueup.core.look.waited import by_dates
from trueup.core.model import Side, Snapshot
from trueup.core.policy import Adopt, Policy
from trueup.core.sync.plan import Plan, plan
from trueup.errors import Refused
from trueup.gateway.client.reader import Question
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.runtime.sync.reconciler import SyncResult
from trueup.sim.market.records import Refusal
from trueup.sim.market.switches import DealOrder, FiguresFrom, ListAnswer
from trueup.sim.market.symbols import AccountSetup
from trueup.sim.terminal.terminal_faults import AnswersEmpty, AnswersPartial, AnswersStale, Fails

OURS, STRANGE = 7, 99
POLICY = Policy(symbols=frozenset({"EURUSD"}), magics=frozenset({OURS}), adopt=Adopt.OURS)
ALL = Policy(symbols=frozenset({"EURUSD"}))
SYNCS_TO_AGREE = 4

TRADES = ("submit", "close", "partial")
STRANGERS = ("strange in", "strange out")
ROBOTS = ("robot in", "robot out", "robot part", "stop", "place", "cancel")
OTHERS = (*ROBOTS, *STRANGERS, "quote", "night")
STATES = ("cut", "mend", "restart", "initialize", "new gateway", "other account", "own account")
ANSWERS = ("lost", "empty", "half", "stale", "fails", "torn")
FAULTS = (*STATES, *ANSWERS, "late list", "late deals", "in time")

LISTS = ("positions_get", "orders_get", "positions_total", "orders_total", "account_info")


class World(DeskWorld):
    """A world in which anything may happen, drawn from one seed."""

    def __init__(self, seed: int, account: AccountSetup, policy: Policy) -> None:
        chance = random.Random(seed)
        super().__init__(
            account,
            policy=policy,
            others=(OTHER,),
            disconnected_list=chance.choice(list(ListAnswer)),
            unsynchronised_list=chance.choice(list(ListAnswer)),
            account_figures=chance.choice(list(FiguresFrom)),
            deal_order=chance.choice(list(DealOrder)),
            resync_ms=chance.choice([0, 1_500]),
            order_history_lag_ms=chance.choice([0, 1_500]),
        )
        self.chance = chance
        self.hand = self.terminal.robot(OURS)
        self.stranger = self.terminal.robot(STRANGE)

    def happen(self, what: str) -> None:
        """Let one thing happen; what broker or book refuse does not."""
        try:
            getattr(self, "do_" + what.replace(" ", "_"))()
        except (Refusal, Refused, ValueError):
            return

    def _one(self, *magics: int) -> Any:
        held = [p for p in self.ledger.positions.values() if p.magic in magics]
        if not held:
            raise ValueError("nothing is open")
        return self.chance.choice(held)

    def _lots(self) -> float:
        return self.chance.randint(1, 30) / 100

    def _side(self) -> int:
        return self.chance.choice([BUY, SELL])

    def _local(self) -> Any:
        self._need_terminal()
        return self.chance.choice([h.position for h in self.pm.book.holdings.values()] or [None])

    # The bot.

    def _need_terminal(self) -> None:
        """Orders whose outcome is not known are not what this is about."""
        view, terminal = self.terminal.view, self.terminal
        at_home = terminal.current_login == terminal.home_login
        is_there = view.connected and view.is_synchronised and at_home and not self._lost
        if self.pm.book.in_doubt or not is_there:
            raise ValueError("no order now")

    def do_submit(self) -> None:
        self._need_terminal()
        side = Side.BUY if self._side() == BUY else Side.SELL
        self.pm.submit(side, self._lots(), magic=OURS)

    def do_close(self) -> None:
        self.pm.close(self._local())

    def do_partial(self) -> None:
        self.pm.close(self._local(), 0.01)

    # Everybody else.

    def do_robot_in(self) -> None:
        self.hand.open("EURUSD", self._side(), self._lots())

    def do_robot_out(self) -> None:
        self.hand.close(self._one(OURS).ticket)

    def do_robot_part(self) -> None:
        self.hand.close(self._one(OURS).ticket, 0.01)

    def do_stop(self) -> None:
        one = self._one(OURS)
        self.hand.modify(one.ticket, sl=self.chance.choice([0.0, 1.0, 1.2]))

    def do_place(self) -> None:
        price = self.chance.choice([1.05, 1.0995])
        self.hand.place("EURUSD", mt5.ORDER_TYPE_BUY_LIMIT, self._lots(), price)

    def do_cancel(self) -> None:
        if self.ledger.orders:
            self.hand.cancel(self.chance.choice(list(self.ledger.orders)))

    def do_strange_in(self) -> None:
        self.stranger.open(self.chance.choice(["EURUSD", "GBPUSD"]), self._side(), self._lots())

    def do_strange_out(self) -> None:
        self.stranger.close(self._one(STRANGE).ticket)

    def do_quote(self) -> None:
        self.quote(round(1.1 + self.chance.randint(-100, 100) / 100_000, 5))

    def do_night(self) -> None:
        self.terminal.broker.change_day()

    # Faults.

    def do_cut(self) -> None:
        self.terminal.disconnect()

    def do_mend(self) -> None:
        self.terminal.reconnect()

    def do_restart(self) -> None:
        self.terminal.restart()

    def do_initialize(self) -> None:
        self.terminal.initialize()

    def do_new_gateway(self) -> None:
        self.restart_gateway()

    def do_other_account(self) -> None:
        self.terminal.switch_account(OTHER.login)

    def do_own_account(self) -> None:
        if self.terminal.current_login != self.terminal.home_login:
            self.terminal.switch_account(self.terminal.home_login)

    def do_lost(self) -> None:
        self.lose_replies(self.chance.randint(1, 3))

    def do_empty(self) -> None:
        self.terminal.faults.next_call(self.chance.choice(LISTS[:4]), *[AnswersEmpty()] * 4)

    def do_half(self) -> None:
        self.terminal.faults.next_call(self.chance.choice(LISTS[:2]), *[AnswersPartial(1)] * 4)

    def do_stale(self) -> None:
        self.terminal.faults.next_call(self.chance.choice(LISTS[:2]), *[AnswersStale()] * 4)

    def do_fails(self) -> None:
        self.terminal.faults.next_call(self.chance.choice(LISTS), Fails())

    def do_torn(self) -> None:
        self.tamper(lambda reply: (reply.get("positions") or [None]).pop())

    def do_late_list(self) -> None:
        self.terminal.switches.position_lag_ms = self.chance.choice([300, 900, 4_000])

    def do_late_deals(self) -> None:
        self.terminal.switches.deal_lag_ms = self.chance.choice([300, 900, 4_000])

    def do_in_time(self) -> None:
        self.terminal.switches.position_lag_ms = self.terminal.switches.deal_lag_ms = 0

    def heal(self) -> None:
        """End all faults, and let pass what they have left behind."""
        self.terminal.faults.clear()
        self.heal_wire()
        self.do_in_time()
        self.do_mend()
        self.terminal.running = True
        self.terminal.initialize()
        self.do_own_account()
        self.wait(20)

    # What has to hold.

    def look(self) -> SyncResult:
        """Sync, and check what has to hold at every step."""
        before, held = self.state(), set(self.pm.book.holdings)
        sent = len(self.requests)
        result = self.sync(self.chance.choice([0.1, 0.7, 2.0, 15.0]))
        if result.status.value in ("DEGRADED", "FAILED"):
            assert self.state() == before
        gone = held - set(self.pm.book.holdings)
        assert not gone & set(self.ledger.positions)
        assert not any("unproven" in e["details"] for e in self.reconciler.get_audit_trail())
        assert all(b'"SELL"' not in m and b'"BUY"' not in m for m in self.requests[sent:])
        if result.status.value == "SUCCESS":
            assert planned(self).events == ()
        self.check_foreign()
        return result

    def check_foreign(self) -> None:
        """Nothing strange is in the book, and no order of ours has named it."""
        if self.reconciler.policy.adopt is not Adopt.OURS or self.ledger.setup.is_netting:
            return
        strange = {d.position_id for d in self.ledger.deals.values() if d.magic == STRANGE}
        assert not strange & set(self.pm.book.holdings)
        for message in self.requests:
            request = json.loads(message)
            assert request.get("position", 0) not in strange

    def ours(self) -> dict[int, tuple[Any, ...]]:
        """What the broker has that is ours by policy."""
        policy = self.reconciler.policy
        shown = {key: row for key, row in self.rows().items() if row[1] in policy.symbols}
        if policy.adopt is Adopt.OURS:
            shown = {key: row for key, row in shown.items() if row[7] in policy.magics}
        return shown


def planned(world: DeskWorld) -> Plan:
    assert world.reconciler.remote is not None
    book, now_ns = world.pm.book, world.clock.now_ns()
    return plan(
        SyncInputs(
            book=book,
            snapshot=world.reconciler.remote,
            policy=world.reconciler.policy,
            asked_version=book.version,
            asked_ns=round((world.reconciler.last_sync_time or 0) * 1e9),
            now_ns=now_ns,
            settle_ms=world.reconciler.get_status()["settle_window_ms"],
            waited=by_dates(round((world.reconciler.last_sync_time or 0) * 1e9)),
        )
    )


STEPS = st.lists(
    st.sampled_from((*TRADES, *OTHERS, *FAULTS, "look", "look", "look")), min_size=15, max_size=60
)
SEEDS = st.integers(0, 2**32)
# A story has up to 60 steps, and all that has to hold is asked at each sync of it.
STORIES = settings(max_examples=settings().max_examples // 2)


@pytest.mark.parametrize("kind", ["hedging", "netting"])
@STORIES
@given(seed=SEEDS, steps=STEPS)
def test_book_and_broker_agree_soon_after_the_faults_stop(
    kind: str, seed: int, steps: list[str]
) -> None:
    hedges = kind == "hedging"
    world = World(seed, AccountSetup() if hedges else NETTING, POLICY if hedges else ALL)
    world.sync()
    for step in steps:
        if step == "look":
            world.look()
        elif hedges or "strange" not in step:
            world.happen(step)
    world.heal()
    for _ in range(SYNCS_TO_AGREE):
        world.look()
    assert agree(world.book(), world.ours())
    assert set(world.pm.book.pending) == set(world.ledger.orders)
    assert not world.pm.book.missing
    before = world.state()
    assert world.sync().plan == Plan(foreign=world.reconciler.get_status()["foreign"])
    assert world.state() == before
    assert world.restrictions == ()
    assert world.reconciler.health == "Everything agrees (checked 0 s ago)."


def settled(book: Book) -> tuple[Any, ...]:
    """What a book holds and has realised, in no order."""
    return (
        {key: holding.position for key, holding in book.holdings.items()},
        {key: pending.order for key, pending in book.pending.items()},
        {key: holding.realised_units for key, holding in book.holdings.items()},
        set(book.missing),
        set(book.unexplained),
        book.realised,
    )


@given(seed=SEEDS, steps=st.lists(st.sampled_from((*TRADES, *OTHERS)), min_size=5, max_size=30))
def test_order_of_rows_and_deals_and_their_repetition_change_nothing(
    seed: int, steps: list[str]
) -> None:
    world = World(seed, AccountSetup(), ALL)
    world.terminal.switches.deal_order = DealOrder.BY_TICKET
    for step in steps[: len(steps) // 2]:
        world.happen(step)
    world.sync()
    for step in steps[len(steps) // 2 :]:
        world.happen(step)
    base = world.state()
    world.wait(20)
    asked = [*world.pm.book.holdings, *world.pm.book.unexplained]
    reading = world.gateway.read(Question(explain=tuple(asked)))
    assert isinstance(reading, Snapshot)
    assert reading.evidence is not None
    results = []
    for _ in range(3):
        positions, orders, deals = (
            world.chance.sample(rows, len(rows))
            for rows in (reading.positions, reading.evidence.orders, reading.evidence.deals * 2)
        )
        evidence = msgspec.structs.replace(
            reading.evidence, orders=tuple(orders), deals=tuple(deals)
        )
        shuffled = msgspec.structs.replace(reading, positions=positions, evidence=evidence)
        assert digest(shuffled.positions, evidence.orders) == evidence.digest
        book = Book.restore(base)
        now_ns = world.clock.now_ns()
        found = plan(
            SyncInputs(
                book=book,
                snapshot=shuffled,
                policy=ALL,
                asked_version=book.version,
                asked_ns=now_ns,
                now_ns=now_ns,
                waited=by_dates(now_ns),
            )
        )
        results.append(settled(book.replay(found.events)))
    assert results[0] == results[1] == results[2]


@STORIES
@given(seed=SEEDS, count=st.integers(1, 12), lag_ms=st.sampled_from([0, 1_000, 5_000]))
def test_nothing_is_closed_before_its_deals_prove_it(seed: int, count: int, lag_ms: int) -> None:
    world = World(seed, AccountSetup(), ALL)
    world.terminal.switches.deal_lag_ms = lag_ms
    for _ in range(count):
        world.happen("robot in")
    world.sync(lag_ms / 1000 + 1)
    while world.ledger.positions:
        world.happen(world.chance.choice(["robot out", "robot part", "quote", "stop"]))
        shown = set(world.terminal.view.deals)
        held = set(world.pm.book.holdings)
        world.sync(0.5)
        shown |= set(world.terminal.view.deals)
        for identifier in held - set(world.pm.book.holdings):
            deals = world.ledger.deals_of(identifier)
            assert {deal.ticket for deal in deals} <= shown
            assert sum(d.steps * (1 if d.type == BUY else -1) for d in deals) == 0
    world.sync(10)
    world.sync()
    assert world.pm.position is None
    assert world.pm.realised == world.realised(
        {d.position_id for d in world.ledger.deals.values()} - {0}
    )
