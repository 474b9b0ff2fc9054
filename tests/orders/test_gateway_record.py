"""Orders in doubt, settled by the gateway's own record before anything else is weighed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.order_world import OrderWorld
from trueup.core.account.trust import Reason, Unknown
from trueup.core.book.lifecycle import OrderStatus
from trueup.core.book.order import Order
from trueup.core.gateway_record import RequestState, RequestStatus
from trueup.core.holds import HoldKind
from trueup.core.policy import GRACE_SEC, Policy
from trueup.gateway.desk.desk import Desk
from trueup.gateway.record.store import RequestStore
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.protocol.snapshot import SnapshotRequest
from trueup.sim.terminal.person import Person
from trueup.sim.terminal.terminal_faults import Answered, AnswerLost, TimedOut

RESTARTED = pytest.mark.parametrize("restarted", [False, True], ids=["live", "restarted"])


class RecordWorld(OrderWorld):
    """A world whose gateway has its record in a file, and whose wire can lose what it carries."""

    def __init__(self, path: Path, **switches: Any) -> None:
        self.file = path / "requests.db"
        self._store: RequestStore | None = None
        self._held: list[bytes] | None = None
        super().__init__(journal=path / "bot.db", **switches)

    def restart_gateway(self) -> None:
        if self._store is not None:
            self._store.close()
        self.boots += 1
        boot = f"boot{self.boots}"
        self._store = RequestStore(self.file, boot, self.clock.now_ns)
        self.desk = Desk(self.terminal, boot, self.clock.now_ns, store=self._store)

    def hold_orders(self) -> None:
        """Let orders wait in a buffer between bot and gateway from now on."""
        self._held = []

    def let_orders_through(self) -> list[bytes]:
        """Hand over what waited; nobody is there for the replies."""
        held, self._held = self._held or [], None
        return [self.desk.handle(message) for message in held]

    def _carry(self, message: bytes) -> bytes | None:
        if self._held is not None and b'"order_id"' in message:
            self.requests.append(message)
            self._held.append(message)
            return None
        return super()._carry(message)

    def asked_in_doubt(self) -> bool:
        return any(b'"in_doubt":[{' in message for message in self.requests)


@pytest.fixture
def world(tmp_path: Path) -> RecordWorld:
    return RecordWorld(tmp_path)


def submit_lost(world: RecordWorld, **wish: Any) -> Order:
    """Submit an order whose answer is lost on the wire."""
    world.lose_replies(1)
    intent = world.pm.submit("buy", 0.1, **wish)
    assert world.status(intent) == "IN_DOUBT"
    return intent


def restart(world: RecordWorld, restarted: bool) -> None:
    if restarted:
        world.restart()


# The record has the outcome.


@RESTARTED
def test_a_lost_fill_is_settled_at_the_first_sync(world: RecordWorld, restarted: bool) -> None:
    intent = submit_lost(world, magic=7)
    restart(world, restarted)
    world.sync(0.001)
    assert world.status(intent) == "FILLED"
    assert world.agrees()
    assert world.reconciler.holds == ()


@RESTARTED
@pytest.mark.parametrize("comment", ["", "executed by server 7"], ids=["emptied", "rewritten"])
def test_a_lost_fill_is_known_by_its_ticket_where_two_orders_look_alike(
    tmp_path: Path, restarted: bool, comment: str
) -> None:
    """By evidence alone nobody could say which one is ours; the gateway was told the ticket."""
    world = RecordWorld(tmp_path, comment_replaced_by=comment)
    robot = Person(world.terminal.broker, world.ledger.setup.login, mt5.ORDER_REASON_EXPERT, 7)
    intent = submit_lost(world, magic=7)
    (ours,) = world.rows()
    other = robot.open("EURUSD", mt5.ORDER_TYPE_BUY, 0.1)
    restart(world, restarted)
    world.sync()
    assert world.status(intent) == "FILLED"
    assert world.order(intent).ticket == ours != other
    assert "by the gateway's record" in world.settled_by(intent)
    assert world.agrees()


@RESTARTED
def test_a_lost_refusal_is_settled_at_the_first_sync_in_the_broker_s_words(
    world: RecordWorld, restarted: bool
) -> None:
    """Without the record it would be in doubt for the grace period, and entries with it."""
    world.terminal.faults.next_send(Answered(mt5.TRADE_RETCODE_NO_MONEY))
    intent = submit_lost(world)
    restart(world, restarted)
    world.sync(0.001)
    known = world.order(intent)
    assert known.status is OrderStatus.REJECTED
    assert known.error == "not enough money (10019 NO_MONEY)"
    assert "case H" in world.settled_by(intent)
    assert world.pm.submit("buy", 0.1).status is OrderStatus.FILLED


def test_a_lost_answer_to_a_pending_order_is_settled_by_its_ticket(tmp_path: Path) -> None:
    world = RecordWorld(tmp_path, comment_replaced_by="")
    intent = submit_lost(world, limit=1.05, magic=7)
    robot = Person(world.terminal.broker, world.ledger.setup.login, mt5.ORDER_REASON_EXPERT, 7)
    robot.place("EURUSD", mt5.ORDER_TYPE_BUY_LIMIT, 0.1, 1.05)
    world.sync()
    assert world.status(intent) == "FILLED"
    assert world.order(intent).ticket == min(world.ledger.orders)
    assert world.agrees()


def test_a_lost_answer_to_a_close_is_settled(world: RecordWorld) -> None:
    opened = world.pm.submit("buy", 0.1)
    world.sync()
    world.lose_replies(1)
    closing = world.pm.close(opened)
    world.sync()
    assert closing.status is OrderStatus.FILLED
    assert world.agrees()
    assert world.pm.realised == world.realised([opened.ticket or 0])


def test_a_change_that_was_done_and_changed_again_by_hand_was_done(world: RecordWorld) -> None:
    opened = world.pm.submit("buy", 0.1)
    world.sync()
    world.lose_replies(1)
    change = world.pm.modify(opened, 1.05, 1.2)
    world.person.modify(opened.ticket or 0, sl=1.06)
    world.sync()
    assert change.status is OrderStatus.FILLED
    world.sync()
    world.sync()
    assert world.agrees()


@pytest.mark.parametrize("change", ["modify", "cancel"])
def test_a_change_whose_refusal_was_lost_is_settled_at_once(
    world: RecordWorld, change: str
) -> None:
    opened = world.pm.submit("buy", 0.1, limit=1.05 if change == "cancel" else 0.0)
    world.sync()
    world.terminal.faults.next_send(Answered(mt5.TRADE_RETCODE_FROZEN))
    world.lose_replies(1)
    asked = world.pm.cancel(opened) if change == "cancel" else world.pm.modify(opened, 1.05, 1.2)
    world.sync(0.001)
    assert asked.status is OrderStatus.REJECTED
    assert "10029" in str(asked.error)
    assert world.agrees()


def test_an_outcome_that_the_broker_does_not_show_yet_is_waited_for(tmp_path: Path) -> None:
    world = RecordWorld(tmp_path, position_lag_ms=3_000, order_history_lag_ms=3_000)
    intent = submit_lost(world)
    world.sync(0.001)
    assert world.status(intent) == "IN_DOUBT"
    assert "does not show it yet" in world.hold(HoldKind.DOUBT).reason
    world.sync(2 * GRACE_SEC)
    assert world.status(intent) == "FILLED"
    world.sync()
    assert world.agrees()


# The record never had it.


@pytest.mark.parametrize("fill_after_ms", range(500, 8_000, 1_000))
def test_an_order_that_the_record_tells_as_done_is_in_the_list_of_the_same_reply(
    world: RecordWorld, monkeypatch: pytest.MonkeyPatch, fill_after_ms: int
) -> None:
    """The server executes the order while the gateway makes its reply."""
    world.terminal.faults.next_send(TimedOut(fill_after_ms))
    intent = world.pm.submit("buy", 0.1)
    assert world.status(intent) == "IN_DOUBT"
    make, replies = world.desk._snapshots.make, list[dict[str, Any]]()

    def slowly(request: SnapshotRequest) -> Any:
        reply = make(request)
        if not request.session.endswith(".record"):
            world.wait(2)
        return reply

    monkeypatch.setattr(world.desk._snapshots, "make", slowly)
    world.tamper(*[replies.append] * 20)
    for _ in range(4):
        world.sync(1)
    for reply in replies:
        done = {one["ticket"] for one in reply.get("requests", ()) if one.get("status") == "FILLED"}
        assert done <= {row["ticket"] for row in reply["positions"]}
    assert world.status(intent) == "FILLED"


@RESTARTED
@pytest.mark.parametrize("kind", ["market", "limit", "modify", "cancel", "close"])
def test_an_order_that_never_arrived_is_given_up_without_waiting_and_never_runs(
    world: RecordWorld, restarted: bool, kind: str
) -> None:
    opened = world.pm.submit("buy", 0.1)
    placed = world.pm.submit("buy", 0.1, limit=1.01)
    world.sync()
    rows, working = world.rows(), set(world.ledger.orders)
    world.hold_orders()
    intent = {
        "market": lambda: world.pm.submit("buy", 0.1),
        "limit": lambda: world.pm.submit("buy", 0.1, limit=1.05),
        "modify": lambda: world.pm.modify(opened, 1.05, 1.2),
        "cancel": lambda: world.pm.cancel(placed),
        "close": lambda: world.pm.close(opened),
    }[kind]()
    assert world.status(intent) == "IN_DOUBT"
    restart(world, restarted)
    world.sync(0.001)
    known = world.order(intent)
    assert known.status is OrderStatus.CANCELED
    assert "case G" in str(known.error)
    assert "the gateway never saw it, and takes it no more" in str(known.error)
    # It was only late: it comes now, and nothing happens.
    (reply,) = world.let_orders_through()
    assert b'"REJECTED"' in reply
    assert b"withdrawn" in reply
    assert (world.rows(), set(world.ledger.orders)) == (rows, working)
    world.sync()
    assert world.agrees()
    assert world.reconciler.holds == ()


@RESTARTED
def test_a_gateway_that_was_restarted_still_knows(tmp_path: Path, restarted: bool) -> None:
    """Its file has the outcome of one order, and covers the other, which never came."""
    world = RecordWorld(tmp_path, comment_replaced_by="")
    filled = submit_lost(world, magic=7, key="a")
    world.sync(0.001)
    assert world.status(filled) == "FILLED"
    opened = world.pm.close(world.order(filled))
    world.sync()
    world.hold_orders()
    never = world.pm.submit("buy", 0.1, magic=7, key="b")
    world.restart_gateway()
    restart(world, restarted)
    world.sync(0.001)
    world.sync(0.001)
    assert world.status(opened) == "FILLED"
    assert world.status(never) == "CANCELED"
    assert "the gateway never saw it" in str(world.order(never).error)
    assert b"withdrawn" in world.let_orders_through()[0]
    assert world.rows() == {}


def test_a_record_that_was_deleted_proves_nothing(world: RecordWorld) -> None:
    """The gateway did it, and lost its file: "never seen" is a word about the new file."""
    world.terminal.faults.next_send(TimedOut(fill_after_ms=4_000))
    intent = submit_lost(world)
    world.restart_gateway()
    assert world._store is not None
    world._store.close()
    world.file.unlink()
    world.restart_gateway()
    world.sync(1)
    world.sync(1)
    assert world.status(intent) == "IN_DOUBT"
    world.sync(5)
    world.sync(1)
    assert world.status(intent) == "FILLED"
    assert world.agrees()


def test_an_older_copy_of_the_record_proves_nothing(world: RecordWorld) -> None:
    """A backup was played back: the file has its name, and not its end."""
    assert world._store is not None
    world._store.close()
    backup = world.file.read_bytes()
    world.restart_gateway()
    world.sync()
    world.sync()
    world.pm.submit("buy", 0.2)
    world.sync()
    world.terminal.faults.next_send(TimedOut(fill_after_ms=4_000))
    intent = submit_lost(world)
    world._store.close()
    world.file.write_bytes(backup)
    world.restart_gateway()
    for _ in range(3):
        world.sync(1)
    assert world.status(intent) == "IN_DOUBT"
    world.sync(5)
    assert world.status(intent) == "FILLED"


def test_an_order_that_went_to_another_gateway_is_not_proven_by_this_one(
    world: RecordWorld, tmp_path: Path
) -> None:
    world.terminal.faults.next_send(TimedOut(fill_after_ms=4_000))
    intent = submit_lost(world)
    world.file = tmp_path / "another.db"
    world.restart_gateway()
    for _ in range(3):
        world.sync(1)
    assert world.status(intent) == "IN_DOUBT"


def test_an_order_sent_before_the_record_was_known_is_settled_as_without_one(
    world: RecordWorld,
) -> None:
    """Nothing is opened before a reading was believed; what is known may be closed."""
    ticket = world.pm.submit("buy", 0.1).ticket
    world.sync()
    world.restart()
    world.hold_orders()
    intent = world.pm.close(ticket)
    assert world.order(intent).record is None
    world.sync(1)
    assert world.status(intent) == "IN_DOUBT"
    world.wait_out()
    assert world.status(intent) == "CANCELED"
    assert "the gateway never saw it" not in str(world.order(intent).error)


# The gateway itself does not know, or keeps no record.


def test_while_the_gateway_itself_does_not_know_the_broker_is_looked_at(tmp_path: Path) -> None:
    # With the usual wait the gateway may know first.
    hasty = Policy(symbols=frozenset({"EURUSD"}), grace_period_ms=10_000)
    world = RecordWorld(tmp_path, policy=hasty)
    world.terminal.faults.next_send(AnswerLost(executed=False, pipe_breaks=False))
    intent = submit_lost(world)
    world.sync(1)
    assert world.status(intent) == "IN_DOUBT"
    for after_sec in (1, 10, 5):
        world.sync(after_sec)
    assert world.status(intent) == "CANCELED"


def test_a_gateway_without_a_record_is_never_asked_for_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OrderWorld, "keeps_record", False)
    world = RecordWorld(tmp_path)
    world.hold_orders()
    intent = world.pm.submit("buy", 0.1)
    world.sync(1)
    assert world.status(intent) == "IN_DOUBT"
    world.wait_out()
    assert world.status(intent) == "CANCELED"
    assert not world.asked_in_doubt()
    answer = world.gateway.request_status(intent.order_id)
    assert isinstance(answer, Unknown)
    assert answer.reason is Reason.NO_EVIDENCE
    assert not any(b"REQUEST_STATUS" in message for message in world.requests)


def test_a_gateway_of_the_guide_never_sees_the_question(world: RecordWorld) -> None:
    world.knows_only_the_guide = True
    world.restart()
    assert isinstance(world.gateway.request_status("A"), Unknown)
    assert not any(b"REQUEST_STATUS" in message for message in world.requests)


# Asked by the client.


def test_the_client_is_told_what_became_of_an_order(world: RecordWorld) -> None:
    intent = submit_lost(world)
    (ticket,) = world.rows()
    found = world.gateway.request_status(intent.order_id)
    assert isinstance(found, RequestStatus)
    assert (found.state, found.status, found.ticket) == (RequestState.SETTLED, "FILLED", ticket)
    never = world.gateway.request_status("never")
    assert isinstance(never, RequestStatus)
    assert never.state is RequestState.NEVER_SEEN
    # A plain question withdraws nothing.
    assert not world.asked_in_doubt()


def test_a_client_that_has_asked_nothing_yet_finds_out_first_whom_it_asks(
    world: RecordWorld,
) -> None:
    intent = submit_lost(world)
    world.restart()
    world.requests.clear()
    fresh = world.gateway
    assert isinstance(fresh.request_status(intent.order_id), RequestStatus)
    assert b"GET_POSITIONS" in world.requests[0]


def test_a_status_that_does_not_come_is_unknown(world: RecordWorld) -> None:
    world.lose_replies(1)
    answer = world.gateway.request_status("A")
    assert isinstance(answer, Unknown)
    assert answer.reason is Reason.OFFLINE
