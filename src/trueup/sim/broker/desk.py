"""Execution of orders for one account: orders become deals, deals change positions.

Hedging and netting follow the MT5 reference (position properties, deal entry types) and the
vendor's book. Volumes are whole steps; money is rounded to the account's currency digits deal by
deal. This module does not validate requests; `checks` validates them.
"""

from __future__ import annotations

from itertools import count

from msgspec.structs import replace

from trueup.gateway.terminal import mt5_constants as mt5
from trueup.sim.broker.ledger import Ledger
from trueup.sim.market.clock import ServerClock
from trueup.sim.market.market import Mark, Market, average_units, price_of, price_units
from trueup.sim.market.records import RETCODE_TEXTS, Deal, Order, Outcome, Position
from trueup.sim.market.switches import OnReversal, Switches
from trueup.sim.market.symbols import AccountSetup, Charged, SymbolSetup

_OPENING = {mt5.DEAL_ENTRY_IN, mt5.DEAL_ENTRY_INOUT}
_CLOSING = {mt5.DEAL_ENTRY_OUT, mt5.DEAL_ENTRY_OUT_BY, mt5.DEAL_ENTRY_INOUT}
_CHARGED_ENTRIES = {
    Charged.AT_ENTRY: _OPENING,
    Charged.AT_EXIT: _CLOSING,
    Charged.AT_BOTH: _OPENING | _CLOSING,
}


class Counters:
    """The server's number sequences: one for orders, another for deals.

    A position takes the number of the order that opened it (MT5 reference, position ticket).
    """

    def __init__(self, first_order: int, first_deal: int) -> None:
        self._orders = count(first_order)
        self._deals = count(first_deal)

    def next_order(self) -> int:
        """Return a new order ticket."""
        return next(self._orders)

    def next_deal(self) -> int:
        """Return a new deal ticket."""
        return next(self._deals)


class Desk:
    """Executes the orders of one account and books the deals and positions."""

    def __init__(
        self,
        ledger: Ledger,
        market: Market,
        clock: ServerClock,
        switches: Switches,
        counters: Counters,
    ) -> None:
        self.ledger = ledger
        self.market = market
        self.clock = clock
        self.switches = switches
        self.counters = counters
        self.held_back: set[int] = set()
        """Orders that a dealer holds: no price or liquidity fills them."""
        self.triggered: set[int] = set()
        """Pending orders that were triggered and whose remaining volume waits for liquidity."""
        # The deal of a stop can come later than the trigger, as at real servers.
        self.stops_due: dict[int, int] = {}
        """Execution time (server ms) of each listed order of a stop loss or take profit."""

    @property
    def setup(self) -> AccountSetup:
        """The trading conditions of the account."""
        return self.ledger.setup

    def symbol(self, name: str) -> SymbolSetup:
        """Return the specification of a symbol."""
        return self.market.setup_of(name)

    def mark(self, symbol: str) -> Mark:
        """Return the symbol's price and the value of a price move in the account's currency."""
        return self.market.mark(symbol, self.setup.currency, self.setup.currency_digits)

    def comment(self, requested: str) -> str:
        """Return a request's comment as this broker stores comments."""
        switches = self.switches
        kept = requested if switches.comment_replaced_by is None else switches.comment_replaced_by
        return _cut(switches.comment_prefix + kept, switches.comment_characters_max)

    def answer(
        self,
        symbol: str,
        retcode: int = mt5.TRADE_RETCODE_DONE,
        *,
        order: int = 0,
        deal: int = 0,
        steps: int = 0,
        price: float = 0.0,
    ) -> Outcome:
        """Return the server's answer to an accepted request."""
        mark = self.mark(symbol)
        text = RETCODE_TEXTS[retcode]
        return Outcome(retcode, deal, order, steps, price, mark.bid, mark.ask, text)

    # -- executions ----------------------------------------------------------------------------

    def fill(self, order: Order, steps: int, price: float, *, rest_works: bool = False) -> Deal:
        """Execute `steps` of an order in one deal.

        With `rest_works` the remaining volume keeps working; otherwise the remaining volume is
        cancelled. The order's record is updated in both cases.
        """
        deal = self._execute(order, steps, price)
        rest = order.steps_current - steps
        state = mt5.ORDER_STATE_FILLED
        if rest:
            state = mt5.ORDER_STATE_PARTIAL if rest_works else mt5.ORDER_STATE_CANCELED
        done = replace(
            order, steps_current=rest, position_id=deal.position_id, state=state, price_done=price
        )
        # Only an order with volume left to work stays in the list of working orders.
        if rest and rest_works:
            self.ledger.put_order(done)
        else:
            self.finish(done, state)
        return deal

    def finish(self, order: Order, state: int) -> None:
        """Move an order to the history in its final state."""
        self.held_back.discard(order.ticket)
        self.triggered.discard(order.ticket)
        now = self.clock.server_msc()
        price = order.price_done or self.mark(order.symbol).price(order.is_buy)
        self.ledger.finish_order(replace(order, state=state, time_done_msc=now, price_done=price))

    def _execute(self, order: Order, steps: int, price: float) -> Deal:
        self.market.take_liquidity(order.symbol, steps)
        if not self.setup.is_netting:
            if order.closes:
                return self._reduce(self.ledger.positions[order.closes], order, steps, price)
            # All partial fills of one pending order belong to one position.
            return self._open_or_add(self.ledger.positions.get(order.ticket), order, steps, price)
        held = self.ledger.held.of_symbol(order.symbol)
        position = held[0] if held else None
        if position is None or position.is_buy == order.is_buy:
            return self._open_or_add(position, order, steps, price)
        if steps <= position.steps:
            return self._reduce(position, order, steps, price)
        return self._reverse(position, order, steps, price)

    def _open_or_add(
        self, position: Position | None, order: Order, steps: int, price: float
    ) -> Deal:
        if position is None:
            position = self._new_position(order, order.ticket, steps, price)
        else:
            position = self._added(position, order, steps, price)
        deal = self.book(order, mt5.DEAL_ENTRY_IN, steps, price, position_id=position.identifier)
        self.ledger.put_position(position)
        return deal

    def _new_position(self, order: Order, identifier: int, steps: int, price: float) -> Position:
        digits = self.symbol(order.symbol).digits
        units, now = price_units(price, digits), self.clock.server_msc()
        # Some brokers show every position as opened by hand, without the order's magic number.
        return Position(
            identifier=identifier,
            ticket=order.ticket,
            symbol=order.symbol,
            type=mt5.POSITION_TYPE_BUY if order.is_buy else mt5.POSITION_TYPE_SELL,
            steps=steps,
            price_units=units,
            price_open=price_of(units, digits),
            time_msc=now,
            time_update_msc=now,
            magic=0 if self.switches.positions_show_client else order.magic,
            reason=self._shown_reason(order),
            comment=order.comment,
            sl=order.sl,
            tp=order.tp,
        )

    def _shown_reason(self, order: Order) -> int:
        shows_client = self.switches.positions_show_client
        return mt5.ORDER_REASON_CLIENT if shows_client else order.reason

    def _added(self, position: Position, order: Order, steps: int, price: float) -> Position:
        digits = self.symbol(order.symbol).digits
        units = average_units(
            position.price_units, position.steps, price_units(price, digits), steps
        )
        grown = replace(
            self._relevelled(position, order),
            steps=position.steps + steps,
            price_units=units,
            price_open=self._average_shown(position, units, steps, price),
            time_update_msc=self.clock.server_msc(),
        )
        # On a netting account the position takes the comment of the last order that added to it.
        if not self.setup.is_netting:
            return grown
        magic = order.magic if self.switches.addition_changes_magic else position.magic
        return replace(grown, comment=order.comment, magic=magic)

    def _average_shown(self, position: Position, units: int, steps: int, price: float) -> float:
        """Return the open price after an addition: exchanges do not round, other accounts do."""
        if self.setup.margin_mode != mt5.ACCOUNT_MARGIN_MODE_EXCHANGE:
            return price_of(units, self.symbol(position.symbol).digits)
        worth = position.price_open * position.steps + price * steps
        return worth / (position.steps + steps)

    def _relevelled(self, position: Position, order: Order) -> Position:
        """Return a netting position with the levels of an order that changes the position.

        The levels of a pending order overwrite the levels of the position, and its zeros remove
        them. A market order changes only the levels that the order names.
        """
        if not self.setup.is_netting:
            return position
        if order.is_pending:
            return replace(position, sl=order.sl, tp=order.tp)
        return replace(position, sl=order.sl or position.sl, tp=order.tp or position.tp)

    def _reduce(self, position: Position, order: Order, steps: int, price: float) -> Deal:
        mark = self.mark(position.symbol)
        swap = self.swap_share(position, steps)
        deal = self.book(
            order,
            mt5.DEAL_ENTRY_OUT,
            steps,
            price,
            position_id=position.identifier,
            profit=mark.profit(position.is_buy, position.price_open, price, steps),
            swap=swap,
        )
        rest = self.shrunk(position, steps, swap)
        # A netting position takes levels and comment from each order; a hedging one keeps its own.
        if rest is not None and self.setup.is_netting:
            rest = replace(self._relevelled(rest, order), comment=order.comment)
        self._keep(position, rest)
        return deal

    def _reverse(self, position: Position, order: Order, steps: int, price: float) -> Deal:
        """Reverse a netting position: one deal closes the position and opens the opposite side.

        The new position has the remaining volume. The identifier stays; the ticket becomes the
        ticket of the reversing order.
        """
        deal = self.book(
            order,
            mt5.DEAL_ENTRY_INOUT,
            steps,
            price,
            position_id=position.identifier,
            profit=self.mark(position.symbol).profit(
                position.is_buy, position.price_open, price, position.steps
            ),
            swap=position.swap,
        )
        turned = self._new_position(order, position.identifier, steps - position.steps, price)
        # Servers differ in the fields that survive a reversal, so each field has its own switch.
        switches = self.switches
        if switches.reversal_time is OnReversal.KEPT:
            turned = replace(turned, time_msc=position.time_msc)
        if switches.reversal_price_open is OnReversal.KEPT:
            # Both forms of the price belong together: exact units and the shown double.
            units, shown = position.price_units, position.price_open
            turned = replace(turned, price_units=units, price_open=shown)
        if switches.reversal_magic is OnReversal.KEPT:
            turned = replace(turned, magic=position.magic)
        if switches.reversal_comment is OnReversal.KEPT:
            turned = replace(turned, comment=position.comment)
        self.ledger.put_position(turned)
        return deal

    def shrunk(self, position: Position, steps: int, swap: float) -> Position | None:
        """Return the rest of a position, ticket and open price unchanged; None for no rest."""
        if steps == position.steps:
            return None
        return replace(
            position,
            steps=position.steps - steps,
            swap=round(position.swap - swap, self.setup.currency_digits),
            time_update_msc=self.clock.server_msc(),
        )

    def swap_share(self, position: Position, steps: int) -> float:
        """Return the part of the accrued swap that a close of `steps` books."""
        share = position.swap * steps / position.steps
        return round(share, self.setup.currency_digits)

    def _keep(self, position: Position, rest: Position | None) -> None:
        if rest is None:
            self.ledger.drop_position(position.identifier)
        else:
            self.ledger.put_position(rest)

    # -- close by ------------------------------------------------------------------------------

    def close_by(self, position: Position, other: Position, order: Order) -> Deal:
        """Close two opposite positions against each other; return the first deal.

        The first deal belongs to `position`: the open price of `other` and the whole profit. The
        second deal belongs to `other`: the open price of `position` and no profit.
        """
        steps = min(position.steps, other.steps)
        profit = self.mark(position.symbol).profit(
            position.is_buy, position.price_open, other.price_open, steps
        )
        legs = ((position, other.price_open, profit), (other, position.price_open, 0.0))
        # One order for both deals, as in the terminal's history.
        deals = [self._leg(leg, order, steps, price, gain) for leg, price, gain in legs]
        self.finish(
            replace(
                order,
                steps_current=0,
                position_id=position.identifier,
                price_done=other.price_open,
            ),
            mt5.ORDER_STATE_FILLED,
        )
        return deals[0]

    def _leg(
        self, position: Position, order: Order, steps: int, price: float, profit: float
    ) -> Deal:
        swap = self.swap_share(position, steps)
        deal = self.book(
            replace(order, type=position.closing_type),
            mt5.DEAL_ENTRY_OUT_BY,
            steps,
            price,
            position_id=position.identifier,
            profit=profit,
            swap=swap,
        )
        self._keep(position, self.shrunk(position, steps, swap))
        return deal

    # -- closing by the server -----------------------------------------------------------------

    def server_order(self, position: Position, reason: int, comment: str, price: float) -> Order:
        """Return the order of a stop loss, take profit or stop out; `price` is its shown price."""
        kept = self.switches.stop_close_keeps_magic
        # STARTED until the execution; `list_stop` shows a delayed order as PLACED.
        return Order(
            ticket=self.counters.next_order(),
            symbol=position.symbol,
            type=position.closing_type,
            state=mt5.ORDER_STATE_STARTED,
            steps_initial=position.steps,
            steps_current=position.steps,
            price_open=price,
            time_setup_msc=self.clock.server_msc(),
            magic=position.magic if kept else 0,
            reason=reason,
            comment=comment,
            closes=position.identifier,
        )

    def list_stop(self, order: Order) -> None:
        """List the order of a stop loss or take profit and schedule the execution."""
        self.held_back.add(order.ticket)
        wait_ms = self.switches.stop_order_listed_ms
        self.stops_due[order.ticket] = self.clock.server_msc() + wait_ms
        self.ledger.put_order(replace(order, state=mt5.ORDER_STATE_PLACED))

    # -- deals ---------------------------------------------------------------------------------

    def book(
        self,
        order: Order,
        entry: int,
        steps: int,
        price: float,
        *,
        position_id: int,
        profit: float = 0.0,
        swap: float = 0.0,
        reason: int | None = None,
    ) -> Deal:
        """Book one deal of an order, with commission and fee."""
        setup = self.symbol(order.symbol)
        lots, digits = steps * setup.volume_step, self.setup.currency_digits
        # A re-opening has a separate reason; other deals take the reason of their order.
        # `or 0.0` turns the -0.0 of a symbol without a fee into 0.0.
        deal = Deal(
            ticket=self.counters.next_deal(),
            order=order.ticket,
            time_msc=self.clock.server_msc(),
            type=mt5.DEAL_TYPE_BUY if order.is_buy else mt5.DEAL_TYPE_SELL,
            entry=entry,
            magic=order.magic,
            position_id=position_id,
            reason=order.reason if reason is None else reason,
            symbol=order.symbol,
            steps=steps,
            price=price,
            commission=self._commission(setup, entry, lots),
            swap=swap,
            profit=profit,
            fee=-round(setup.fee_per_lot * lots, digits) or 0.0,
            comment=order.comment,
        )
        self.ledger.put_deal(deal)
        return deal

    def _commission(self, setup: SymbolSetup, entry: int, lots: float) -> float:
        amount = round(setup.commission_per_lot * lots, self.setup.currency_digits)
        if setup.commission_charged is Charged.DAILY:
            self.ledger.block_commission(amount)
            return 0.0
        return -amount if amount and entry in _CHARGED_ENTRIES[setup.commission_charged] else 0.0


def _cut(text: str, units_max: int) -> str:
    """The first units of UTF-16 of a text; the last may be half of a character."""
    units = text.encode("utf-16-le", "surrogatepass")
    return units[: 2 * units_max].decode("utf-16-le", "surrogatepass")
