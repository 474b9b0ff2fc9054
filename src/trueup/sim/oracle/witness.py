"""Tells an oracle what a broker's books do: a listener that turns records into plain facts."""

from __future__ import annotations

from collections.abc import Callable

from trueup.gateway import mt5_constants as mt5
from trueup.sim.broker import Broker
from trueup.sim.ledger import Ledger
from trueup.sim.oracle import facts
from trueup.sim.oracle.facts import UNITS, Held, Working
from trueup.sim.records import BUYING_TYPES, Channel, Deal, Order, Outcome, Position
from trueup.sim.structs import TradeRequest

Tell = Callable[[facts.Fact], None]
_DONE = frozenset(
    {mt5.TRADE_RETCODE_DONE, mt5.TRADE_RETCODE_DONE_PARTIAL, mt5.TRADE_RETCODE_PLACED}
)
_TYPES = {
    mt5.ORDER_TYPE_BUY_LIMIT: "buy_limit",
    mt5.ORDER_TYPE_SELL_LIMIT: "sell_limit",
    mt5.ORDER_TYPE_BUY_STOP: "buy_stop",
    mt5.ORDER_TYPE_SELL_STOP: "sell_stop",
    mt5.ORDER_TYPE_BUY_STOP_LIMIT: "buy_stop_limit",
    mt5.ORDER_TYPE_SELL_STOP_LIMIT: "sell_stop_limit",
}


def watch(broker: Broker, tell: Tell, now_ns: Callable[[], int]) -> None:
    """Tell everything that happens at a broker from here on, and what is open there already."""
    for desk in broker.desks.values():
        listener = _Listener(desk.ledger, tell, now_ns)
        for identifier, position in desk.ledger.positions.items():
            listener(Channel.POSITION, identifier, position)
        for ticket, order in desk.ledger.orders.items():
            listener(Channel.ORDER, ticket, order)
        for ticket, deal in desk.ledger.deals.items():
            listener(Channel.DEAL, ticket, deal)
        desk.ledger.listeners.append(listener)

    def requested(login: int, request: TradeRequest, outcome: Outcome) -> None:
        tell(
            facts.Requested(
                now_ns(),
                login=login,
                action=request.action,
                symbol=request.symbol,
                buys=request.type in BUYING_TYPES,
                units=round(request.volume * UNITS),
                magic=request.magic,
                comment=request.comment,
                done=outcome.retcode in _DONE,
                retcode=outcome.retcode,
                order=outcome.order,
                position=request.position,
                target=request.order,
            )
        )

    broker.listeners.append(requested)


class _Listener:
    """Turns the changes of one account's books into facts."""

    def __init__(self, ledger: Ledger, tell: Tell, now_ns: Callable[[], int]) -> None:
        self._ledger, self._tell, self._now_ns = ledger, tell, now_ns
        self._login = ledger.setup.login
        self._identifier_of: dict[int, int] = {}

    def __call__(self, channel: Channel, key: int, record: Position | Order | Deal | None) -> None:
        at_ns, login = self._now_ns(), self._login
        match channel, record:
            case Channel.POSITION, Position():
                self._tell(facts.PositionShown(at_ns, login, self._held(record)))
            case Channel.POSITION, None:
                self._tell(facts.PositionLeft(at_ns, login, key))
            case Channel.ORDER, Order():
                if record.is_pending:
                    self._tell(facts.OrderShown(at_ns, login, self._working(record)))
            case Channel.ORDER, None:
                self._tell(facts.OrderLeft(at_ns, login, key))
            case Channel.DEAL, Deal():
                self._identifier_of[key] = record.position_id
                self._tell(self._booked(at_ns, record))
            case Channel.DEAL, None:
                identifier = self._identifier_of.get(key, 0)
                self._tell(facts.DealStruck(at_ns, login, key, identifier))
            case _:
                pass

    def _units(self, symbol: str, steps: int) -> int:
        return round(self._ledger.lots(symbol, steps) * UNITS) if symbol else 0

    def _held(self, position: Position) -> Held:
        return Held(
            identifier=position.identifier,
            ticket=position.ticket,
            symbol=position.symbol,
            side="buy" if position.is_buy else "sell",
            units=self._units(position.symbol, position.steps),
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
            units=self._units(order.symbol, order.steps_current),
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
            units=self._units(deal.symbol, deal.steps),
            price=deal.price,
            entry=deal.entry,
            reason=deal.reason,
            result_units=sum(round(part * UNITS) for part in money),
            magic=deal.magic,
        )
