"""A snapshot with evidence, and how a client comes to ask for one."""

from __future__ import annotations

import json

from tests.support.desk_world import BUY, NETTING, OTHER, DeskWorld, figures
from trueup.core.digest import digest
from trueup.core.model import Entry, MarginMode, OrderType, PendingOrder, Snapshot
from trueup.core.policy import Policy
from trueup.gateway.client.reader import Question
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.journal.memory import MemoryJournal
from trueup.sim.market.symbols import AccountSetup

ACTION_FIRST = b'{"action":"GET_POSITIONS","symbol":"*"}'


def asked(world: DeskWorld) -> list[str]:
    return [json.loads(message)["action"] for message in world.requests]


def test_snapshot_carries_account_terminal_lists_counts_time_sequence_epoch_and_digest() -> None:
    rich = AccountSetup(balance=5000.0, credit=250.0)
    world = DeskWorld(rich)
    ticket = world.person.open("EURUSD", BUY, 0.2, sl=1.05, tp=1.2)
    order = world.person.place("GBPUSD", mt5.ORDER_TYPE_BUY_LIMIT, 0.1, 1.2)
    world.quote(1.10100)
    world.sync()
    remote = world.reconciler.remote
    assert remote is not None
    assert remote.evidence is not None
    evidence, account = remote.evidence, remote.evidence.account
    assert (account.login, account.server, account.currency) == (rich.login, rich.server, "USD")
    assert account.margin_mode is MarginMode.HEDGING
    truth = world.ledger.figures()
    assert (account.balance, account.credit, account.equity, account.margin, account.profit) == (
        truth.balance,
        truth.credit,
        truth.equity,
        truth.margin,
        truth.profit,
    )
    terminal = evidence.terminal
    assert (terminal.connected, terminal.trade_allowed) == (True, True)
    assert (terminal.build, terminal.ping_us > 0) == (world.terminal.build, True)
    assert [p.ticket for p in remote.positions] == [ticket]
    assert [(o.ticket, o.type) for o in evidence.orders] == [(order, OrderType.BUY_LIMIT)]
    assert evidence.count_before == evidence.count_after == (1, 1)
    assert evidence.time_offset_sec == 2 * 3600
    assert evidence.server_time_msc - 2 * 3_600_000 == 1_700_000_000_000
    assert (evidence.epoch, evidence.sequence) == ("boot1.1", 1)
    assert evidence.digest == digest(remote.positions, evidence.orders)
    assert len(evidence.digest) * 4 == 128
    assert {spec.symbol: spec.volume_step for spec in evidence.specs}["EURUSD"] == 0.01


def test_an_empty_account_is_proven_empty_by_a_digest_of_its_own() -> None:
    world = DeskWorld()
    assert figures(world.sync()) == ("SUCCESS", 0, 0, 0)
    remote = world.reconciler.remote
    assert remote is not None
    assert remote.evidence is not None
    assert remote.evidence.digest == digest(())
    order = PendingOrder(1, "EURUSD", OrderType.BUY_LIMIT, 0.1, 1.05)
    assert digest(()) != digest((), (order,))
    assert len(digest(())) == 32


def test_deals_and_ended_orders_come_when_they_are_asked_for_by_identifier() -> None:
    world = DeskWorld()
    world.gateway.connect()
    ticket = world.person.open("EURUSD", BUY, 0.2)
    order = world.person.place("EURUSD", mt5.ORDER_TYPE_BUY_LIMIT, 0.1, 1.05)
    world.person.close(ticket, 0.05)
    world.person.cancel(order)
    plain = world.gateway.read()
    assert isinstance(plain, Snapshot)
    assert plain.evidence is not None
    assert (plain.evidence.deals, plain.evidence.past_orders) == ((), ())
    full = world.gateway.read(Question(explain=(ticket, 999), explain_orders=(order,)))
    assert isinstance(full, Snapshot)
    assert full.evidence is not None
    assert [(d.entry, d.volume) for d in full.evidence.deals] == [
        (Entry.IN, 0.2),
        (Entry.OUT, 0.05),
    ]
    assert full.evidence.explained == {ticket, 999}
    assert [(o.ticket, o.state) for o in full.evidence.past_orders] == [(order, "canceled")]


def test_first_message_is_the_guides_to_the_letter_and_snapshot_comes_after_the_offer() -> None:
    world = DeskWorld()
    world.sync()
    world.sync()
    assert world.requests[0] == ACTION_FIRST
    assert asked(world) == ["GET_POSITIONS", "SNAPSHOT", "SNAPSHOT"]


def test_the_same_on_the_path_that_never_waits() -> None:
    world = DeskWorld()
    world.turn(1)
    world.turn(16)
    assert world.requests[0] == ACTION_FIRST
    assert asked(world) == ["GET_POSITIONS", "SNAPSHOT", "SNAPSHOT"]


def test_a_gateway_of_the_guide_is_never_sent_anything_else() -> None:
    world = DeskWorld()
    world.knows_only_the_guide = True
    ticket = world.person.open("EURUSD", BUY, 0.2)
    assert figures(world.sync()) == ("SUCCESS", 1, 0, 0)
    world.person.close(ticket)
    result = world.sync()
    assert figures(result) == ("SUCCESS", 0, 1, 0)
    world.turn(40)
    assert set(world.requests) == {ACTION_FIRST}
    assert world.pm.book.bound is None
    assert "unproven" in world.reconciler.get_audit_trail()[-1]["details"]


def test_a_bound_book_refuses_a_gateway_that_stops_proving_until_it_proves_again() -> None:
    world = DeskWorld()
    ticket = world.person.open("EURUSD", BUY, 0.2)
    world.sync()
    before = world.state()
    world.knows_only_the_guide = True
    world.person.close(ticket)
    result = world.sync()
    for _ in range(2):
        assert figures(result) == ("DEGRADED", 0, 0, 0)
        assert world.state() == before
        result = world.sync()
    assert "no longer proves" in result.errors[0]
    assert str(world.ledger.setup.login) in result.errors[0]
    # After the first refusal of SNAPSHOT the gateway is taken for one of the guide's.
    assert asked(world)[-2:] == ["GET_POSITIONS", "GET_POSITIONS"]
    world.knows_only_the_guide = False
    assert figures(world.sync()) == ("SUCCESS", 0, 1, 0)


def test_first_contact_binds_the_book_to_its_account_and_the_journal_keeps_it() -> None:
    journal = MemoryJournal()
    world = DeskWorld(NETTING, others=(OTHER,), journal=journal)
    assert world.reconciler.get_status()["account"] is None
    world.sync()
    name = f"{NETTING.login}@{NETTING.server}"
    assert world.reconciler.get_status()["account"] == name
    account = world.pm.book.account
    assert getattr(account, "margin_mode", None) is MarginMode.NETTING
    # The next run knows its account before it has seen anything.
    world.terminal.switch_account(OTHER.login)
    world.start_bot(journal=journal, policy=Policy(symbols=frozenset({"EURUSD"})))
    assert figures(world.sync(5)) == ("FAILED", 0, 0, 0)
