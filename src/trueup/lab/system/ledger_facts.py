"""Turns the changes of the trade server's ledger into facts."""

from __future__ import annotations

from trueup.gateway.terminal import mt5_constants as mt5
from trueup.lab.facts import facts
from trueup.lab.facts.facts import UNITS, Held, Working
from trueup.sim.broker.ledger import Ledger
from trueup.sim.market.records import Channel, Deal, Order, Position

_TYPES = {
    mt5.ORDER_TYPE_BUY_LIMIT: "buy_limit",
    mt5.ORDER_TYPE_SELL_LIMIT: "sell_limit",
    mt5.ORDER_TYPE_BUY_STOP: "buy_stop",
    mt5.ORDER_TYPE_SELL_STOP: "sell_stop",
    mt5.ORDER_TYPE_BUY_STOP_LIMIT: "buy_stop_limit",
    mt5.ORDER_TYPE_SELL_STOP_LIMIT: "sell_stop_limit",
}

_TRADES = frozenset({mt5.DEAL_TYPE_BUY, mt5.DEAL_TYPE_SELL})


class LedgerFacts:
    """Turns the changes of an account's books into facts."""

    def __init__(self, ledger: Ledger) -> None:
        self.happened: list[facts.Fact] = []
        """The changes since the last fact, without a time."""
        self._ledger, self._login = ledger, ledger.setup.login
        self._booked_as: dict[int, facts.DealBooked] = {}
        for identifier, position in ledger.positions.items():
            self(Channel.POSITION, identifier, position)
        for ticket, order in ledger.orders.items():
            self(Channel.ORDER, ticket, order)
        for ticket, deal in ledger.deals.items():
            self(Channel.DEAL, ticket, deal)
        ledger.listeners.append(self)

    def __call__(self, channel: Channel, key: int, record: Position | Order | Deal | None) -> None:
        # Orders count while they are pending, market orders while their rest works; the history of
        # orders says nothing new to judges.
        at_ns, login, tell = 0, self._login, self.happened.append
        match channel, record:
            case Channel.POSITION, Position():
                tell(facts.PositionShown(at_ns, login, self._held(record)))
            case Channel.POSITION, None:
                tell(facts.PositionLeft(at_ns, login, key))
            case Channel.ORDER, Order():
                if record.is_pending:
                    tell(facts.OrderShown(at_ns, login, self._working(record)))
                elif record.state == mt5.ORDER_STATE_PARTIAL:
                    left = self.units(record.symbol, record.steps_current)
                    tell(facts.RestWorks(at_ns, login, key, left))
            case Channel.ORDER, None:
                tell(facts.OrderLeft(at_ns, login, key))
            case Channel.DEAL, Deal():
                booked = self._booked_as[key] = self._booked(at_ns, record)
                tell(booked)
            case Channel.DEAL, None:
                was = self._booked_as[key]
                tell(facts.DealStruck(at_ns, login, key, was.identifier, was.result_units))
            case _:
                pass

    def units(self, symbol: str, steps: int) -> int:
        """Return volume steps of a symbol as units of 1e-8 lots."""
        return round(self._ledger.lots(symbol, steps) * UNITS) if symbol else 0

    def _held(self, position: Position) -> Held:
        return Held(
            identifier=position.identifier,
            ticket=position.ticket,
            symbol=position.symbol,
            side="buy" if position.is_buy else "sell",
            units=self.units(position.symbol, position.steps),
            price_open=position.price_open,
            sl=position.sl,
            tp=position.tp,
            magic=position.magic,
        )

    def _working(self, order: Order) -> Working:
        return Working(
            ticket=order.ticket,
            symbol=order.symbol,
            type=_TYPES[order.type],
            units=self.units(order.symbol, order.steps_current),
            price_open=order.price_open,
            price_stoplimit=order.price_stoplimit,
            sl=order.sl,
            tp=order.tp,
            magic=order.magic,
        )

    def _booked(self, at_ns: int, deal: Deal) -> facts.DealBooked:
        money = (deal.profit, deal.swap, deal.commission, deal.fee)
        return facts.DealBooked(
            at_ns,
            login=self._login,
            ticket=deal.ticket,
            order=deal.order,
            identifier=deal.position_id,
            symbol=deal.symbol,
            buys=deal.type == mt5.DEAL_TYPE_BUY,
            # A deal that was cancelled moves no lots any more.
            units=self.units(deal.symbol, deal.steps) if deal.type in _TRADES else 0,
            price=deal.price,
            entry=deal.entry,
            reason=deal.reason,
            result_units=sum(round(part * UNITS) for part in money),
            magic=deal.magic,
            time_msc=deal.time_msc,
        )
