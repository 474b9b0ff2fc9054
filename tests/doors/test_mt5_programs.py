"""Several programs on one account, and several accounts of one program."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from tests.support.desk_world import OTHER
from tests.support.door_world import BUY, SELL, DoorWorld, deal
from trueup.core.scope import Scope
from trueup.doors.local_gateway import LocalGateway
from trueup.doors.mt5.door import Door
from trueup.doors.mt5.session import Session
from trueup.doors.mt5.streams import comments_in
from trueup.errors import ClaimRefused, FormerWriter, JournalConflict, TrueupError
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.sim.terminal.terminal_faults import AnswerLost, Fails, TimedOut
from trueup.testing import (  # noqa: F401
    SimulatedGateway,
    simulated_account,
    simulated_clock,
    simulated_gateway,
    simulated_terminal,
)

DONE, REJECT = mt5.TRADE_RETCODE_DONE, mt5.TRADE_RETCODE_REJECT


@pytest.fixture
def world(tmp_path: Path) -> DoorWorld:
    return DoorWorld(tmp_path)


@pytest.mark.parametrize("journal", ["bot.db", "other.db"])
def test_two_programs_with_other_magic_numbers_live_side_by_side(
    world: DoorWorld, journal: str
) -> None:
    first, second = world.door, world.open(journal)
    mine = first.order_send(deal(magic=7))
    other = second.order_send(deal(magic=8))
    assert (mine.retcode, other.retcode) == (DONE, DONE)
    # Each is shown the whole account, and its book has its own positions alone.
    assert {row.magic for row in first.positions_get() or ()} == {7, 8}
    assert list(first.account.positions) == [mine.order]
    assert list(second.account.positions) == [other.order]


def test_a_second_program_with_the_same_magic_number_is_refused_by_name(world: DoorWorld) -> None:
    assert world.door.order_send(deal(magic=7)).retcode == DONE
    second = world.open("other.db")
    refused = second.order_send(deal(magic=7))
    assert refused.retcode == REJECT
    assert "magic 7 is claimed by stream" in refused.comment
    assert world.open_lots == 0.1
    # It can still read, and trade with another number.
    assert len(second.positions_get() or ()) == 1
    assert second.order_send(deal(magic=9)).retcode == DONE


def test_a_gateway_that_disconnects_leaves_its_claim(world: DoorWorld) -> None:
    first, second = (LocalGateway(world.called, claims=world.folder / "x") for _ in "ab")
    scope = Scope("one", account=world.door.account.name, magics=(7,))
    first.claim(scope)
    first.disconnect()
    assert first.claimed is None
    second.claim(msgspec.structs.replace(scope, run="two"))
    second.disconnect()


def test_a_number_that_is_free_again_can_be_claimed(world: DoorWorld) -> None:
    world.door.order_send(deal(magic=7))
    world.door.shutdown()
    assert world.open("other.db").order_send(deal(magic=7)).retcode == DONE


def test_a_program_may_use_a_further_number_unless_another_has_it(world: DoorWorld) -> None:
    first, second = world.door, world.open("other.db")
    assert first.order_send(deal(magic=7)).retcode == DONE
    assert first.order_send(deal(magic=70)).retcode == DONE
    assert second.order_send(deal(magic=8)).retcode == DONE
    refused = second.order_send(deal(magic=70))
    assert (refused.retcode, "magic 70 is claimed" in refused.comment) == (REJECT, True)
    # The refused number is no part of its scope: positions with it stay foreign.
    assert second.account.reconciler.policy.magics == {8}
    assert {p.orders[0].magic for p in first.account.positions.values()} == {7, 70}
    # After a restart the numbers that it used are still its own.
    again = world.restart(magic=7)
    assert again.account.reconciler.policy.magics == {7, 70}


def test_a_program_that_gives_no_number_finds_its_book_again_by_its_first_order(
    world: DoorWorld,
) -> None:
    first = world.door.order_send(deal(magic=7))
    door = world.restart()
    # Before that it reads, with its own comments, and has claimed nothing.
    (row,) = door.positions_get()
    assert (row.ticket, row.comment) == (first.order, "bot")
    assert world.open("other.db", magic=70).account.manager.magic == 70
    stops = {"action": mt5.TRADE_ACTION_SLTP, "symbol": "EURUSD", "position": first.order}
    assert door.order_send({**stops, "sl": 1.05}).retcode == DONE
    assert door.account.manager.magic == 7
    assert list(door.account.positions) == [first.order]
    # The list showed the position, so its outcome is delivered.
    assert door.order_send(deal(magic=7)).order != first.order


def test_a_request_about_a_position_is_for_the_book_of_that_position(world: DoorWorld) -> None:
    """A program may give another number, or none, with a close or with stops."""
    mine = world.door.order_send(deal(magic=7))
    door = world.restart()
    stops = {"action": mt5.TRADE_ACTION_SLTP, "symbol": "EURUSD", "position": mine.order}
    assert door.order_send({**stops, "sl": 1.05, "magic": 999}).retcode == DONE
    assert door.account.reconciler.policy.magics == {7}
    assert list(door.account.positions) == [mine.order]


def test_a_program_does_not_take_the_book_of_another_that_is_not_running(world: DoorWorld) -> None:
    """Two scripts in one folder give no number and have one journal; one of them is restarted."""
    first = world.door
    mine = first.order_send(deal(magic=7)).order
    first.shutdown()
    second = world.open()
    assert len(second.positions_get()) == 1
    first = world.open()
    assert first.order_send(deal(SELL, position=mine)).retcode == DONE
    assert second.order_send(deal(magic=8)).retcode == DONE
    assert first.order_send(deal(magic=7)).retcode == DONE
    assert second.account.reconciler.policy.magics == {8}


def test_a_ticket_that_nobody_has_opens_no_book(world: DoorWorld) -> None:
    stops = {"action": mt5.TRADE_ACTION_SLTP, "symbol": "EURUSD", "position": 123456, "sl": 1.0}
    assert world.door.order_send(stops).retcode == world.called.order_send(stops).retcode
    assert not world.door.account.manager.keeps_journal
    world.wait(1)
    world.terminal.faults.next_call("positions_get", *[Fails()] * 1_000)
    assert world.door.order_send(stops).retcode == REJECT
    assert not world.door.account.manager.keeps_journal


def test_a_book_with_a_number_that_another_program_has_now_is_let_go_of(world: DoorWorld) -> None:
    world.door.order_send(deal(magic=7))
    world.door.order_send(deal(magic=70))
    world.door.shutdown()
    other = world.open("other.db")
    assert other.order_send(deal(magic=70)).retcode == DONE
    door = world.open()
    for _ in range(2):
        assert "magic 70 is claimed" in door.order_send(deal(magic=7)).comment
    other.shutdown()
    assert door.order_send(deal(magic=7)).retcode == DONE


def test_with_two_books_in_the_journal_the_next_order_tells_which(world: DoorWorld) -> None:
    second = world.open()
    world.door.order_send(deal(magic=7))
    world.terminal.faults.next_send(TimedOut(fill_after_ms=40_000))
    assert second.order_send(deal(magic=8)) is None
    second.shutdown()
    world.door.shutdown()
    world.wait(60)
    # The doubt of the book of magic 8 is settled, and its outcome given, once it is known whose.
    door = world.open()
    assert door.order_send(deal(magic=8)).retcode == DONE
    assert world.open_lots == 0.2


def test_with_two_books_any_number_that_a_book_has_used_finds_it(world: DoorWorld) -> None:
    second = world.open()
    world.door.order_send(deal(magic=7))
    second.order_send(deal(magic=8))
    world.terminal.faults.next_send(TimedOut(fill_after_ms=40_000))
    assert world.door.order_send(deal(magic=9)) is None
    second.shutdown()
    world.door.shutdown()
    world.wait(60)
    # The order with magic 9 was sent by the book that began with magic 7.
    assert world.open().order_send(deal(magic=9)).retcode == DONE
    assert world.open_lots == 0.3


def test_a_program_that_was_started_with_another_number_doubles_no_order(
    world: DoorWorld,
) -> None:
    world.terminal.faults.next_send(TimedOut(fill_after_ms=40_000))
    assert world.door.order_send(deal(magic=7)) is None
    world.wait(60)
    refused = world.restart(magic=8).order_send(deal(magic=7))
    assert (refused.retcode, "magic=7" in refused.comment) == (REJECT, True)
    assert world.restart(magic=7).order_send(deal(magic=7)).order == world.rows[0].ticket
    assert world.open_lots == 0.1


def test_a_program_that_trails_stops_claims_no_number_of_another(world: DoorWorld) -> None:
    ticket = world.door.order_send(deal(magic=7)).order
    trailing = world.open("trailing.db")
    levels = {"action": mt5.TRADE_ACTION_SLTP, "symbol": "EURUSD", "position": ticket}
    assert trailing.order_send({**levels, "sl": 1.05, "tp": 0.0}).retcode == DONE
    assert trailing.order_send(deal(SELL, 0.01, position=ticket, magic=0)).retcode == DONE
    # Also where the trailing program was there first.
    world.door.shutdown()
    assert trailing.order_send({**levels, "sl": 1.06, "tp": 0.0}).retcode == DONE
    assert world.open().order_send(deal(SELL, 0.09, position=ticket)).retcode == DONE
    # A restart changes nothing in that: its orders about the positions of others are no claim.
    trailing.shutdown()
    trailing = world.open("trailing.db", magic=0)
    assert trailing.account.reconciler.policy.magics == {0}
    # Two of them have the same number, and are told what to do.
    levels["position"] = world.person.open("EURUSD", BUY, 0.1)
    for journal, sl in (("other.db", 1.07), ("trailing.db", 1.08)):
        second = world.open(journal)
        other = second.order_send({**levels, "sl": sl, "tp": 0.0})
        assert other.retcode == REJECT
        assert other.comment.startswith(
            "This program gave no magic number, and the book of magic 0 is another program's. A "
            "program that acts on positions of others takes a number of its own: "
            "initialize(magic=...), or the setting TRUEUP_MAGIC. ("
        )
        assert "initialize(magic=...)" in second.last_error()[1]
        second.shutdown()
        second = world.open(journal, magic=5)
        assert second.order_send({**levels, "sl": sl}).retcode == DONE
        second.shutdown()


@pytest.mark.parametrize(
    "error", [ClaimRefused("Taken."), FormerWriter("Newer.", token=3), JournalConflict("Open.")]
)
def test_whatever_book_of_the_number_is_open_a_program_without_one_is_told(
    world: DoorWorld, error: TrueupError, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticket = world.person.open("EURUSD", BUY, 0.1)
    opening = world.door._session_of

    def open_book(magics: tuple[int, ...], name: str) -> Session:
        if magics:
            raise error
        return opening(magics, name)

    monkeypatch.setattr(world.door, "_session_of", open_book)
    levels = {"action": mt5.TRADE_ACTION_SLTP, "symbol": "EURUSD", "position": ticket}
    told = world.door.order_send({**levels, "sl": 1.05, "tp": 0.0})
    assert (told.retcode, told.comment.endswith(f"TRUEUP_MAGIC. ({error})")) == (REJECT, True)


def test_a_position_of_another_program_or_person_can_be_closed_and_stays_foreign(
    world: DoorWorld,
) -> None:
    world.door.order_send(deal(magic=7))
    foreign = world.person.open("EURUSD", BUY, 0.3)
    stops = {"action": mt5.TRADE_ACTION_SLTP, "symbol": "EURUSD", "position": foreign}
    assert world.door.order_send({**stops, "sl": 1.05}).retcode == DONE
    assert world.door.order_send(deal(SELL, 0.1, position=foreign)).retcode == DONE
    world.terminal.faults.next_send(AnswerLost(executed=True))
    assert world.door.order_send(deal(SELL, 0.2, position=foreign)).retcode == DONE
    assert world.open_lots == 0.1
    account = world.door.account
    assert foreign not in account.positions
    assert account.realised == 0.0
    assert account.sync().holds == ()


def test_login_to_another_account_changes_the_book_and_doubts_stay(tmp_path: Path) -> None:
    world = DoorWorld(tmp_path, others=(OTHER,))
    home = world.called.account_info()
    world.terminal.faults.next_send(TimedOut(fill_after_ms=40_000))
    assert world.door.order_send(deal(magic=7)) is None
    assert world.door.login(OTHER.login), world.door.last_error()
    assert world.door.account.name == f"{OTHER.login}@{OTHER.server}"
    assert world.door.account_info().login == OTHER.login
    assert world.door.positions_get() == ()
    world.wait(60)
    assert world.door.login(home.login)
    result = world.door.order_send(deal(magic=7))
    assert (result.retcode, world.open_lots) == (DONE, 0.1)


def test_another_account_than_the_intended_one_is_not_opened(world: DoorWorld) -> None:
    door = Door(world._open_behind, world.clock)
    assert not door.initialize(login=6_000_000, journal=str(world.folder / "x.db"))
    code, text = door.last_error()
    assert (code, "6000000" in text) == (mt5.RES_E_AUTH_FAILED, True)
    assert door.positions_get() is None
    assert door.last_error()[0] == mt5.RES_E_INTERNAL_FAIL_CONNECT


def test_an_account_of_another_server_is_not_opened(world: DoorWorld) -> None:
    login, _, server = world.door.account.name.partition("@")
    door = Door(world._open_behind, world.clock)
    for named in ({}, {"login": int(login)}):
        assert not door.initialize(**named, server="Elsewhere", journal=str(world.folder / "x.db"))
        code, text = door.last_error()
        assert (code, "Elsewhere" in text) == (mt5.RES_E_AUTH_FAILED, True)
    assert door.initialize(login=int(login), server=server, journal=str(world.folder / "x.db"))
    door.shutdown()


def test_comments_in_a_journal_are_those_of_the_account_on_its_server(world: DoorWorld) -> None:
    world.door.order_send(deal(magic=7))
    name, journal = world.door.account.name, str(world.folder / "bot.db")
    assert list(comments_in(journal, name).values()) == ["bot"]
    # Two servers may have accounts with the same number.
    assert comments_in(journal, f"{name.partition('@')[0]}@Elsewhere") == {}


def test_a_terminal_that_changes_its_account_shows_nothing_of_the_other(tmp_path: Path) -> None:
    world = DoorWorld(tmp_path, others=(OTHER,))
    world.door.order_send(deal(magic=7))
    home = world.called.account_info().login
    world.terminal.switch_account(OTHER.login)
    assert world.door.positions_get() is None
    assert world.door.account_info() is None
    refused = world.door.order_send(deal(magic=7))
    assert refused.retcode == REJECT
    world.terminal.switch_account(home)
    assert len(world.door.positions_get()) == 1


@pytest.fixture
def remote(
    simulated_gateway: SimulatedGateway,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Door]:
    monkeypatch.chdir(tmp_path)
    door = Door()
    url = f"tcp://{simulated_gateway.host}:{simulated_gateway.port}"
    assert door.initialize(gateway=url, read_ms=1_500, resolve_ms=200), door.last_error()
    yield door
    door.shutdown()


def test_the_door_works_through_a_gateway(
    remote: Door,
    simulated_gateway: SimulatedGateway,  # noqa: F811
) -> None:
    result = remote.order_send(deal(magic=7, price=1.2, deviation=100_000))
    assert (result.retcode, result.comment) == (DONE, "Request executed")
    (row,) = remote.positions_get()
    assert (row.ticket, row.comment) == (result.order, "bot")
    assert remote.symbol_info("EURUSD").name == "EURUSD"
    assert remote.order_check(deal()).retcode == 0
    with simulated_gateway.terminal() as terminal:
        terminal.faults.next_send(AnswerLost(executed=True, pipe_breaks=False))
    closed = remote.order_send(deal(SELL, position=result.order, price=1.0, deviation=100_000))
    assert (closed.retcode, remote.positions_get()) == (DONE, ())


def test_a_login_over_a_gateway_says_why_not_and_leaves_the_account_open(remote: Door) -> None:
    for other in ({"login": 77}, {"login": 5_000_001, "server": "Other-Demo"}, {"login": "x"}):
        assert not remote.login(**other)
        code, text = remote.last_error()
        assert (code, "log in at that terminal" in text) == (mt5.RES_E_AUTH_FAILED, True)
        assert remote.positions_get() == ()
    assert remote.login(5_000_001, "", "Simulated-Demo")


def test_a_refused_opening_leaves_no_book_that_a_later_order_is_taken_to(world: DoorWorld) -> None:
    ticket = world.door.order_send(deal(magic=7)).order
    trailing = world.open("trailing.db")
    assert trailing.order_send(deal(magic=7)).retcode == REJECT
    levels = {"action": mt5.TRADE_ACTION_SLTP, "symbol": "EURUSD", "position": ticket}
    assert trailing.order_send({**levels, "sl": 1.05, "tp": 0.0}).retcode == DONE


def test_login_leaves_the_claim_of_the_book_that_it_closes(remote: Door) -> None:
    assert remote.order_send(deal(magic=7, deviation=100_000)).retcode == DONE
    account = remote.account
    assert account.gateway.claimed is not None
    assert remote.login(int(account.name.partition("@")[0])), remote.last_error()
    # Before its next order the program only reads, so another may have the number.
    assert remote.account.gateway.claimed is None


def test_without_its_gateway_the_door_gives_nothing_and_sends_nothing(
    remote: Door,
    simulated_gateway: SimulatedGateway,  # noqa: F811
) -> None:
    remote.order_send(deal(magic=7, deviation=100_000))
    simulated_gateway.stop()
    assert remote.positions_get() is None
    assert "offline" in remote.last_error()[1].lower()
    assert remote.order_send(deal(magic=7, volume=0.2)).retcode == REJECT
    assert remote.symbol_info_tick("EURUSD") is None
