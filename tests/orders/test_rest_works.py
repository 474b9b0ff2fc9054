"""A market order of which a part is filled, and on the rest of which an exchange still works."""

from __future__ import annotations

import dataclasses

import pytest

from tests.support.order_world import OrderWorld
from trueup.core.book.order import Order
from trueup.core.book.strategies import strategy_rows
from trueup.errors import Refused
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.sim.market.symbols import EURUSD, AccountSetup
from trueup.sim.terminal.terminal_faults import AnswerLost

ACCOUNTS = {
    "netting": AccountSetup(margin_mode=mt5.ACCOUNT_MARGIN_MODE_EXCHANGE),
    "hedging": AccountSetup(),
}
SYMBOL = dataclasses.replace(EURUSD, execution=mt5.SYMBOL_TRADE_EXECUTION_EXCHANGE)
# How the exchange answers an order of which it fills a part: with nothing that arrives, with PLACED
# (10008), or with DONE_PARTIAL (10010).
ANSWERS = ("lost", "placed", "part")
MAGIC = 7


class PartsWorld(OrderWorld):
    """A world in which the market has 0.1 lots for the next order, and then none."""

    def __init__(self, account: str, answer: str, *, magic_token: bool = False) -> None:
        self._answer = answer
        super().__init__(
            ACCOUNTS[account],
            specs=(SYMBOL,),
            magic_token=magic_token,
            exchange_answers_placed=answer != "part",
        )

    def hold(self) -> int:  # type: ignore[override]
        """Open 0.3 lots; return their position."""
        self.pm.submit("buy", 0.3, magic=MAGIC)
        self.wait_out()
        (identifier,) = self.book()
        return identifier

    def fill_a_part(self, identifier: int = 0) -> Order:
        """Buy 0.3 lots, or close the 0.3 of a position, of which the market has 0.1."""
        self.terminal.broker.supply("EURUSD", 0.1)
        if self._answer == "lost":
            self.terminal.faults.next_send(AnswerLost(executed=True, pipe_breaks=False))
        order = (
            self.pm.close(self.pm.book.holdings[identifier].position.ticket)
            if identifier
            else self.pm.submit("buy", 0.3, magic=MAGIC)
        )
        self.terminal.broker.supply("EURUSD", 0.0)
        return order

    def fill_the_rest(self) -> None:
        """Fill what works, at another price."""
        self.quote(1.1020)
        self.terminal.broker.supply("EURUSD", None)
        self.requote()

    def cancel_the_rest(self) -> None:
        """Cancel what works, by hand."""
        for ticket in list(self.ledger.orders):
            self.person.cancel(ticket)

    def net_lots(self) -> float:
        """The lots that the book has, negative when short."""
        return round(sum(one.position.net_volume for one in self.pm.book.holdings.values()), 8)

    def of_strategy(self) -> float:
        """The lots of the strategy, which are all that there are."""
        rows = strategy_rows(self.pm.book)
        assert {row.magic for row in rows} <= {MAGIC}
        return round(sum(row.net_volume for row in rows), 8)

    def counts_all(self) -> bool:
        """Whether the book has every lot and every cent of the broker's deals."""
        is_same = self.book() == self.rows() and not self.pm.book.unbooked
        return is_same and self.pm.realised == pytest.approx(sum(d.result for d in self.deals()))


@pytest.fixture(params=["record", "no record"])
def record(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OrderWorld, "keeps_record", request.param == "record")


@pytest.mark.usefixtures("record")
@pytest.mark.parametrize("account", ACCOUNTS)
@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("held", [0.0, 0.3])
@pytest.mark.parametrize("end", ["filled", "canceled"])
def test_an_order_has_the_lots_and_the_price_of_its_deals_once_its_rest_is_over(
    account: str, answer: str, held: float, end: str
) -> None:
    world = PartsWorld(account, answer)
    if held:
        world.hold()
        world.quote(1.1010)
    price = 1.1011 if held else 1.1001
    order = world.fill_a_part()
    for _ in range(2):
        world.sync(5)
        # The lots of the part are held; what the order becomes is not known.
        assert world.status(order) == "IN_DOUBT"
        (hold,) = world.reconciler.holds
        assert "0.10 of 0.30 lots are filled, and the broker still works on the rest" in hold.reason
        assert (world.net_lots(), world.of_strategy()) == (held + 0.1, held + 0.1)
        assert world.counts_all()
    with pytest.raises(Refused, match="in doubt"):
        world.pm.submit("buy", 0.1, magic=MAGIC)
    if end == "filled":
        world.fill_the_rest()
        lots, price = 0.3, round((0.1 * price + 0.2 * 1.1021) / 0.3, 8)
    else:
        world.cancel_the_rest()
        lots = 0.1
    world.sync(5)
    known = world.order(order)
    assert (known.status.value, known.filled_volume, known.fill_price) == ("FILLED", lots, price)
    assert world.net_lots() == world.of_strategy() == round(held + lots, 8)
    assert world.counts_all()
    assert not world.reconciler.holds


@pytest.mark.usefixtures("record")
@pytest.mark.parametrize("account", ACCOUNTS)
@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("end", ["filled", "canceled"])
def test_a_close_of_which_a_part_is_filled_is_not_sent_twice(
    account: str, answer: str, end: str
) -> None:
    """On a netting account a second one would open the opposite position."""
    world = PartsWorld(account, answer)
    identifier = world.hold()
    world.quote(1.1010)
    close = world.fill_a_part(identifier)
    world.sync(5)
    assert world.net_lots() == world.of_strategy() == 0.2
    assert world.counts_all()
    with pytest.raises(Refused, match="may have closed it already"):
        world.pm.close(world.pm.book.holdings[identifier].position.ticket)
    assert [one.order_id for one in world.pm.close_all()] == [close.order_id]
    if end == "filled":
        world.fill_the_rest()
    else:
        world.cancel_the_rest()
    world.sync(5)
    lots = 0.3 if end == "filled" else 0.1
    assert (world.status(close), world.order(close).filled_volume) == ("FILLED", lots)
    assert world.net_lots() == round(0.3 - lots, 8)
    assert world.counts_all()
    if end == "canceled":
        # What is left can be closed now.
        world.terminal.broker.supply("EURUSD", None)
        world.pm.close(world.pm.book.holdings[identifier].position.ticket)
        world.wait_out()
    assert world.book() == world.rows() == {}
    assert world.counts_all()


@pytest.mark.usefixtures("record")
@pytest.mark.parametrize("account", ACCOUNTS)
@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("seen", ["part seen", "part unseen"])
@pytest.mark.parametrize("end", ["works", "filled", "canceled"])
def test_a_bot_that_was_away_finds_what_became_of_the_rest(
    account: str, answer: str, seen: str, end: str
) -> None:
    world = PartsWorld(account, answer)
    order = world.fill_a_part()
    if seen == "part seen":
        world.sync(5)
    if end == "filled":
        world.fill_the_rest()
    elif end == "canceled":
        world.cancel_the_rest()
    world.restart()
    world.sync(5)
    assert world.status(order) == ("IN_DOUBT" if end == "works" else "FILLED")
    assert world.net_lots() == world.of_strategy() == (0.3 if end == "filled" else 0.1)
    assert world.counts_all()
    world.cancel_the_rest()
    world.sync(5)
    lots = 0.3 if end == "filled" else 0.1
    assert (world.status(order), world.order(order).filled_volume) == ("FILLED", lots)
    assert world.counts_all()


@pytest.mark.parametrize("account", ACCOUNTS)
@pytest.mark.parametrize("answer", ANSWERS)
def test_a_strategy_cancels_the_rest_itself(account: str, answer: str) -> None:
    world = PartsWorld(account, answer)
    order = world.fill_a_part()
    world.sync(5)
    (ticket,) = world.ledger.orders
    assert f"order {ticket}" in world.reconciler.holds[0].reason
    assert world.pm.cancel(ticket, foreign=True).status.value == "FILLED"
    world.sync(5)
    assert (world.status(order), world.order(order).filled_volume) == ("FILLED", 0.1)
    assert world.counts_all()


@pytest.mark.parametrize("account", ACCOUNTS)
@pytest.mark.parametrize("end", ["filled", "canceled"])
def test_the_position_of_a_part_may_be_closed_before_the_rest_is_over(
    account: str, end: str
) -> None:
    world = PartsWorld(account, "placed")
    order = world.fill_a_part()
    world.sync(5)
    (identifier,) = world.book()
    world.terminal.market.set_liquidity("EURUSD", 0.1)
    world.person.close(world.ledger.positions[identifier].ticket)
    world.sync(5)
    assert (world.status(order), world.book()) == ("IN_DOUBT", {})
    assert world.counts_all()
    if end == "filled":
        world.fill_the_rest()
    else:
        world.cancel_the_rest()
    world.sync(5)
    world.sync(5)
    lots = 0.3 if end == "filled" else 0.1
    assert (world.status(order), world.order(order).filled_volume) == ("FILLED", lots)
    assert world.net_lots() == round(lots - 0.1, 8)
    assert world.counts_all()


@pytest.mark.parametrize("answer", ANSWERS)
def test_a_position_of_parts_is_its_strategy_s_under_a_magic_token(answer: str) -> None:
    world = PartsWorld("hedging", answer, magic_token=True)
    world.fill_a_part()
    world.sync(5)
    assert world.of_strategy() == 0.1
    world.fill_the_rest()
    world.sync(5)
    assert world.of_strategy() == 0.3
