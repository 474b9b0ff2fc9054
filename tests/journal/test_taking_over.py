"""An account's stream takes over the streams that bots of single symbols wrote before."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.journal.places import Place, SqlitePlace
from tests.support import forked, make, taking_over_process
from tests.support.account_world import AccountWorld
from tests.support.desk_world import NETTING
from trueup.core.book import events
from trueup.core.book.book import Book
from trueup.core.book.lifecycle import OrderStatus
from trueup.core.model import Side
from trueup.core.policy import Adopt, Policy
from trueup.core.scope import Scope
from trueup.doors.account import Account
from trueup.doors.taking_over import is_within
from trueup.errors import JournalConflict, JournalError, Refused
from trueup.journal import open_journal, open_reader
from trueup.journal.database.database import Database
from trueup.journal.overview import overview
from trueup.journal.rows import codec
from trueup.journal.writing.takeover import take_over_streams
from trueup.runtime.bot.order_checks import SideWord
from trueup.runtime.bot.portfolio import PortfolioManager
from trueup.runtime.sync.reconciler import StateReconciler
from trueup.sim.terminal.terminal_faults import AnswerLost, TimedOut

ACCOUNT = "5000001@Simulated-Demo"
SCRIPT = Path(taking_over_process.__file__)
ROOT = SCRIPT.parents[2]


@pytest.fixture
def world(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AccountWorld:
    # The record of requests of a journal on a server lies in the current folder.
    monkeypatch.chdir(tmp_path)
    return AccountWorld(tmp_path, journal=place.url)


def ours(magic: int, symbol: str) -> Policy:
    return Policy(symbols=frozenset({symbol}), magics=frozenset({magic}), adopt=Adopt.OURS)


def trade(world: AccountWorld) -> dict[str, PortfolioManager]:
    """Let two bots trade, and end them with everything open that a book can have open."""
    euro, of_euro = world.bot("EURUSD")
    pound, of_pound = world.bot("GBPUSD")
    for reconciler in (of_euro, of_pound):
        reconciler.startup_recovery()
    # A closed position with counted deals, an open position, a pending order, and one key in both.
    done = euro.submit("buy", 0.1, key="first")
    world.quote("EURUSD", 1.2)
    of_euro.sync_positions()
    euro.close(done.ticket)
    euro.submit("buy", 0.2, key="same")
    pound.submit("sell", 0.3, key="same")
    pound.submit("buy", 0.1, limit=1.2, key="limit")
    world.wait(5)
    for reconciler in (of_euro, of_pound):
        reconciler.sync_positions()
    # Two doubts: one executed, and one that the broker executes later.
    world.terminal.faults.next_send(AnswerLost(executed=True))
    assert euro.submit("buy", 0.05, key="lost").status is OrderStatus.IN_DOUBT
    world.terminal.faults.next_send(TimedOut(fill_after_ms=3_000))
    assert pound.submit("sell", 0.07, key="late").status is OrderStatus.IN_DOUBT
    for pm in (euro, pound):
        pm.close_journal()
    world.end()
    return {"EURUSD": euro, "GBPUSD": pound}


def lots_of(pm: PortfolioManager) -> dict[int, float]:
    return {ticket: one.net_volume for ticket, one in pm.get_local_positions().items()}


def books(world: AccountWorld) -> dict[str, Book]:
    found = {}
    for stream in overview(world.journal).streams:
        with open_reader(world.journal, stream.name) as reader:
            assert reader.verify().sound
            found[stream.name] = Book().replay(reader.read())
    return found


def test_holdings_doubts_keys_and_money_of_several_streams_go_on(world: AccountWorld) -> None:
    bots = trade(world)
    realised = {symbol: pm.realised for symbol, pm in bots.items()}
    assert realised["EURUSD"]
    with world.account() as account:
        assert account.taken_over == ("EURUSD", "GBPUSD")
        assert [order.key for order in account.manager.book.in_doubt.values()] == ["lost", "late"]
        views = {symbol: account.portfolio(symbol) for symbol in bots}
        assert {symbol: view.realised for symbol, view in views.items()} == realised
        assert account.realised == pytest.approx(sum(realised.values()))
        for symbol, pm in bots.items():
            assert lots_of(views[symbol]) == lots_of(pm)
            assert list(views[symbol].orders) == list(pm.orders)
        assert account.manager.book.pending.keys() == bots["GBPUSD"].book.pending.keys()
        # The doubts are settled by the account's book, as they would have been by their own.
        world.wait(10)
        account.sync()
        assert not account.manager.book.in_doubt
        lots = sum(abs(one.net_volume) for one in account.positions.values())
        assert lots == pytest.approx(world.open_lots) == pytest.approx(0.2 + 0.3 + 0.05 + 0.07)
        # Every key answers as before, and nothing is sent.
        wishes: tuple[tuple[str, str, SideWord, float], ...] = (
            ("first", "EURUSD", "buy", 0.1),
            ("same", "EURUSD", "buy", 0.2),
            ("same", "GBPUSD", "sell", 0.3),
            ("lost", "EURUSD", "buy", 0.05),
            ("late", "GBPUSD", "sell", 0.07),
        )
        for key, symbol, side, volume in wishes:
            known = bots[symbol].book.orders
            again = views[symbol].submit(side, volume, key=key)
            assert (again.order_id in known, again.status) == (True, OrderStatus.FILLED)
        with pytest.raises(Refused, match="key='same' was used"):
            views["GBPUSD"].submit("sell", 0.1, key="same")
        assert lots == pytest.approx(world.open_lots)
        # Nothing of the earlier deals counts again, and nothing is missing.
        view = views["EURUSD"]
        assert account.reconciler.check_history().agrees
        view.close_all()
        world.wait(5)
        account.sync()
        assert account.reconciler.check_history().agrees
        money = account.realised
    # The book is the fold of its own journal alone, and a checkpoint of it.
    with world.account() as account:
        assert account.taken_over == ()
        assert account.realised == pytest.approx(money)
    found = books(world)
    assert found[ACCOUNT].realised == pytest.approx(money)


def test_both_chains_name_each_other_and_are_sound(
    world: AccountWorld, caplog: pytest.LogCaptureFixture
) -> None:
    trade(world)
    with caplog.at_level(logging.WARNING, "trueup.journal"), world.account():
        pass
    told = [one for one in caplog.records if one.name == "trueup.journal"]
    assert [(one.__dict__["event"], one.getMessage()) for one in told] == [
        ("journal.taken_over", f"[JOURNAL] Stream {ACCOUNT!r} took stream {name!r} over")
        for name in ("EURUSD", "GBPUSD")
    ]
    books(world)
    with open_reader(world.journal, ACCOUNT) as reader:
        taken = [one for one in reader.read() if isinstance(one, events.StreamTakenOver)]
    assert [one.stream for one in taken] == ["EURUSD", "GBPUSD"]
    for one in taken:
        with open_reader(world.journal, one.stream) as reader:
            last = list(reader.records())[-1]
            assert isinstance(last.event, events.StreamClosed)
            assert (last.position, last.hash.hex()) == (one.position, one.hash)
            assert (last.event.by, reader.successor) == (ACCOUNT, ACCOUNT)
            # A reader of the ended stream sees the book as it went over.
            book = Book().replay(reader.read())
            assert (one.positions, one.in_doubt) == (len(book.holdings), len(book.in_doubt))
            assert one.in_doubt == 1


def test_an_ended_stream_takes_no_bot(world: AccountWorld) -> None:
    trade(world)
    with world.account():
        pass
    before = books(world)["EURUSD"].version
    for take_over in (False, True):
        with pytest.raises(JournalConflict, match=f"'EURUSD'.* goes on in stream '{ACCOUNT}'"):
            open_journal(world.journal, "EURUSD", now_ns=lambda: 1, take_over=take_over)
    with pytest.raises(JournalConflict, match=r"account\.portfolio"):
        PortfolioManager("EURUSD", journal=world.journal)
    assert books(world)["EURUSD"].version == before


def test_a_release_from_before_refuses_the_ended_stream(
    world: AccountWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    trade(world)
    with world.account():
        pass
    monkeypatch.delitem(codec.DECODERS, "StreamClosed")
    with (
        open_reader(world.journal, "EURUSD") as reader,
        pytest.raises(JournalError, match=r"StreamClosed, which this release .* not know: a newer"),
    ):
        list(reader.read())


def test_a_stream_with_a_living_writer_is_refused_by_name(world: AccountWorld) -> None:
    trade(world)
    pound = PortfolioManager("GBPUSD", journal=world.journal)
    before = {name: book.version for name, book in books(world).items()}
    for _ in range(2):
        with pytest.raises(JournalConflict, match=r"'GBPUSD' .*is being written by .*stop that"):
            world.account()
    after = {name: book.version for name, book in books(world).items()}
    # Nothing of the other stream went over either, and its bot can go on.
    assert after == {**before, ACCOUNT: 0}
    PortfolioManager("EURUSD", journal=world.journal).close_journal()
    pound.close_journal()
    with world.account() as account:
        assert account.taken_over == ("EURUSD", "GBPUSD")


def test_streams_of_other_accounts_and_unbound_streams_stay(
    world: AccountWorld, tmp_path: Path
) -> None:
    other = AccountWorld(tmp_path, NETTING.__class__(login=77), journal=world.journal)
    pm, reconciler = other.bot("USDJPY")
    reconciler.startup_recovery()
    pm.close_journal()
    PortfolioManager("unbound", journal=world.journal).close_journal()
    with world.account(magics=[3]) as account:
        account.sync()
    with world.account() as account:
        # A part of the account goes on beside; only its scope excludes it.
        assert account.taken_over == ()
    for stream in ("USDJPY", "unbound", f"{ACCOUNT}/magic=3"):
        with open_reader(world.journal, stream) as reader:
            assert reader.successor == ""


def test_a_part_of_an_account_takes_over_what_lies_in_its_scope(world: AccountWorld) -> None:
    for symbol, magic in (("EURUSD", 7), ("GBPUSD", 9), ("USDJPY", 7)):
        pm = PortfolioManager(symbol, journal=world.journal, clock=world.clock, magic=magic)
        reconciler = StateReconciler(pm, world.gateway, policy=ours(magic, symbol))
        reconciler.startup_recovery()
        pm.submit("buy", 0.1, key=symbol)
        if symbol == "USDJPY":
            with world.account(magics=[9]) as nine:
                # The living bot of USDJPY is none of its business.
                assert nine.taken_over == ("GBPUSD",)
        pm.close_journal()
    with world.account(magics=[7], symbols=["EURUSD"]) as euro:
        assert euro.taken_over == ("EURUSD",)
        assert len(euro.positions) == 1
    with open_reader(world.journal, "USDJPY") as reader:
        assert reader.successor == ""


def test_a_book_is_within_a_scope_only_with_all_that_it_has() -> None:
    scope = Scope("s", magics=(7,), symbols=("EURUSD",))
    inside = {"symbol": "EURUSD", "magic": 7}
    for outside in ({**inside, "magic": 9}, {**inside, "symbol": "GBPUSD"}):
        for made in (position_in, pending_in, order_in):
            book = Book()
            book.apply(made(1, **inside))
            assert is_within(book, scope)
            for other in (position_in, pending_in, order_in):
                mixed = Book.restore(book.state())
                mixed.apply(other(2, **outside))
                assert not is_within(mixed, scope)
                assert is_within(mixed, Scope("all"))
    assert not is_within(Book(), scope)


def position_in(number: int, **where: Any) -> events.Event:
    row = make.position(number, **where)
    return events.PositionAdopted(at_ns=1, position=row)


def pending_in(number: int, **where: Any) -> events.Event:
    return events.PendingAdopted(at_ns=1, order=make.pending(number, **where))


def order_in(number: int, **where: Any) -> events.Event:
    return make.created(str(number), Side.BUY, **where)


def test_what_two_streams_know_counts_once(world: AccountWorld) -> None:
    """Two books of one symbol: each adopts what the other opens, and counts its deals."""
    first, of_first = world.bot("EURUSD", stream="one")
    second, of_second = world.bot("EURUSD", stream="two")
    for reconciler in (of_first, of_second):
        reconciler.startup_recovery()
    closed, kept = first.submit("buy", 0.1), second.submit("buy", 0.2)
    for reconciler in (of_first, of_second):
        reconciler.sync_positions()
    world.quote("EURUSD", 1.2)
    first.close(closed.ticket)
    world.wait(5)
    for reconciler in (of_first, of_second):
        reconciler.sync_positions()
    alone = first.realised
    for pm in (first, second):
        pm.close_journal()
    world.end()
    with world.account() as account:
        assert account.taken_over == ("one", "two")
        assert account.realised == pytest.approx(alone)
        (position,) = account.positions.values()
        assert position.net_volume == 0.2
        # The order that opened the position is known, though the first book had only adopted it.
        assert position.orders[0].order_id == kept.order_id
        account.sync()
        assert account.realised == pytest.approx(alone)
        assert account.reconciler.check_history().agrees


def test_an_order_that_was_being_sent_goes_over_in_doubt(world: AccountWorld) -> None:
    pm, reconciler = world.bot("EURUSD")
    reconciler.startup_recovery()
    pm.commit(
        [
            events.OrderCreated(
                at_ns=world.clock.now_ns(),
                order_id="sent",
                symbol="EURUSD",
                side=Side.BUY,
                volume=0.1,
                price=0.0,
                by_desk=True,
                token="t",
            ),
            events.SendStarted(at_ns=world.clock.now_ns(), order_id="sent"),
        ]
    )
    assert pm.journal is not None
    pm.journal.close()
    with world.account() as account:
        assert account.orders["sent"].status is OrderStatus.IN_DOUBT
        for _ in range(4):
            world.wait(60)
            world.quote("EURUSD", 1.1)
            account.sync()
        assert account.orders["sent"].status is OrderStatus.CANCELED


def run(place: Place, kill_at: int = 0) -> str:
    done = forked.run(
        [str(SCRIPT), place.url, ACCOUNT, ACCOUNT, str(kill_at)],
        cwd=ROOT,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)]),
            "PYTHONUTF8": "1",
        },
        timeout=60,
    )
    assert done.returncode == 0 or kill_at, done.stderr
    return done.stdout.strip()


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_a_kill_at_any_call_leaves_all_or_nothing(place: Place, world: AccountWorld) -> None:
    trade(world)
    begun = books(world)
    number, done, ends = 2, False, set()
    step = 4 if isinstance(place, SqlitePlace) else 7
    while not done:
        done = bool(run(place, number))
        place.wait_until_left()
        found = books(world)
        with open_reader(place.url, "EURUSD") as euro, open_reader(place.url, "GBPUSD") as pound:
            ended = {euro.successor, pound.successor}
        # Both streams ended and both books are in the account's, or nothing has changed at all.
        (end,) = ended
        ends.add(end)
        if end:
            assert len(found[ACCOUNT].orders) == sum(len(begun[one].orders) for one in begun)
            assert list(found[ACCOUNT].in_doubt) == [
                *begun["EURUSD"].in_doubt,
                *begun["GBPUSD"].in_doubt,
            ]
        else:
            assert found[ACCOUNT].version == 0
            assert all(found[one].version == book.version for one, book in begun.items())
            PortfolioManager("EURUSD", journal=place.url).close_journal()
        number += step
    assert ends == {"", ACCOUNT}


def test_a_failure_at_any_call_leaves_all_or_nothing(
    tmp_path: Path, sqlite_place: SqlitePlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = AccountWorld(tmp_path, journal=sqlite_place.url)
    trade(world)
    begun = {name: book.version for name, book in books(world).items()}
    made = [0, 0]

    def failing(function: Any) -> Any:
        def call(*args: Any) -> Any:
            made[0] += 1
            if made[0] == made[1] and args[1:] != ("ROLLBACK",):
                raise JournalError("the disk is full")
            return function(*args)

        return call

    for name in taking_over_process.CALLS:
        monkeypatch.setattr(Database, name, failing(getattr(Database, name)))
    names: tuple[str, ...] = ()
    for number in range(1, 500):
        made[:] = [0, 0]
        journal = open_journal(world.journal, ACCOUNT, now_ns=world.clock.now_ns)
        made[:] = [0, number]
        try:
            names = take_over_streams(journal, ACCOUNT, lambda _: True, world.clock.now_ns())
        except JournalError as error:
            assert "the disk is full" in str(error)
        else:
            if names:
                break
        finally:
            made[:] = [0, 0]
            journal.close()
        versions = {name: book.version for name, book in books(world).items()}
        assert versions == {**begun, ACCOUNT: 0}
    assert names == ("EURUSD", "GBPUSD")


@pytest.mark.parametrize("is_within_scope", [True, False])
def test_order_that_a_bot_recorded_while_its_book_was_read_counts(
    world: AccountWorld, is_within_scope: bool
) -> None:
    euro, reconciler = world.bot("EURUSD")
    reconciler.startup_recovery()
    euro.submit("buy", 0.1, key="first")

    def is_wanted(book: Book) -> bool:
        if len(book.orders) == 1:
            euro.submit("buy", 0.2, key="second")
            euro.close_journal()
            return True
        return is_within_scope

    with open_journal(world.journal, ACCOUNT, now_ns=world.clock.now_ns) as journal:
        names = take_over_streams(journal, ACCOUNT, is_wanted, world.clock.now_ns())
    assert names == ("EURUSD",) * is_within_scope
    stream = ACCOUNT if is_within_scope else "EURUSD"
    book = books(world)[stream]
    assert [order.key for order in book.orders.values()] == ["first", "second"]
    assert sum(one.position.volume for one in book.holdings.values()) == pytest.approx(0.3)
    # Whose stream it is now may write it.
    open_journal(world.journal, stream, now_ns=world.clock.now_ns).close()
    world.end()


def test_an_account_of_a_terminal_that_is_refused_leaves_nothing_open(
    tmp_path: Path, sqlite_place: SqlitePlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    world = AccountWorld(tmp_path, journal=sqlite_place.url)
    trade(world)
    with PortfolioManager("GBPUSD", journal=world.journal):
        for _ in range(2):
            with pytest.raises(JournalConflict, match="stop that program first"):
                Account(world.called, journal=world.journal, clock=world.clock, claims=False)
    with Account(world.called, journal=world.journal, clock=world.clock, claims=False) as account:
        assert account.taken_over == ("EURUSD", "GBPUSD")
