"""A whole system in one process is judged by its facts: clean as it is, and caught when spoiled."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from tests.support.desk_world import NETTING, DeskWorld
from trueup.core.book.events import Event
from trueup.core.policy import Adopt, Policy
from trueup.errors import Refused
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.journal import MemoryJournal
from trueup.lab.facts import facts
from trueup.lab.oracle import Judge
from trueup.lab.report.folding import BookFold
from trueup.lab.system.recorder import Recorder
from trueup.lab.system.views import book_seen
from trueup.lab.world.world import DONE, GRACE_SEC, SEES_LATE_NS
from trueup.sim.broker.broker import Broker
from trueup.sim.market.records import BUYING_TYPES, Outcome, Refusal
from trueup.sim.market.structs import TradeRequest
from trueup.sim.market.symbols import AccountSetup
from trueup.sim.terminal.person import make_request

EVERYTHING = Policy(symbols=frozenset({"EURUSD"}), grace_period_ms=GRACE_SEC * 1_000)
OURS = msgspec.structs.replace(EVERYTHING, magics=frozenset({7}), adopt=Adopt.OURS)


class TellingJournal(MemoryJournal):
    """A journal that says what it takes."""

    world: HeardWorld

    def append(self, history: Sequence[Event]) -> int:
        """Append, and say so."""
        before = self.position
        position = super().append(history)
        rows = tuple(
            facts.Row(before + n, type(event).__name__, msgspec.json.encode(event))
            for n, event in enumerate(history, start=1)
        )
        self.world.journalled(rows)
        return position


class HeardWorld(DeskWorld):
    """A world whose facts go to a judge."""

    def __init__(self, account: AccountSetup, policy: Policy, **switches: Any) -> None:
        journal = TellingJournal()
        journal.world = self
        self.recorder: Recorder | None = None
        self.looks = 0
        super().__init__(account, policy=policy, journal=journal, **switches)
        self.judge = Judge(
            facts.Scope(
                account.login,
                policy.symbols,
                policy.magics,
                SEES_LATE_NS,
                netting=account.is_netting,
            ),
            BookFold,
        )
        self.recorder = Recorder(self.ledger, self.clock.now_ns)
        self.recorder.watchers.append(self.judge)
        vars(self.terminal.broker)["execute"] = self._execute
        self.recorder.start(1, self.local())

    def _carry(self, message: bytes) -> bytes | None:
        if b'"order_id"' in message:
            self.tell(facts.Sent, bot="A", message=message)
        return super()._carry(message)

    def _execute(self, login: int, request: TradeRequest, *args: Any, **kwargs: Any) -> Outcome:
        outcome = Broker.execute(self.terminal.broker, login, request, *args, **kwargs)
        if args[0] != mt5.ORDER_REASON_EXPERT:
            return outcome
        self.requested(outcome.order, request.comment, outcome.retcode, request)
        return outcome

    def tell(self, fact: type[facts.Fact], **fields: Any) -> None:
        """Show the judge a fact."""
        if self.recorder is not None:
            self.recorder.tell(fact(self.clock.now_ns(), **fields))

    def journalled(self, rows: tuple[facts.Row, ...]) -> None:
        """Show the judge new rows of the journal."""
        if self.recorder is not None:
            self.recorder.journal("A", 1, rows)

    def requested(self, ticket: int, comment: str, retcode: int, request: TradeRequest) -> None:
        """Show the judge a request that the trade server answered."""
        assert self.recorder is not None
        order = self.ledger.orders.get(ticket) or self.ledger.order_history.get(ticket)
        units = self.recorder.books.units
        self.tell(
            facts.Requested,
            login=self.ledger.setup.login,
            action=request.action,
            symbol=request.symbol,
            buys=order is not None and order.type in BUYING_TYPES,
            units=0 if order is None else units(order.symbol, order.steps_initial),
            magic=request.magic,
            comment=comment,
            done=retcode in DONE,
            retcode=retcode,
            order=ticket,
            position=request.position,
            sl=request.sl,
            tp=request.tp,
        )

    def local(self) -> facts.BookSeen:
        """The live book as plain values."""
        return book_seen(self.pm, self.clock.now_ns(), "A", with_results=True)

    def look(self) -> None:
        """Sync, and say so."""
        self.wait(1.5)
        self.requote()
        before, asked_ns = self.local(), self.clock.now_ns()
        told = len(self.reconciler.get_audit_trail())
        self.looks += 1
        reading = ("A", "gateway", self.looks)
        result = self.reconciler.sync_positions()
        self.tell(
            facts.Served,
            reading=reading,
            login=self.ledger.setup.login,
        )
        self.tell(facts.Heard, bot="A", reading=reading)
        after = self.local()
        self.tell(
            facts.Synced,
            bot="A",
            status=result.status.value,
            believed=result.status.value in ("SUCCESS", "PARTIAL"),
            asked_ns=asked_ns,
            changed=before.state != after.state,
            version=before.version,
            state=before.state,
            said=self.reconciler.health,
            reading=reading,
        )
        trail = self.reconciler.get_audit_trail()[told:]
        entries = tuple((e["action"], e["ticket"] or 0, e["details"]) for e in trail)
        self.tell(facts.Audited, bot="A", entries=entries, version=after.version)
        assert self.recorder is not None
        self.recorder.tell(msgspec.structs.replace(after, results=None))
        if self.pm.age_ns is not None:
            flat, age_ns = not after.positions, self.pm.age_ns
            self.tell(facts.HandedOut, bot="A", flat=flat, current=True, max_age_ns=age_ns)

    def end(self) -> list[facts.Violation]:
        """End the run past the grace period, and return what the judge says."""
        self.tell(facts.Healed)
        for _ in range(12):
            self.look()
        assert self.recorder is not None
        self.recorder.tell(self.local())
        self.tell(facts.Ended, owed=True)
        return self.judge.verdicts()


def live(world: HeardWorld, seed: int, steps: int = 60) -> None:
    """Let bot, people, robots and the market do things."""
    chance = random.Random(seed)
    robot, stranger = world.terminal.robot(7), world.terminal.robot(99)

    def one(magic: int) -> Any:
        return chance.choice([p for p in world.ledger.positions.values() if p.magic == magic])

    def local() -> Any:
        return chance.choice([h.position for h in world.pm.book.holdings.values()])

    hedges = not world.ledger.setup.is_netting
    # What another program does under our magic number must not look like an order of ours.
    opener = robot if hedges else world.person
    deeds: list[Any] = [
        lambda: world.pm.submit(chance.choice(["buy", "sell"]), 0.1, magic=7),
        lambda: world.pm.submit("buy", 0.1, magic=7, limit=1.05),
        lambda: world.pm.close(local()),
        lambda: world.pm.close(local(), 0.01),
        lambda: world.pm.modify(local(), 1.0, 1.3),
        lambda: opener.open("EURUSD", chance.choice([0, 1]), 0.23),
        lambda: world.person.close(one(7).ticket),
        lambda: robot.close(one(7).ticket, 0.03),
        lambda: world.person.modify(one(7).ticket, sl=chance.choice([0.0, 1.0])),
        lambda: world.person.close(one(7).ticket, 0.01),
        lambda: world.quote(round(1.1 + chance.randint(-300, 300) / 100_000, 5)),
        lambda: world.lose_replies(1),
        world.terminal.restart,
    ]
    if hedges:
        deeds += [lambda: stranger.open("EURUSD", 0, 0.3), lambda: stranger.close(one(99).ticket)]
    for _ in range(steps):
        try:
            chance.choice(deeds)()
        except (Refusal, Refused, ValueError, IndexError):
            continue
        finally:
            world.terminal.initialize()
            if chance.random() < 0.5:
                world.look()


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("kind", ["hedging", "netting"])
def test_a_system_that_keeps_its_promises_is_left_alone(kind: str, seed: int) -> None:
    hedges = kind == "hedging"
    world = HeardWorld(AccountSetup() if hedges else NETTING, OURS if hedges else EVERYTHING)
    live(world, seed)
    world.heal_wire()
    world.wait(20)
    assert world.end() == []


def spoiled(world: HeardWorld, spoil: str) -> None:
    """Break one promise in a live system."""
    ours = next(iter(world.pm.book.holdings.values()))
    match spoil:
        case "the book forgets a position":
            world.pm.force_close_position(ours.position.ticket)
        case "the book changes without an event":
            ours.position = msgspec.structs.replace(ours.position, sl=1.0)
        case "a stranger's position is taken in":
            row = world.terminal.robot(99).open("EURUSD", 0, 0.3)
            fields = {"ticket": row, "symbol": "EURUSD", "type": "buy", "volume": 0.3}
            assert world.pm.force_add_position({**fields, "price_open": 1.1, "magic": 99})


@pytest.mark.parametrize(
    ("spoil", "number"),
    [
        ("the book forgets a position", 3),
        ("the book changes without an event", 5),
        ("a stranger's position is taken in", 8),
    ],
)
def test_a_system_that_is_spoiled_is_caught(spoil: str, number: int) -> None:
    world = HeardWorld(AccountSetup(), OURS)
    world.look()
    world.pm.submit("buy", 0.1, magic=7)
    world.look()
    spoiled(world, spoil)
    world.look()
    assert number in {violation.invariant for violation in world.judge.verdicts()}


def test_an_order_that_is_executed_twice_is_heard() -> None:
    world = HeardWorld(AccountSetup(), OURS)
    world.look()
    order = world.pm.submit("buy", 0.1, magic=7)
    again = make_request(action=mt5.TRADE_ACTION_DEAL, magic=7, symbol="EURUSD")
    ticket = world.terminal.robot(7).open("EURUSD", 0, 0.1)
    world.requested(ticket, order.token, mt5.TRADE_RETCODE_DONE, again)
    said = [v.sentence for v in world.judge.verdicts() if v.invariant == 2]
    assert len(said) == 1
    assert "was executed twice" in said[0]


def test_a_row_of_a_writer_that_was_fenced_out_is_heard() -> None:
    world = HeardWorld(AccountSetup(), OURS)
    world.look()
    assert world.recorder is not None
    world.recorder.start(2, msgspec.structs.replace(world.local(), bot="B"))
    assert world.judge.verdicts() == []
    world.pm.submit("buy", 0.1, magic=7)
    assert {v.invariant for v in world.judge.verdicts()} == {9}
