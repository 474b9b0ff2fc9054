"""A journal put back from a backup, or deleted: the loss is noticed, said, and bars entries.

The gateway's record knows which orders the book sent. What it does not know nobody can notice.
"""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.bot_world import FACTS, Idle
from tests.support.desk_world import HEDGING, NETTING, DeskLink
from tests.support.order_world import Died, OrderWorld
from trueup.core.book import fills as filling
from trueup.core.book.events import Event, LossAccepted, LossFound
from trueup.core.book.order import Order
from trueup.core.holds import HoldKind
from trueup.core.policy import Adopt, Policy
from trueup.errors import JournalError, Refused
from trueup.gateway.client.execution_gateway import ExecutionGateway
from trueup.gateway.desk.desk import Desk
from trueup.gateway.record.store import RequestStore
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.journal import MemoryJournal
from trueup.observe.plan_text import write_plan
from trueup.observe.status.status import State, Status
from trueup.observe.status_text import write_status
from trueup.runtime.bot.crash_points import CrashPoint
from trueup.runtime.bot.portfolio import PortfolioManager
from trueup.runtime.control.commands.bot_commands import BotCommands
from trueup.runtime.control.commands.status import StatusSource
from trueup.runtime.control.last_known import last_known
from trueup.runtime.doctor.journal import JournalCheck
from trueup.runtime.sync.reconciler import StateReconciler
from trueup.runtime.trading.loop import TradingLoop
from trueup.runtime.trading.prices import GatewayPrices
from trueup.sim.market.symbols import AccountSetup

OURS = "an older copy of it was put back"


class BackupWorld(OrderWorld):
    """A bot with a journal in a file, at a gateway whose record is in a file, and backups of both.

    `saves` is the bot's number of events between two checkpoints.
    """

    def __init__(self, folder: Path, account: AccountSetup = HEDGING, **more: Any) -> None:
        self.folder, self.file = folder, folder / "bot.db"
        self.record_file = folder / "requests.db"
        self._store: RequestStore | None = None
        more.setdefault("journal", self.file)
        super().__init__(account, **more)

    def restart_gateway(self) -> None:
        if self._store is not None:
            self._store.close()
        self.boots += 1
        boot = f"boot{self.boots}"
        self._store = RequestStore(self.record_file, boot, self.clock.now_ns)
        self.desk = Desk(self.terminal, boot, self.clock.now_ns, store=self._store)

    def stop(self) -> None:
        """End the bot in order."""
        self.pm.close_journal()

    def back_up(self) -> Path:
        """Copy the journal while nobody has it, and go on."""
        self.stop()
        kept = self.folder / "backup.db"
        shutil.copy(self.file, kept)
        self.start_bot()
        self.sync()
        return kept

    def forget(self, *, notes: bool) -> None:
        """Delete the journal: with the notes beside it, or without."""
        for path in self.folder.glob("bot.db*"):
            if notes or not path.name.endswith(".lock"):
                path.unlink()

    def put_back(self, backup: Path, *, image: bool = True) -> None:
        """Put a backup back, as a whole image of the folder or as the one file, and start."""
        self.stop()
        self.forget(notes=image)
        shutil.copy(backup, self.file)
        self.start_bot()

    def start_another(self, stream: str, file: str, **more: Any) -> Any:
        """Start a further bot on the same account; return its book and its reconciler."""
        gateway = ExecutionGateway("127.0.0.1", 5555, 2000, link=lambda _: DeskLink(self._carry))
        journal = self.folder / file if file else None
        pm = PortfolioManager("EURUSD", clock=self.clock, journal=journal, stream=stream, **more)
        return pm, StateReconciler(pm, gateway, 15)

    def history(self) -> list[Event]:
        return list(self.pm.recorded() or ())

    def losses(self) -> list[LossFound]:
        return [event for event in self.history() if isinstance(event, LossFound)]

    def is_said(self) -> bool:
        return HoldKind.LOSS in self.kinds()

    def accept(self) -> None:
        assert self.reconciler.approve(self.hold(HoldKind.LOSS).id, "Ada")
        self.sync()


@pytest.fixture
def world(tmp_path: Path) -> BackupWorld:
    return BackupWorld(tmp_path)


def a_day(world: BackupWorld) -> dict[str, Any]:
    """Trade a day after a backup; return the intents by their keys."""
    monday = world.pm.submit("buy", 0.1, key="monday")
    world.sync()
    backup = world.back_up()
    told: dict[str, Any] = {"monday": monday, "backup": backup}
    told["close"] = world.pm.close(monday.ticket, key="close")
    world.sync()
    told["tuesday"] = world.pm.submit("sell", 0.3, key="tuesday")
    world.sync()
    told["limit"] = world.pm.submit("buy", 0.2, limit=1.05, key="limit")
    told["stops"] = world.pm.modify(told["tuesday"].ticket, 1.2, 1.0, key="stops")
    world.sync()
    assert world.agrees()
    assert not world.is_said()
    return told


# What is noticed.


@pytest.mark.parametrize("account", [HEDGING, NETTING], ids=["hedging", "netting"])
@pytest.mark.parametrize("image", [True, False], ids=["image", "file"])
def test_a_restored_journal_is_noticed_at_the_first_contact(
    tmp_path: Path, account: AccountSetup, image: bool, caplog: pytest.LogCaptureFixture
) -> None:
    world = BackupWorld(tmp_path, account)
    told = a_day(world)
    realised = world.pm.realised
    deals = len(world.deals())
    world.put_back(told["backup"], image=image)
    caplog.clear()
    world.sync()
    hold = world.hold(HoldKind.LOSS)
    assert hold.reason == (
        "The journal lacks 4 orders that it sent, by the gateway's record: an older copy of it was "
        "put back"
    )
    assert world.book() == world.rows()
    assert hold.reason in world.reconciler.health
    # Entries wait, and what is known may be closed.
    assert not world.pm.check_risk(-1)
    with pytest.raises(Refused, match="No entry"):
        world.pm.submit("sell", 0.1, key="wednesday")
    for _ in range(3):
        world.sync()
    assert len(world.deals()) == deals
    assert world.agrees()
    assert world.pm.realised == realised
    with pytest.raises(Refused, match="The journal lacks 4 orders"):
        world.pm.submit("sell", 0.1, key="wednesday")
    lost = [one for one in caplog.messages if one.startswith("[LOST]")]
    assert lost == [f"[LOST] {hold.reason}"]
    assert len([m for m in caplog.messages if m.startswith("[HOLD] Account: The journal")]) == 1


def test_the_keys_are_known_again_and_trade_no_second_time(world: BackupWorld) -> None:
    told = a_day(world)
    world.put_back(told["backup"])
    world.sync()
    world.sync()
    world.accept()
    sent = len(world.sent())
    first = told["tuesday"]
    again = world.pm.submit("sell", 0.3, key="tuesday")
    assert (again.order_id, again.status, again.ticket) == (
        first.order_id,
        first.status,
        first.ticket,
    )
    repeats: dict[str, Callable[[], Order]] = {
        "limit": lambda: world.pm.submit("buy", 0.2, limit=1.05, key="limit"),
        "stops": lambda: world.pm.modify(first.ticket, 1.2, 1.0, key="stops"),
        "close": lambda: world.pm.close(told["monday"].ticket, 0.1, key="close"),
    }
    for key, repeat in repeats.items():
        assert repeat().order_id == told[key].order_id
    assert len(world.sent()) == sent
    with pytest.raises(Refused, match="give another key"):
        world.pm.submit("buy", 0.3, key="tuesday")


def test_a_yes_allows_entries_for_good(world: BackupWorld) -> None:
    told = a_day(world)
    world.put_back(told["backup"])
    world.sync()
    world.sync()
    # A new start asks no less for a yes, and tells of nothing new.
    world.restart()
    world.sync()
    assert world.is_said()
    assert len(world.losses()) == 1
    world.accept()
    assert not world.is_said()
    assert [e.by for e in world.history() if isinstance(e, LossAccepted)] == ["Ada"]
    world.pm._kept.checkpoint()
    for _ in range(2):
        world.restart()
        world.sync()
        assert world.kinds() == []
    assert len(world.losses()) == 1
    assert world.pm.submit("sell", 0.1, key="wednesday").status.value == "FILLED"
    actions = world.actions()
    assert "LOST" not in actions or actions.count("LOST") == 1


def test_closing_is_allowed_before_the_yes(world: BackupWorld) -> None:
    told = a_day(world)
    world.put_back(told["backup"])
    world.sync()
    world.sync()
    assert world.is_said()
    assert world.pm.close(told["tuesday"].ticket).status.value == "FILLED"
    world.sync()
    assert world.agrees()


@pytest.mark.parametrize("notes", [True, False], ids=["all", "file"])
def test_a_journal_that_was_deleted_is_noticed(world: BackupWorld, notes: bool) -> None:
    told = a_day(world)
    realised = world.pm.realised
    world.stop()
    world.forget(notes=notes)
    world.start_bot()
    world.sync()
    assert world.hold(HoldKind.LOSS).reason == (
        "The journal has sent nothing, and the gateway's record has 5 orders of stream 'EURUSD': "
        "the journal was deleted, an older copy of it was put back, or another bot has a stream of "
        "the same name"
    )
    for _ in range(3):
        world.sync()
    assert world.agrees()
    assert world.pm.realised == realised
    with pytest.raises(Refused):
        world.pm.submit("sell", 0.1)
    world.accept()
    assert world.pm.submit("sell", 0.3, key="tuesday").ticket == told["tuesday"].ticket
    world.restart()
    world.sync()
    assert world.kinds() == []


def test_a_position_that_came_and_went_since_the_backup_counts(world: BackupWorld) -> None:
    backup = world.back_up()
    opened = world.pm.submit("buy", 0.1)
    world.sync()
    world.quote(1.2)
    world.pm.close(opened.ticket)
    world.sync()
    realised = world.pm.realised
    assert realised == world.realised([opened.ticket or 0])
    world.put_back(backup)
    for _ in range(3):
        world.sync()
    assert world.pm.realised == realised
    assert world.agrees()


def test_a_close_of_what_a_lost_pending_order_opened_counts_with_the_reading_that_settles_it(
    world: BackupWorld,
) -> None:
    backup = world.back_up()
    limit = world.pm.submit("buy", 0.1, limit=1.05)
    world.quote(1.04)
    world.sync()
    world.quote(1.2)
    world.pm.close(limit.ticket)
    world.sync()
    realised = world.pm.realised
    assert realised == world.realised([limit.ticket or 0])
    world.put_back(backup)
    # The first look finds the loss, the second settles the orders and counts their deals.
    world.sync()
    world.sync()
    assert world.pm.realised == realised
    world.sync()
    assert world.pm.realised == realised
    assert world.agrees()


def test_what_was_in_doubt_and_what_was_refused_is_known_again(world: BackupWorld) -> None:
    backup = world.back_up()
    world.lose_replies(1)
    lost = world.pm.submit("buy", 0.1, key="lost")
    assert lost.status.value == "IN_DOUBT"
    world.put_back(backup)
    world.sync()
    assert world.is_said()
    world.sync()
    assert world.status(lost.order_id) == "FILLED"
    assert world.agrees()


def test_more_orders_than_one_answer_carries_are_counted(
    world: BackupWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trueup.gateway.record.at_most_once.NAMED_AT_ONCE", 3)
    told = a_day(world)
    world.put_back(told["backup"])
    world.sync()
    # One of the five that came after the mark is in the journal: the one before the backup.
    assert world.losses()[0].orders in (4, 5)
    assert len(world.pm.book.in_doubt) == 3
    world.sync()
    world.accept()
    # The gateway knows the keys of those that were not brought back.
    refused = world.pm.submit("sell", 0.3, key="close")
    assert refused.status.value == "REJECTED"
    assert "key 'close' of stream 'EURUSD' was used before" in (refused.error or "")


def test_a_checkpoint_that_is_newer_than_the_events_is_no_memory(world: BackupWorld) -> None:
    world.pm.submit("buy", 0.1, key="monday")
    world.sync()
    kept = world.pm.book.version
    tuesday = world.pm.submit("buy", 0.3, key="tuesday")
    world.sync()
    world.pm._kept.checkpoint()
    world.stop()
    with sqlite3.connect(world.file) as connection:
        connection.execute("DELETE FROM journal_events WHERE position > ?", (kept,))
    connection.close()
    world.start_bot()
    assert tuesday.order_id not in world.pm.book.orders
    world.sync()
    assert world.is_said()
    world.sync()
    assert world.pm.submit("buy", 0.3, key="tuesday").ticket == tuesday.ticket


# What is no loss.


@pytest.mark.parametrize("point", CrashPoint, ids=lambda point: point.name)
def test_a_crash_at_any_point_is_no_loss(world: BackupWorld, point: CrashPoint) -> None:
    world.pm.submit("buy", 0.1, key="first")
    world.sync()
    world.die_at(point)
    try:
        world.pm.submit("buy", 0.2, key="second")
        world.sync()
        world.pm._kept.checkpoint()
    except Died:
        pass
    world.restart()
    for _ in range(4):
        world.sync(12.0)
        assert not world.is_said()
    assert world.losses() == []
    assert world.agrees()
    assert world.pm.submit("buy", 0.1, key="third").status.value == "FILLED"


def test_an_order_that_never_left_is_no_loss(world: BackupWorld) -> None:
    world.die_at(CrashPoint.AFTER_INTENT)
    with pytest.raises(Died):
        world.pm.submit("buy", 0.2)
    backup = world.folder / "copy.db"
    world.stop()
    shutil.copy(world.file, backup)
    world.put_back(backup)
    world.sync()
    assert world.losses() == []


def test_orders_that_the_book_has_forgotten_are_in_the_journal(
    world: BackupWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A book keeps a bounded number of finished orders; the record may have more of them."""
    monkeypatch.setattr(filling, "FINISHED_KEPT", 2)
    for _ in range(5):
        world.pm.close(world.pm.submit("buy", 0.1))
        world.sync()
    world.pm._kept.checkpoint()
    # Another record, which has them all and none of the marks.
    assert world._store is not None
    world._store.close()
    with sqlite3.connect(world.record_file) as connection:
        connection.execute("UPDATE record SET id = 'another'")
    connection.close()
    world.restart_gateway()
    world.restart()
    world.sync()
    world.sync()
    assert len(world.pm.book.orders) < 10
    assert b'"book":{"stream":"EURUSD"' in b"".join(world.requests)
    assert world.losses() == []
    assert world.pm.submit("buy", 0.1).status.value == "FILLED"


def test_two_bots_with_streams_of_their_own_lose_nothing(world: BackupWorld) -> None:
    pm, reconciler = world.start_another("second", "second.db")
    reconciler.sync_positions()
    pm.submit("buy", 0.1, key="a")
    world.pm.submit("buy", 0.1, key="a")
    for _ in range(2):
        world.sync()
        reconciler.sync_positions()
    pm.close_journal()
    pm, reconciler = world.start_another("second", "second.db")
    world.restart()
    world.sync()
    reconciler.sync_positions()
    assert world.losses() == []
    assert not [hold for hold in reconciler.holds if hold.kind is HoldKind.LOSS]


def test_a_stream_of_the_same_name_with_another_magic_number_is_another_bot(
    world: BackupWorld,
) -> None:
    world.pm.submit("buy", 0.1, key="a")
    pm, reconciler = world.start_another("EURUSD", "second.db", magic=7)
    reconciler.sync_positions()
    assert reconciler.holds == ()
    assert pm.submit("buy", 0.1, key="a").status.value == "FILLED"
    world.restart()
    world.sync()
    assert world.losses() == []


def test_a_stream_of_the_same_name_in_another_symbol_is_another_bot(world: BackupWorld) -> None:
    world.pm.submit("buy", 0.1, key="a")
    gateway = ExecutionGateway("127.0.0.1", 5555, 2000, link=lambda _: DeskLink(world._carry))
    pm = PortfolioManager(
        "GBPUSD", clock=world.clock, journal=world.folder / "second.db", stream="EURUSD"
    )
    reconciler = StateReconciler(pm, gateway, 15)
    reconciler.sync_positions()
    assert reconciler.holds == ()
    assert list(pm.orders) == []


def test_a_second_bot_that_cannot_be_told_from_the_first_is_told_of_it_once(
    world: BackupWorld,
) -> None:
    world.pm.submit("buy", 0.1)
    world.sync()
    pm, reconciler = world.start_another("EURUSD", "second.db")
    reconciler.sync_positions()
    (hold,) = [one for one in reconciler.holds if one.kind is HoldKind.LOSS]
    assert "another bot has a stream of the same name" in hold.reason
    reconciler.sync_positions()
    reconciler.approve(hold.id)
    reconciler.sync_positions()
    pm.submit("buy", 0.2)
    # The first has lost nothing by what the second sends, nor the other way round.
    world.restart()
    world.sync()
    world.pm.submit("buy", 0.3)
    assert world.losses() == []
    pm.close_journal()
    pm, reconciler = world.start_another("EURUSD", "second.db")
    reconciler.sync_positions()
    assert reconciler.holds == ()


def test_a_bot_without_a_journal_is_told_nothing_and_names_no_book(world: BackupWorld) -> None:
    for _ in range(2):
        pm, reconciler = world.start_another("EURUSD", "")
        reconciler.startup_recovery()
        assert reconciler.holds == ()
        assert pm.submit("buy", 0.1, key="a").status.value == "FILLED"
    assert not [one for one in world.sent() if "key" in one or "stream" in one]
    # Nor does the bot with a journal miss what they sent.
    world.restart()
    world.sync()
    assert world.losses() == []


def test_a_stream_that_was_renamed_is_a_new_book(world: BackupWorld) -> None:
    world.pm.submit("buy", 0.1)
    world.sync()
    world.stop()
    pm, reconciler = world.start_another("renamed", "bot.db")
    reconciler.sync_positions()
    assert reconciler.holds == ()
    assert pm.submit("buy", 0.1).status.value == "FILLED"
    pm.close_journal()
    world.start_bot()
    world.sync()
    assert world.losses() == []


def test_a_record_that_was_put_back_is_said_once_and_bars_nothing(
    world: BackupWorld, caplog: pytest.LogCaptureFixture
) -> None:
    world.pm.submit("buy", 0.1)
    world.sync()
    assert world._store is not None
    world._store.close()
    kept = world.folder / "record.backup"
    shutil.copy(world.record_file, kept)
    world.restart_gateway()
    world.sync()
    world.sync()
    for _ in range(3):
        world.pm.submit("buy", 0.1)
        world.sync()
    world._store.close()
    for path in world.folder.glob("requests.db*"):
        path.unlink()
    shutil.copy(kept, world.record_file)
    world._store = None
    world.restart_gateway()
    world.restart()
    for _ in range(3):
        world.sync()
    said = [one for one in caplog.messages if "an older copy of it was put back" in one]
    assert len(said) == 1
    assert said[0].startswith("[RECORD] The gateway's record ends at request 1, and had 3 before")
    assert world.losses() == []
    assert world.pm.submit("buy", 0.1).status.value == "FILLED"
    assert world.agrees()


# Other gateways.


def test_a_gateway_of_before_is_asked_nothing_and_answers_as_before(world: BackupWorld) -> None:
    class Before(BackupWorld):
        def _carry(self, message: bytes) -> bytes | None:
            reply = super()._carry(message)
            return None if reply is None else reply.replace(b',"BOOK"', b"")

    before = Before(world.folder / "before")
    told = a_day(before)
    before.put_back(told["backup"])
    before.sync()
    assert not [one for one in before.requests if b'"book"' in one]
    assert not before.is_said()
    assert before.book() == before.rows()


def test_without_a_record_the_note_beside_the_file_tells(tmp_path: Path) -> None:
    """The guide's wire: the file alone was put back, and the note beside it stayed."""

    class Guide(BackupWorld):
        knows_only_the_guide = True

    world = Guide(tmp_path)
    world.pm.submit("buy", 0.1, key="monday")
    world.sync()
    backup = world.back_up()
    world.pm.submit("buy", 0.2, key="tuesday")
    world.sync()
    world.put_back(backup, image=False)
    world.sync()
    hold = world.hold(HoldKind.LOSS)
    assert re.match(
        r"The journal ends at position \d+, and position \d+ was acknowledged: an older copy of it "
        "was put back, or its disk lost the end",
        hold.reason,
    )
    with pytest.raises(Refused, match="was acknowledged"):
        world.pm.submit("sell", 0.1)
    assert len(world.losses()) == 1
    world.accept()
    assert world.pm.entries_refused() == ""


# Where it is said.


def test_it_is_said_wherever_somebody_looks(world: BackupWorld) -> None:
    told = a_day(world)
    world.put_back(told["backup"])
    plan = write_plan(world.reconciler.plan(), 2)
    assert "note that the journal has lost its end" in plan
    assert "4 orders enter the book in doubt" in plan
    world.sync()
    world.sync()
    loop = TradingLoop(
        world.pm, world.reconciler, Idle(), {"EURUSD": GatewayPrices(world.gateway, "EURUSD")}
    )
    loop.last_result = world.sync()
    status: Status = StatusSource(loop, FACTS).status()
    name = world.hold(HoldKind.LOSS).id
    assert any(OURS in need and f"trueup approve {name}" in need for need in status.needs)
    assert status.state is State.NEEDS_PERSON
    assert status.sentence.startswith("The journal lacks events that were in it before")
    assert OURS in status.entries_refused
    assert [row.id for row in status.to_decide] == [name]
    assert OURS in status.to_decide[0].what
    # A second shell says yes.
    control = BotCommands(loop, world.another_bot(journal=MemoryJournal())[2], FACTS)
    said = json.loads(control.handle(json.dumps({"command": "approve", "id": name}).encode()))
    assert (said["ok"], said["kind"]) == (True, "loss")
    # And with the bot dead, by the journal.
    world.stop()
    dead = last_known(world.file, None, world.clock.now_ns())
    assert [row.id for row in dead.to_decide] == [name]
    assert f"trueup approve {name}" in " ".join(write_status(dead).split())
    row, _ = JournalCheck(world.file, None, []).rows()
    assert OURS in row.found
    world.start_bot()


# Whose it is without a journal.


def test_the_shape_of_a_token_adopts_nothing(world: BackupWorld) -> None:
    """ "trendline" has the shape of a token, and somebody else's hand wrote it."""
    stranger = world.person.open("EURUSD", 0, 0.1, comment="trendline")
    own = Policy(symbols=frozenset({"EURUSD"}), magics=frozenset({7}), adopt=Adopt.OURS)
    gateway = ExecutionGateway("127.0.0.1", 5555, 2000, link=lambda _: DeskLink(world._carry))
    pm = PortfolioManager("EURUSD", clock=world.clock, magic=7)
    reconciler = StateReconciler(pm, gateway, 15, policy=own)
    reconciler.sync_positions()
    ours = pm.submit("buy", 0.2)
    waiting = pm.submit("buy", 0.2, limit=1.05)
    pm = PortfolioManager("EURUSD", clock=world.clock, magic=7)
    reconciler = StateReconciler(pm, gateway, 15, policy=own)
    reconciler.startup_recovery()
    assert set(pm.get_local_positions()) == {ours.ticket}
    assert set(pm.book.pending) == {waiting.ticket}
    assert stranger not in pm.get_local_positions()


def test_a_journal_that_cannot_be_read_ends_no_sync(
    world: BackupWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.pm.submit("buy", 0.1)
    world.sync()
    world.restart()

    def unreadable(self: object) -> str:
        raise JournalError("the disk failed")

    with monkeypatch.context() as patched:
        patched.setattr(PortfolioManager, "journal_id", property(unreadable))
        assert world.sync().status.value == "SUCCESS"
    world.sync()
    assert b'"book":{' in world.requests[-1]
    world.sync()
    # One answer is enough.
    assert b'"book":{' not in world.requests[-1]


@pytest.mark.parametrize(
    ("is_in_backup", "is_closed"), [(True, False), (True, True), (False, False)]
)
def test_lost_orders_name_a_position_that_the_broker_has_opened_again(
    world: BackupWorld, *, is_in_backup: bool, is_closed: bool
) -> None:
    """They name the position by the ticket that it had then, which the restored journal lacks.

    If the position has ended since, its deals have the ticket.
    """
    backup = world.back_up()
    opened = world.pm.submit("buy", 0.3)
    identifier = opened.ticket or 0
    world.sync()
    if is_in_backup:
        backup = world.back_up()
    reason = mt5.DEAL_REASON_ROLLOVER
    world.terminal.broker.reopen(world.person.login, identifier, 1.1001, reason)
    world.sync()
    (holding,) = world.pm.book.holdings.values()
    assert holding.position.ticket != holding.position.identifier == identifier
    sent = [
        world.pm.modify(holding.position.ticket, 1.0, 1.3),
        world.pm.close(holding.position.ticket, 0.1),
    ]
    world.sync()
    if is_closed:
        sent.append(world.pm.close(holding.position.ticket, 0.2))
        world.sync()
    before = [world.order(one).position for one in sent]
    assert before == [identifier] * len(sent)
    world.put_back(backup)
    for _ in range(3):
        world.sync()
    assert [world.order(one.order_id).position for one in sent] == before
    assert [world.status(one.order_id) for one in sent] == ["FILLED"] * len(sent)
    assert world.agrees()
