"""A whole system in one process is heard by the oracle: clean as it is, and caught when spoiled."""

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
from trueup.lab.facts import moments
from trueup.lab.oracle import Oracle
from trueup.lab.report.folding import BookFold
from trueup.lab.system.views import local_book
from trueup.sim.broker.broker import Broker
from trueup.sim.market.records import Outcome, Refusal
from trueup.sim.market.structs import TradeRequest
from trueup.sim.market.symbols import AccountSetup

OURS = Policy(symbols=frozenset({"EURUSD"}), magics=frozenset({7}), adopt=Adopt.OURS)
EVERYTHING = Policy(symbols=frozenset({"EURUSD"}))


class TellingJournal(MemoryJournal):
    """A journal that says what it takes."""

    world: HeardWorld

    def append(self, history: Sequence[Event]) -> int:
        """Append, and say so."""
        before = self.position
        position = super().append(history)
        rows = tuple(
            moments.Row(before + n, type(event).__name__, msgspec.json.encode(event))
            for n, event in enumerate(history, start=1)
        )
        self.world.tell(moments.Journalled, token=1, rows=rows)
        return position


class HeardWorld(DeskWorld):
    """A world whose moments go to an oracle."""

    def __init__(self, account: AccountSetup, policy: Policy, **switches: Any) -> None:
        journal = TellingJournal()
        journal.world = self
        self.oracle: Oracle | None = None
        self.looks = 0
        super().__init__(account, policy=policy, journal=journal, **switches)
        scope = moments.Scope(policy.symbols, policy.magics)
        self.oracle = Oracle(self.ledger, scope, BookFold)
        vars(self.terminal.broker)["execute"] = self._execute
        self.tell(moments.BotStarted, token=1, book=self.local())

    def _carry(self, message: bytes) -> bytes | None:
        if b'"order_id"' in message:
            self.tell(moments.Sent, message=message)
        return super()._carry(message)

    def _execute(self, login: int, request: TradeRequest, *args: Any, **kwargs: Any) -> Outcome:
        outcome = Broker.execute(self.terminal.broker, login, request, *args, **kwargs)
        if args[0] != mt5.ORDER_REASON_EXPERT:
            return outcome
        self.tell(
            moments.Executed,
            action=request.action,
            comment=request.comment,
            magic=request.magic,
            symbol=request.symbol,
            position=request.position,
            order=outcome.order,
            deal=outcome.deal,
            retcode=outcome.retcode,
            login=login,
            sl=request.sl,
            tp=request.tp,
        )
        return outcome

    def tell(self, moment: type[moments.Moment], **fields: Any) -> None:
        """Show the oracle a moment."""
        if self.oracle is not None:
            self.oracle.observe(moment(at_ns=self.clock.now_ns(), bot="A", **fields))

    def local(self) -> moments.LocalBook:
        """The live book as plain values."""
        return local_book(self.pm)

    def look(self) -> None:
        """Sync, and say so."""
        self.wait(1.5)
        self.requote()
        before, asked_ns = self.local(), self.clock.now_ns()
        told = len(self.reconciler.get_audit_trail())
        self.looks += 1
        reading = {"session": "A", "epoch": "gateway", "sequence": self.looks}
        result = self.reconciler.sync_positions()
        self.tell(
            moments.Served,
            **reading,
            login=self.ledger.setup.login,
            says_connected=True,
            catches_up=False,
            rows=(),
            digest="",
            server_time_msc=0,
            contradicts=False,
        )
        self.tell(moments.Heard, **reading)
        self.tell(
            moments.Synced,
            status=result.status.value,
            believed=result.status.value in ("SUCCESS", "PARTIAL"),
            asked_ns=asked_ns,
            before=before,
            after=self.local(),
            again=(),
            audit=tuple(self.reconciler.get_audit_trail()[told:]),
            holds=(),
            reason="",
            health=self.reconciler.health,
            reading=tuple(reading.values()),
        )

    def end(self) -> list[moments.Violation]:
        """End the run past the grace period, and return what the oracle says."""
        self.tell(moments.Healed)
        for _ in range(12):
            self.look()
        self.tell(moments.Ended, books={"A": self.local()}, owed=True)
        assert self.oracle is not None
        return self.oracle.verdicts()


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
    assert world.oracle is not None
    assert number in {violation.invariant for violation in world.oracle.verdicts()}


def test_an_order_that_is_executed_twice_is_heard() -> None:
    world = HeardWorld(AccountSetup(), OURS)
    world.look()
    order = world.pm.submit("buy", 0.1, magic=7)
    world.tell(
        moments.Executed,
        action=1,
        comment=order.token,
        magic=7,
        symbol="EURUSD",
        position=0,
        order=world.terminal.robot(7).open("EURUSD", 0, 0.1),
        deal=0,
        retcode=10009,
        login=world.ledger.setup.login,
    )
    assert world.oracle is not None
    said = [v.sentence for v in world.oracle.verdicts() if v.invariant == 2]
    assert len(said) == 1
    assert "was executed twice" in said[0]


def test_a_row_of_a_writer_that_was_fenced_out_is_heard() -> None:
    world = HeardWorld(AccountSetup(), OURS)
    world.look()
    assert world.oracle is not None
    now_ns = world.clock.now_ns()
    world.oracle.observe(moments.BotStarted(at_ns=now_ns, bot="B", token=2, book=world.local()))
    assert world.oracle.verdicts() == []
    world.pm.submit("buy", 0.1, magic=7)
    assert {v.invariant for v in world.oracle.verdicts()} == {9}
