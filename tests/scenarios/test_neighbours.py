"""Two books on one account that count the same positions: each is told of the other, by name."""

from __future__ import annotations

import gc
import json
import logging
import os
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.desk_world import DeskWorld
from tests.support.manners import GuideGateway
from tests.support.servers import ZmqServer
from trueup.core.policy import Adopt, Policy
from trueup.gateway.client.execution_gateway import ExecutionGateway
from trueup.gateway.desk.asking_books import BOOKS_KEPT, LATELY_NS
from trueup.protocol.snapshot import NEIGHBOURS_MOST
from trueup.runtime.bot.portfolio import PortfolioManager
from trueup.runtime.sync.reconciler import StateReconciler
from trueup.runtime.time.clock import ManualClock

MakeBot = Callable[..., StateReconciler]


def ours(*magics: int, symbols: frozenset[str] = frozenset({"EURUSD"})) -> Policy:
    return Policy(symbols=symbols, magics=frozenset(magics), adopt=Adopt.OURS)


class Place:
    """A gateway on a socket, and bots at it, each with a connection of its own."""

    def __init__(self, port: int, clock: ManualClock) -> None:
        self.port, self.clock = port, clock
        self.gateways: list[ExecutionGateway] = []

    def bot(self, stream: str, magic: int = 0, policy: Policy | None = None) -> StateReconciler:
        gateway = ExecutionGateway("127.0.0.1", self.port, 2000)
        self.gateways.append(gateway)
        pm = PortfolioManager("EURUSD", stream=stream, magic=magic, clock=self.clock)
        return StateReconciler(pm, gateway, 5, policy=policy)

    def look(self, *bots: StateReconciler, times: int = 2) -> None:
        for _ in range(times):
            for bot in bots:
                self.clock.advance(1.0)
                bot.sync_positions()

    def close(self) -> None:
        for gateway in self.gateways:
            gateway.disconnect()


@pytest.fixture
def world() -> DeskWorld:
    return DeskWorld()


@pytest.fixture
def ours_wire(world: DeskWorld) -> Iterator[Place]:
    with ZmqServer(world.desk.handle) as server:
        place = Place(server.port, world.clock)
        yield place
        place.close()


@pytest.fixture
def guides_wire() -> Iterator[Place]:
    with GuideGateway() as guide:
        place = Place(guide.port, ManualClock())
        yield place
        place.close()


@pytest.fixture(params=["ours", "the guide's"])
def place(request: pytest.FixtureRequest) -> Place:
    name = "ours_wire" if request.param == "ours" else "guides_wire"
    found: Place = request.getfixturevalue(name)
    return found


def named(stream: str, magic: int) -> str:
    return f"stream {stream} (process {os.getpid()} on {socket.gethostname()}, magic {magic})"


def test_each_is_told_of_the_other_by_name_once_in_the_log_and_in_its_status(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    one, other = place.bot("one", 7, ours(7)), place.bot("other", 7, ours(7))
    place.look(one, other, times=5)
    shared = "counts the same positions as its own: EURUSD, magic 7"
    assert one.neighbours == (f"{named('other', 7)} {shared}",)
    assert other.neighbours == (f"{named('one', 7)} {shared}",)
    assert one.get_status()["neighbours"] == list(one.neighbours)
    warned = [r for r in caplog.records if r.getMessage().startswith("[NEIGHBOUR] ")]
    assert [record.levelno for record in warned] == [logging.WARNING] * 2
    assert {named("one", 7), named("other", 7)} == {
        record.getMessage().partition(": ")[2].partition(" counts")[0] for record in warned
    }
    assert all("magic number of its own" in record.getMessage() for record in warned)


def test_no_entry_is_barred_by_it(place: Place) -> None:
    one, other = place.bot("one"), place.bot("other")
    place.look(one, other)
    assert one.neighbours
    assert one.portfolio.check_risk(1)
    assert one.portfolio.restrictions == one.holds == ()
    assert one.health.startswith("Everything agrees")
    assert one.portfolio.submit("buy", 0.1).status.value == "FILLED"


def test_different_magics_that_adopt_ours_and_other_symbols_are_not_told(place: Place) -> None:
    bots = (
        place.bot("a", 7, ours(7)),
        place.bot("b", 8, ours(8)),
        place.bot("c", 7, ours(7, symbols=frozenset({"EURUSD", "GBPUSD"}))),
    )
    place.look(*bots[:2])
    assert [bot.neighbours for bot in bots[:2]] == [(), ()]
    place.look(*bots)
    (said,) = bots[0].neighbours
    assert "stream c" in said
    assert bots[1].neighbours == ()


def test_one_that_adopts_all_is_told_beside_one_that_adopts_its_own(place: Place) -> None:
    all_of_them, own = place.bot("all"), place.bot("own", 7, ours(7))
    place.look(all_of_them, own)
    assert all_of_them.neighbours[0].endswith("EURUSD, magic 7")
    assert own.neighbours[0].startswith("stream all ")


def test_a_bot_that_is_started_again_is_no_neighbour_of_itself(place: Place) -> None:
    """The one that ended asked a moment ago, and is still remembered."""
    ended = place.bot("one")
    place.look(ended)
    again = place.bot("one")
    place.look(again, times=5)
    assert again.neighbours == ()


def test_two_reconcilers_of_one_book_are_one_book(place: Place) -> None:
    one = place.bot("one")
    second = StateReconciler(one.portfolio, place.bot("x").gateway, 5)
    place.look(one, second, times=3)
    assert (one.neighbours, second.neighbours) == ((), ())


def test_one_of_another_gateway_is_none(world: DeskWorld, ours_wire: Place) -> None:
    other_world = DeskWorld()
    with ZmqServer(other_world.desk.handle) as server:
        elsewhere = Place(server.port, other_world.clock)
        one, other = ours_wire.bot("one"), elsewhere.bot("other")
        for _ in range(3):
            ours_wire.look(one)
            elsewhere.look(other)
        elsewhere.close()
    assert (one.neighbours, other.neighbours) == ((), ())


# What the gateway keeps.


def test_one_that_asks_no_longer_is_forgotten(place: Place) -> None:
    one, other = place.bot("one"), place.bot("other")
    place.look(one, other)
    place.clock.advance(LATELY_NS / 1e9 - 10)
    place.look(one)
    assert one.neighbours
    place.clock.advance(20)
    place.look(one)
    assert one.neighbours == ()


def test_what_was_told_stays_while_nothing_changes(ours_wire: Place) -> None:
    one, other = ours_wire.bot("one"), ours_wire.bot("other")
    ours_wire.look(one, other)

    def sync_without_waiting() -> None:
        ours_wire.clock.advance(5)
        for _ in range(100_000):
            if one.sync_continuous() is not None:
                return

    sync_without_waiting()
    sync_without_waiting()
    remote = one.remote
    assert remote is not None
    assert remote.evidence is not None
    assert remote.evidence.floating is not None, "the answer was that nothing changed"
    assert len(one.neighbours) == 1


def test_a_book_of_another_account_is_none(ours_wire: Place, world: DeskWorld) -> None:
    """A bot that waits for its own account to come back asks on, and counts nothing here."""
    one, other = ours_wire.bot("one"), ours_wire.bot("other")
    ours_wire.look(one, other)
    assert one.scope.account == "5000001@Simulated-Demo"
    request = {"action": "SNAPSHOT", "session": "s", "id": 1, "symbols": ["EURUSD"]}
    stranger = {"run": "z", "stream": "stranger", "adopt": "all", "account": "1@Elsewhere"}
    ask(world, request | {"scope": stranger})
    ours_wire.look(one)
    assert [said.split()[1] for said in one.neighbours] == ["other"]
    # Nor is a person told who looks at the whole account.
    looked = ask(world, request | {"scope": {"run": ""}})["neighbours"]
    assert sorted(found["scope"]["stream"] for found in looked) == ["one", "other"]


def test_many_books_are_bounded(world: DeskWorld) -> None:
    request = {"action": "SNAPSHOT", "session": "s", "id": 1, "symbols": ["EURUSD"]}
    ask(world, request | {"scope": {"run": "first"}})
    for number in range(BOOKS_KEPT + 50):
        ask(world, request | {"scope": {"run": f"run{number}", "stream": "s" * 5_000}})
    reply = ask(world, request | {"scope": {"run": f"run{BOOKS_KEPT}"}})
    runs = [one["scope"]["run"] for one in reply["neighbours"]]
    assert len(runs) == NEIGHBOURS_MOST
    assert "first" not in runs
    assert max(len(one["scope"].get("stream", "")) for one in reply["neighbours"]) == 100
    assert "neighbours" not in ask(world, request), "who names no book is told of none"


def test_a_neighbour_that_cannot_be_read_costs_nothing_else() -> None:
    world = DeskWorld()
    _, other, _ = world.another_bot()
    world.sync()
    other.sync_positions()
    world.tamper(lambda reply: reply["neighbours"].insert(0, {"scope": 7}))
    result = world.sync()
    assert result.status.value == "SUCCESS"
    assert len(world.reconciler.neighbours) == 1


def ask(world: DeskWorld, request: dict[str, Any]) -> dict[str, Any]:
    reply: dict[str, Any] = json.loads(world.desk.handle(json.dumps(request).encode()))
    return reply


# Names and processes.


def test_half_a_character_in_a_name_makes_no_question_unreadable(ours_wire: Place) -> None:
    one, other = ours_wire.bot("one"), ours_wire.bot("half \ud83d of it")
    ours_wire.look(one, other)
    assert "stream half ? of it" in one.neighbours[0].replace("\N{REPLACEMENT CHARACTER}", "?")


def test_on_the_guides_wire_a_book_that_is_gone_is_forgotten(guides_wire: Place) -> None:
    one, other = guides_wire.bot("one"), guides_wire.bot("other")
    guides_wire.look(one, other)
    assert one.neighbours
    del other
    gc.collect()
    guides_wire.look(one)
    assert one.neighbours == ()
