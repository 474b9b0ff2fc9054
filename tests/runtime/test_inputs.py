"""Inputs of Python programs are taken as they come, and kept as plain Python values."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from tests.support import make
from tests.support.desk_world import DeskLink, DeskWorld
from tests.support.number_kinds import Array, WholeScalar, no_numbers, real_kinds, whole_kinds
from trueup.core.book.book import Book
from trueup.core.book.lifecycle import OrderStatus
from trueup.core.policy import Policy
from trueup.gateway.client.execution_gateway import ExecutionGateway
from trueup.journal.memory import MemoryJournal
from trueup.protocol.orders import decode_outcome, encode_order
from trueup.runtime.bot.portfolio import PortfolioManager, create_fill_response
from trueup.runtime.sync.reconciler import StateReconciler
from trueup.runtime.sync.results import RemotePosition
from trueup.runtime.trading.own_strategy import OwnStrategy

# A magic number is no result of a computation, and a float is no magic number.
MAGIC_KINDS = {k: v for k, v in whole_kinds().items() if "float" not in k}
MAGIC = pytest.mark.parametrize("whole", MAGIC_KINDS.values(), ids=MAGIC_KINDS)
WHOLE = pytest.mark.parametrize("whole", whole_kinds().values(), ids=whole_kinds())
REAL = pytest.mark.parametrize("real", real_kinds().values(), ids=real_kinds())
NONE = pytest.mark.parametrize("value", no_numbers().values(), ids=no_numbers())
Whole = Callable[[int], Any]
Real = Callable[[str], Any]


@pytest.fixture
def world() -> Iterator[DeskWorld]:
    """A bot with a journal, which takes nothing that could not be read back."""
    made = DeskWorld(journal=MemoryJournal())
    made.sync()
    yield made
    assert Book.restore(made.state()).state() == made.state()


# The order desk.


@REAL
@MAGIC
def test_an_order_is_taken_in_numbers_of_any_kind(
    world: DeskWorld, whole: Whole, real: Real
) -> None:
    order = world.pm.submit(
        whole(1), real("0.05"), sl=real("1.05"), tp=real("1.2"), magic=whole(7), price=real("1.1")
    )
    assert order.status is OrderStatus.FILLED
    assert (order.volume, order.sl, order.tp, order.magic) == (0.05, 1.05, 1.2, 7)
    assert (type(order.volume), type(order.magic)) == (float, int)
    assert (order.side.value, order.entry_price) == ("buy", 1.1)
    pending = world.pm.submit("sell", real("0.05"), limit=real("1.25"))
    assert pending.entry_price == 1.25


@REAL
@WHOLE
def test_what_is_open_is_named_by_tickets_of_any_kind(
    world: DeskWorld, whole: Whole, real: Real
) -> None:
    ticket = world.pm.submit("buy", 0.1).ticket or 0
    world.sync()
    modified = world.pm.modify(whole(ticket), real("1.05"), real("1.25"))
    assert (modified.position, modified.sl, modified.tp) == (ticket, 1.05, 1.25)
    closed = world.pm.close(whole(ticket), real("0.05"))
    assert (closed.position, closed.volume) == (ticket, 0.05)
    assert type(closed.position) is int
    pending = world.pm.submit("buy", 0.1, limit=1.05)
    world.sync()
    cancelled = world.pm.cancel(whole(pending.ticket or 0))
    assert cancelled.target == pending.ticket
    assert world.pm.find_order_by_ticket(whole(ticket)) is not None


@pytest.mark.parametrize(
    "named",
    [
        str,
        lambda ticket: {"ticket": ticket, "symbol": "EURUSD"},
        lambda ticket: {"ticket": str(ticket)},
        lambda ticket: RemotePosition(ticket, "EURUSD", "buy", 0.1, 1.1),
        make.position,
    ],
    ids=["text", "a row", "a row of text", "RemotePosition", "a position"],
)
def test_a_position_is_named_by_whatever_has_its_ticket(
    world: DeskWorld, named: Callable[[int], Any]
) -> None:
    ticket = world.pm.submit("buy", 0.1).ticket or 0
    world.sync()
    assert world.pm.close(named(ticket)).status is OrderStatus.FILLED


def test_a_key_comes_again_in_numbers_of_another_kind(world: DeskWorld) -> None:
    first = world.pm.submit("buy", 0.05, key="k", magic=7)
    again = world.pm.submit(WholeScalar(1), Decimal("0.05"), key="k", magic=WholeScalar(7))  # type: ignore[arg-type]
    assert again is first
    assert len(world.rows()) == 1


@NONE
def test_what_is_no_number_is_refused_in_one_line(world: DeskWorld, value: Any) -> None:
    pm, before = world.pm, world.state()
    calls: dict[str, Callable[[], object]] = {
        "volume": lambda: pm.submit("buy", value),
        "sl": lambda: pm.submit("buy", 0.1, sl=value),
        "limit": lambda: pm.submit("buy", 0.1, limit=value),
        "magic": lambda: pm.submit("buy", 0.1, magic=value),
        "side": lambda: pm.submit(value, 0.1),
        "price": lambda: pm.create_order(1, value),
    }
    for name, call in calls.items():
        if name in ("sl", "limit") and value is None:
            continue
        with pytest.raises(ValueError, match=f"^{name}=") as refused:
            call()
        assert len(str(refused.value)) <= 160
        assert "\n" not in str(refused.value)
    with pytest.raises(ValueError, match=r"^No position with ticket ") as refused:
        pm.close(value)
    assert len(str(refused.value)) <= 160
    assert world.state() == before
    assert world.rows() == {}


def test_a_whole_position_is_refused_as_a_ticket_in_one_line(world: DeskWorld) -> None:
    """Its representation has every order that made it: thousands of characters."""
    for _ in range(20):
        world.pm.submit("buy", 0.1)
    with pytest.raises(ValueError, match=r"^No position with ticket Position\(symbol=") as refused:
        world.pm.close(world.pm.position)
    assert len(str(refused.value)) <= 300


def test_an_unknown_ticket_is_told_beside_a_few_of_the_known(world: DeskWorld) -> None:
    for _ in range(15):
        world.pm.submit("buy", 0.01)
    with pytest.raises(ValueError, match="No position with ticket 5 in the book") as refused:
        world.pm.close(WholeScalar(5))
    assert str(refused.value).endswith("and 5 more.")


@pytest.mark.parametrize("ticket", [*no_numbers().values(), -1, 0.5, "none"])
def test_what_is_no_ticket_never_says_that_an_order_was_never_executed(ticket: Any) -> None:
    pm = make.portfolio()
    order = pm.create_order(1, 1.05, 0.01)
    assert order is not None
    assert pm.on_fill(make.filling(order.order_id, None, status="UNKNOWN"))
    keeper = StateReconciler(pm, make.gateway_saying(make.reply()), 15)
    with pytest.raises(ValueError, match=r"^ticket="):
        keeper.settle(order.order_id, ticket)
    assert not keeper.statements
    keeper.settle(order.order_id, WholeScalar(5))  # type: ignore[arg-type]
    assert keeper.statements[order.order_id].ticket == 5


# The guide's orders: signals, fills, what is forced.


@WHOLE
def test_a_signal_of_any_kind_is_a_signal(whole: Whole) -> None:
    pm = make.portfolio()
    assert pm.check_risk(whole(1))
    assert not pm.check_risk(whole(0))
    order = pm.create_order(whole(1), Decimal("1.1"), Decimal("0.05"))  # type: ignore[arg-type]
    assert order is not None
    assert (order.entry_price, order.volume) == (1.1, 0.05)


@pytest.mark.parametrize("signal", [*no_numbers().values(), "1", 2, -2, 0.5])
def test_what_is_no_signal_holds(signal: Any) -> None:
    pm = make.portfolio()
    assert not pm.check_risk(signal)
    assert pm.create_order(signal, 1.1) is None


@WHOLE
def test_a_strategy_may_return_its_signal_in_any_kind(whole: Whole) -> None:
    class Signals:
        def on_tick(self, tick: object) -> Any:
            return whole(1)

    tick: Any = object()
    found = OwnStrategy("mine", Signals).on_tick(tick)
    assert (found, type(found)) == (1, int)


@WHOLE
@REAL
def test_a_fill_is_taken_in_numbers_of_any_kind(whole: Whole, real: Real) -> None:
    told: list[tuple[Any, Any, Any]] = [
        (whole(5), real("1.25"), real("0.05")),
        ("5", "1.25", "0.05"),
        (5.0, 1.25, 0.05),
    ]
    for ticket, price, volume in told:
        pm = PortfolioManager("EURUSD", journal=MemoryJournal())
        order = pm.create_order(1, 1.1, 0.05)
        assert order is not None
        assert pm.on_fill(create_fill_response(order.order_id, ticket, price, volume))
        assert order.status is OrderStatus.FILLED
        assert (order.ticket, order.fill_price, order.filled_volume) == (5, 1.25, 0.05)
        assert pm.position is not None
        assert pm.position.net_volume == 0.05


@pytest.mark.parametrize("field", ["ticket", "filled_price", "filled_volume"])
@NONE
def test_a_fill_that_does_not_say_what_was_filled_is_in_doubt(field: str, value: Any) -> None:
    pm = PortfolioManager("EURUSD", journal=MemoryJournal())
    order = pm.create_order(1, 1.1, 0.05)
    assert order is not None
    answer = make.filling(order.order_id, 5, filled_volume=0.05) | {field: value}
    assert pm.on_fill(answer)
    assert order.status is OrderStatus.IN_DOUBT
    assert "FILLED" in str(order.error)
    assert len(str(order.error)) <= 160


@WHOLE
@REAL
def test_a_row_is_forced_in_numbers_of_any_kind(whole: Whole, real: Real) -> None:
    pm = PortfolioManager("EURUSD", journal=MemoryJournal())
    row = make.row(whole(5), volume=real("0.05"), price_open=real("1.25"), magic=whole(7))
    assert pm.force_add_position(row)
    assert pm.force_update_position(whole(5), {"volume": real("0.1")})
    assert pm.position is not None
    assert (pm.position.net_volume, pm.position.avg_entry_price) == (0.1, 1.25)
    assert pm.force_close_position(whole(5))
    assert pm.position is None


def test_a_remote_position_is_forced_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    pm = PortfolioManager("EURUSD", journal=MemoryJournal())
    assert pm.force_add_position(RemotePosition(5, "EURUSD", "buy", 0.05, 1.25))
    assert pm.force_update_position(5, RemotePosition(5, "EURUSD", "buy", 0.1, 1.25))
    assert pm.position is not None
    assert pm.position.net_volume == 0.1
    assert not pm.force_update_position(5, object())
    assert not pm.force_update_position(5, {"volume": 0})
    assert not pm.force_add_position({"ticket": 6, "price_open": 0.0, **make.row(6, price_open=0)})
    assert "price_open is 0" in caplog.text
    assert max(map(len, caplog.messages)) <= 160


# Gateways, intervals, policies.


@WHOLE
def test_a_gateway_is_reached_by_a_port_of_any_kind(whole: Whole) -> None:
    gateway = ExecutionGateway(
        "127.0.0.1", whole(5555), whole(2000), link=lambda _: DeskLink(lambda _: None)
    )
    assert (gateway.port, gateway.timeout_ms, gateway.url) == (5555, 2000, "tcp://127.0.0.1:5555")
    assert type(gateway.timeout_ms) is int
    text = ExecutionGateway("h", "5555", "2000", link=lambda _: DeskLink(lambda _: None))  # type: ignore[arg-type]
    assert (text.port, text.timeout_ms) == (5555, 2000)


@pytest.mark.parametrize("value", [*no_numbers().values(), 0, -1, 65_536, 0.5, "port"])
def test_a_port_that_is_none_is_refused_in_one_line(value: Any) -> None:
    if value is None:
        return
    with pytest.raises(ValueError, match=r"^port=") as refused:
        ExecutionGateway("127.0.0.1", value, 2000, link=lambda _: DeskLink(lambda _: None))
    assert len(str(refused.value)) <= 160


@REAL
def test_an_interval_is_seconds_of_any_kind(real: Real) -> None:
    pm = make.portfolio()
    keeper = StateReconciler(pm, make.gateway_saying(make.reply()), real("0.5"))
    assert keeper.sync_interval == 0.5
    assert type(keeper.sync_interval) is float
    assert keeper.sync_positions().status.value == "SUCCESS"
    make.clock_of(pm).advance(0.6)
    assert keeper.sync_continuous() is not None


@NONE
def test_an_interval_that_is_none_is_refused_in_one_line(value: Any) -> None:
    if value is None:
        return
    with pytest.raises(ValueError, match=r"^sync_interval_sec=") as refused:
        StateReconciler(make.portfolio(), make.gateway_saying(make.reply()), value)
    assert len(str(refused.value)) <= 160


@MAGIC
def test_a_policy_takes_sets_lists_and_columns(whole: Whole) -> None:
    policy = Policy(symbols=["EURUSD", "GBPUSD"], magics=[whole(7), whole(9)])  # type: ignore[arg-type]
    assert policy.symbols == frozenset({"EURUSD", "GBPUSD"})
    assert policy.magics == frozenset({7, 9})
    assert {type(magic) for magic in policy.magics} == {int}
    assert policy.owns(make.position(magic=7))
    assert not policy.owns(make.position(magic=8))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("symbols", "EURUSD"),
        ("symbols", []),
        ("symbols", [""]),
        ("symbols", [5]),
        ("symbols", 5),
        ("symbols", None),
        ("magics", 7),
        ("magics", "7"),
        ("magics", ["7"]),
        ("magics", [True]),
        ("magics", [-1]),
        ("magics", [2**64]),
        ("magics", [0.5]),
        ("magics", [float("nan")]),
    ],
)
def test_a_policy_of_something_else_is_refused_in_one_line(field: str, value: Any) -> None:
    fields = {"symbols": {"EURUSD"}} | {field: value}
    with pytest.raises(ValueError, match=f"^{field}=") as refused:
        Policy(**fields)
    assert len(str(refused.value)) <= 160


# What goes over the wire.


@WHOLE
@REAL
def test_an_order_goes_over_the_wire_in_plain_numbers(whole: Whole, real: Real) -> None:
    order = {"order_id": "O", "symbol": "EURUSD", "action": "BUY", "position": whole(5)}
    raw = encode_order({**order, "volume": real("0.05"), "price": real("1.25"), "magic": whole(7)})
    sent = msgspec.json.decode(raw)
    assert (sent["volume"], sent["price"], sent["position"], sent["magic"]) == (0.05, 1.25, 5, 7)
    assert (type(sent["position"]), type(sent["magic"])) == (int, int)


def test_an_answers_digits_are_numbers_and_the_rest_stays() -> None:
    reply = {"order_id": "O", "status": "FILLED", "ticket": "9007199254740993", "more": "1"}
    raw = make.as_bytes({**reply, "filled_price": "1.25", "filled_volume": "0.05"})
    outcome = decode_outcome(raw, {"order_id": "O"})
    assert outcome["ticket"] == 9007199254740993
    assert (outcome["filled_price"], outcome["filled_volume"]) == (1.25, 0.05)
    assert outcome["more"] == "1"
    odd = decode_outcome(make.as_bytes({**reply, "ticket": "none"}), {"order_id": "O"})
    assert odd["ticket"] == "none"


@pytest.mark.skipif(not importlib.util.find_spec("numpy"), reason="numpy is not installed")
def test_names_that_came_out_of_a_table_are_plain_texts(world: DeskWorld) -> None:
    numpy: Any = importlib.import_module("numpy")
    name = numpy.array(["EURUSD"])[0]
    pm = PortfolioManager(name, journal=MemoryJournal())
    assert type(pm.symbol) is str
    assert pm.create_order(1, 1.1) is not None
    assert Policy(symbols=numpy.array(["EURUSD"])).symbols == frozenset({"EURUSD"})
    order = world.pm.submit("buy", 0.1, key=numpy.str_("k"), why=numpy.str_("because"))
    assert (type(order.key), type(order.why)) == (str, str)


def test_an_array_of_one_ticket_closes_it(world: DeskWorld) -> None:
    ticket = world.pm.submit("buy", 0.1).ticket
    world.sync()
    assert world.pm.close(Array(ticket)).status is OrderStatus.FILLED
