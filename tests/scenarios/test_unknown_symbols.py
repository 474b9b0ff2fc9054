"""A bot whose symbol the broker does not have: said at once, everywhere, and ended by itself."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from typing import Any, cast

import pytest

from tests.support.desk_world import BUY, DeskWorld
from tests.support.manners import GuideGateway
from tests.support.servers import ZmqServer
from trueup.core.holds import HoldKind
from trueup.core.policy import Policy
from trueup.errors import Refused
from trueup.gateway.client.execution_gateway import ExecutionGateway
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.protocol.snapshot import NAMED_AT_ONCE
from trueup.runtime.bot.portfolio import PortfolioManager
from trueup.runtime.sync.observation import PRICES_AGE_SEC
from trueup.runtime.sync.reconciler import StateReconciler, SyncStatus
from trueup.sim.market.symbols import EURUSD, SymbolSetup

SAID = "The broker does not have the symbol EURUSD; similar names there: EURUSD.m"


def called(name: str) -> SymbolSetup:
    return dataclasses.replace(EURUSD, name=name)


class Suffixed(DeskWorld):
    """A broker that writes EURUSD.m, and a bot that says EURUSD, with a socket between them."""

    def __init__(self, **options: Any) -> None:
        super().__init__(specs=(EURUSD, called("EURUSD.m")), **options)
        self.remove()

    def remove(self) -> None:
        """Take EURUSD off the market."""
        self.terminal.market.setups.pop("EURUSD")

    def add(self) -> None:
        """Have the broker offer EURUSD."""
        self.terminal.market.setups["EURUSD"] = EURUSD

    def quote(self, bid: float, symbol: str = "EURUSD", spread: float = 0.0001) -> None:
        for name in self.terminal.market.setups:
            super().quote(bid, name, spread)


@pytest.fixture
def world() -> Iterator[Suffixed]:
    found = Suffixed()
    with ZmqServer(found.desk.handle) as server:
        found.gateway = ExecutionGateway("127.0.0.1", server.port, 2000)
        found.pm = PortfolioManager("EURUSD", clock=found.clock)
        found.reconciler = StateReconciler(found.pm, found.gateway, 1)
        with found.gateway:
            yield found


class Delisting(DeskWorld):
    """A terminal that may know a symbol no more while the broker's books go on."""

    def restart_gateway(self) -> None:
        """Start the gateway anew, at a terminal from which symbols can be taken."""
        self.gone: set[str] = set()
        terminal = self.terminal
        info, listed = terminal.symbol_info, terminal.symbols_get

        def found(name: str) -> Any:
            if name not in self.gone:
                return info(name)
            terminal.error = (mt5.RES_E_NOT_FOUND, "Terminal: Not found")
            return None

        def rows() -> Any:
            return tuple(row for row in cast(Any, listed()) if row.name not in self.gone)

        vars(terminal).update(symbol_info=found, symbols_get=rows)
        super().restart_gateway()


def said_of(world: DeskWorld) -> list[str]:
    return [hold.reason for hold in world.reconciler.holds if hold.kind is HoldKind.NO_SYMBOL]


def test_it_is_said_at_startup_with_what_looks_alike_and_once_in_the_log(
    world: Suffixed, caplog: pytest.LogCaptureFixture
) -> None:
    result = world.reconciler.startup_recovery()
    assert result.status is SyncStatus.SUCCESS
    assert [hold.reason for hold in result.holds] == said_of(world) == [SAID]
    assert world.reconciler.health.startswith(f"EURUSD held: {SAID}; everything else agrees")
    assert world.reconciler.get_status()["holds"] == [SAID]
    for _ in range(5):
        world.sync()
    assert sum("does not have the symbol" in line for line in caplog.messages) == 1


def test_entries_are_barred_with_the_reason_and_an_order_comes_back_refused_by_name(
    world: Suffixed,
) -> None:
    world.sync()
    assert not world.pm.check_risk(1)
    assert world.pm.create_order(1, 1.1) is None
    assert world.pm.entries_refused().startswith(f"refused: {SAID} (until a broker that has EURUSD")
    order = world.pm.submit("buy", 0.1, key="first")
    assert order.status.value == "REJECTED"
    assert str(order.error).lower().startswith(f"not sent: {SAID}".lower())
    assert not world.ledger.positions


def test_a_symbol_that_comes_ends_it(world: Suffixed) -> None:
    world.sync()
    world.add()
    world.quote(1.1)
    world.sync()
    assert world.reconciler.holds == ()
    assert world.reconciler.health.startswith("Everything agrees")
    assert world.pm.check_risk(1)
    assert world.pm.submit("buy", 0.1).status.value == "FILLED"


def test_a_symbol_that_came_a_moment_ago_is_not_refused_by_old_knowledge(world: Suffixed) -> None:
    world.sync()
    world.add()
    world.quote(1.1)
    assert world.pm.submit("buy", 0.1).status.value == "FILLED"


def test_other_restrictions_bar_an_entry_there_all_the_same(world: Suffixed) -> None:
    with pytest.raises(Refused, match="no reading of the broker has been believed"):
        world.pm.submit("buy", 0.1)


def test_it_stays_said_while_nothing_changes_and_ends_with_the_next_prices(
    world: Suffixed,
) -> None:
    """Most answers say only that nothing changed; what a full one said is true until the next."""

    def loop(seconds: int) -> None:
        for _ in range(seconds):
            world.wait(1)
            world.reconciler.sync_continuous()
            for _ in range(1_000):
                if world.reconciler.sync_continuous() is not None:
                    break

    count = world.reconciler.sync_count
    loop(6)
    assert world.reconciler.sync_count > count
    remote = world.reconciler.remote
    assert remote is not None
    assert remote.evidence is not None
    assert remote.evidence.floating is not None, "the last answer was a full one"
    assert said_of(world) == [SAID]
    world.add()
    world.quote(1.1)
    loop(PRICES_AGE_SEC + 2)
    assert said_of(world) == []


@pytest.mark.parametrize(
    ("symbol", "there"),
    [("eurusd", "EURUSD"), ("EUR/USD", "EURUSD"), ("EURUSD.pro", "EURUSD"), ("mEURUSD", "EURUSD")],
)
def test_the_other_ways_in_which_a_name_is_wrong(symbol: str, there: str) -> None:
    world = DeskWorld(specs=(EURUSD,))
    pm = PortfolioManager(symbol, clock=world.clock)
    reconciler = StateReconciler(pm, world.gateway, 15)
    reconciler.sync_positions()
    assert reconciler.health.startswith(
        f"{symbol} held: The broker does not have the symbol {symbol}; similar names there: {there}"
    )


def test_of_several_symbols_the_wrong_one_alone_is_barred(
    caplog: pytest.LogCaptureFixture,
) -> None:
    policy = Policy(symbols=frozenset({"EURUSD", "EURUSD.m", "NOSUCH"}))
    world = Suffixed(policy=policy)
    world.sync()
    assert sorted(said_of(world)) == [SAID, "The broker does not have the symbol NOSUCH"]
    assert {hold.symbol for hold in world.reconciler.holds} == {"EURUSD", "NOSUCH"}
    assert sum("does not have the symbol" in line for line in caplog.messages) == 2
    _, _, gateway = world.another_bot()
    pm = PortfolioManager("EURUSD.m", clock=world.clock)
    StateReconciler(pm, gateway, 15, policy=policy).sync_positions()
    assert pm.check_risk(1)
    # One more is said when it goes, and the others are not said again.
    world.add()
    world.sync()
    world.remove()
    caplog.clear()
    world.sync()
    assert sum("does not have the symbol" in line for line in caplog.messages) == 1


def test_more_symbols_than_one_question_names_are_all_told_all_the_time() -> None:
    many = frozenset({"EURUSD", *(f"NONE{number}" for number in range(NAMED_AT_ONCE + 20))})
    world = DeskWorld(policy=Policy(symbols=many))
    world.sync()
    world.sync()
    for _ in range(3):
        world.sync()
        assert len(said_of(world)) == NAMED_AT_ONCE + 20


def test_a_symbol_that_goes_with_a_position_open_keeps_the_position_and_says_so() -> None:
    world = Delisting(specs=(EURUSD, called("EURUSD.m")))
    world.sync()
    world.pm.submit("buy", 0.1)
    world.sync()
    assert world.reconciler.holds == ()
    world.gone.add("EURUSD")
    result = world.sync()
    assert result.status is SyncStatus.SUCCESS
    assert said_of(world) == [
        "The broker does not have the symbol EURUSD any more, and a position in it is still open"
    ]
    assert len(world.pm.book.holdings) == 1
    (ticket,) = (holding.position.ticket for holding in world.pm.book.holdings.values())
    closed = world.pm.close(ticket)
    assert closed.status.value == "REJECTED"
    assert "EURUSD" in str(closed.error)
    world.gone.clear()
    world.sync()
    assert world.reconciler.holds == ()
    assert world.pm.close(ticket).status.value == "FILLED"


def test_foreign_positions_in_a_symbol_that_went_hold_nothing() -> None:
    world = Delisting(specs=(EURUSD, called("OTHER")))
    world.terminal.quote("OTHER", 1.1, 1.1001)
    world.person.open("OTHER", BUY, 0.1)
    world.gone.add("OTHER")
    world.sync()
    assert world.reconciler.health.startswith("Everything agrees")


def test_a_gateway_of_before_claims_nothing() -> None:
    world = Suffixed()
    world.tamper(*[lambda reply: reply.pop("unknown_symbols")] * 3)
    world.sync()
    assert world.reconciler.holds == ()
    world.heal_wire()
    world.sync()
    assert said_of(world) == [SAID]


def test_a_claim_that_cannot_be_read_costs_itself_alone() -> None:
    world = Suffixed()
    world.tamper(lambda reply: reply.update(unknown_symbols=[{"symbol": 7}, {"symbol": "EURUSD"}]))
    assert world.sync().status is SyncStatus.SUCCESS
    assert said_of(world) == ["The broker does not have the symbol EURUSD"]


def test_on_the_guides_wire_nothing_is_claimed_and_the_refusal_names_the_symbol() -> None:
    with GuideGateway() as guide, ExecutionGateway("127.0.0.1", guide.port, 2000) as gateway:
        pm = PortfolioManager("NOSUCH")
        reconciler = StateReconciler(pm, gateway, 5)
        reconciler.startup_recovery()
        assert reconciler.holds == ()
        assert pm.check_risk(1)
        order = pm.submit("buy", 0.1)
    assert (order.status.value, order.error) == ("REJECTED", "no such symbol (NOSUCH)")


@pytest.mark.parametrize("error", ["EURUSD is closed", "", None])
def test_a_refusal_that_names_it_or_says_nothing_stays_as_it_is(error: str | None) -> None:
    with GuideGateway() as guide, ExecutionGateway("127.0.0.1", guide.port, 2000) as gateway:
        pm = PortfolioManager("EURUSD")
        StateReconciler(pm, gateway, 5).startup_recovery()
        guide.answer = lambda raw: json.dumps(
            {"order_id": json.loads(raw)["order_id"], "status": "REJECTED", "error": error}
        ).encode()
        order = pm.submit("buy", 0.1)
    assert order.error == (error or "no reason given")
