"""Trades on the account from outside the program under test: by a person or another program.

Orders of a person have magic 0 and the reason CLIENT, MOBILE or WEB. Orders of another program have
its magic and the reason EXPERT (MT5 reference, order and deal reasons). Both send orders directly
to the server, so the terminal under test learns of the orders as of any other change. Volumes are
lots.
"""

from __future__ import annotations

from typing import Any

from trueup.gateway.terminal import mt5_constants as mt5
from trueup.sim.broker.broker import Broker
from trueup.sim.broker.ledger import Ledger
from trueup.sim.market.records import Outcome, Refusal
from trueup.sim.market.structs import TradeRequest

BUY = mt5.ORDER_TYPE_BUY
SELL = mt5.ORDER_TYPE_SELL

_DONE = frozenset(
    {mt5.TRADE_RETCODE_DONE, mt5.TRADE_RETCODE_DONE_PARTIAL, mt5.TRADE_RETCODE_PLACED}
)
_DEFAULTS: dict[str, Any] = {
    name: {"int": 0, "float": 0.0, "str": ""}[kind]
    for name, kind in TradeRequest.__annotations__.items()
}


def make_request(**fields: Any) -> TradeRequest:
    """Return a trade request with these fields; all other fields are 0 or empty."""
    unknown = fields.keys() - _DEFAULTS.keys()
    if unknown:
        raise TypeError(f"no such request field: {', '.join(sorted(unknown))}")
    return tuple.__new__(TradeRequest, (_DEFAULTS | fields).values())


class Person:
    """A person or program that trades the account outside the program under test.

    Each method returns a ticket, or raises `Refusal` with the server's return code.
    """

    def __init__(
        self,
        broker: Broker,
        login: int,
        reason: int = mt5.ORDER_REASON_CLIENT,
        magic: int = 0,
    ) -> None:
        self.broker = broker
        self.login = login
        self.reason = reason
        self.magic = magic

    @property
    def _ledger(self) -> Ledger:
        return self.broker.ledger(self.login)

    def request(self, **fields: Any) -> Outcome:
        """Send a trade request; the default of `magic` is the magic number of this person."""
        self.broker.settle()
        outcome = self.broker.execute(
            self.login, make_request(**({"magic": self.magic} | fields)), self.reason
        )
        if outcome.retcode not in _DONE:
            raise Refusal(outcome.retcode, outcome.comment)
        return outcome

    def open(
        self,
        symbol: str,
        side: int,
        volume: float,
        *,
        sl: float = 0.0,
        tp: float = 0.0,
        comment: str = "",
    ) -> int:
        """Trade at the market; return the order ticket (hedging: the position's ticket)."""
        return self._at_market(symbol, side, volume, sl=sl, tp=tp, comment=comment)

    def _at_market(self, symbol: str, side: int, volume: float, **fields: Any) -> int:
        setup = self.broker.market.setups[symbol]
        quote = self.broker.market.quotes[symbol]
        exchange = setup.execution == mt5.SYMBOL_TRADE_EXECUTION_EXCHANGE
        # Take a filling mode that the symbol allows, or the server refuses the order.
        filling = mt5.ORDER_FILLING_RETURN if exchange else mt5.ORDER_FILLING_IOC
        if not exchange and not setup.filling_mode & mt5.SYMBOL_FILLING_IOC:
            filling = mt5.ORDER_FILLING_FOK
        return self.request(
            action=mt5.TRADE_ACTION_DEAL,
            symbol=symbol,
            type=side,
            volume=volume,
            type_filling=filling,
            price=quote.ask if side == BUY else quote.bid,
            **fields,
        ).order

    def open_many(self, symbol: str, side: int, volume: float, count: int) -> list[int]:
        """Open `count` positions (hedging), in the order of the tickets returned."""
        return [self.open(symbol, side, volume) for _ in range(count)]

    def close(self, ticket: int, volume: float | None = None) -> int:
        """Close a position, or `volume` lots of a position; return the closing order's ticket."""
        position = self._ledger.position_by_ticket(ticket)
        if position is None:
            raise Refusal(mt5.TRADE_RETCODE_POSITION_CLOSED)
        lots = self._ledger.lots(position.symbol, position.steps) if volume is None else volume
        return self._at_market(position.symbol, position.closing_type, lots, position=ticket)

    def close_all(self) -> list[int]:
        """Close all positions; return the tickets of the closing orders."""
        return [self.close(each.ticket) for each in list(self._ledger.positions.values())]

    def modify(self, ticket: int, *, sl: float | None = None, tp: float | None = None) -> None:
        """Change stop loss or take profit; 0.0 removes a level, None keeps a level."""
        position = self._ledger.position_by_ticket(ticket)
        if position is None:
            raise Refusal(mt5.TRADE_RETCODE_POSITION_CLOSED)
        self.request(
            action=mt5.TRADE_ACTION_SLTP,
            symbol=position.symbol,
            position=ticket,
            sl=position.sl if sl is None else sl,
            tp=position.tp if tp is None else tp,
        )

    def place(
        self,
        symbol: str,
        kind: int,
        volume: float,
        price: float,
        *,
        stoplimit: float = 0.0,
        sl: float = 0.0,
        tp: float = 0.0,
        expiration: int = 0,
        comment: str = "",
    ) -> int:
        """Place a pending order, `expiration` in server seconds, 0 for none; return the ticket."""
        lifetime = mt5.ORDER_TIME_SPECIFIED if expiration else mt5.ORDER_TIME_GTC
        # RETURN is the only filling mode that every symbol accepts for a pending order.
        return self.request(
            action=mt5.TRADE_ACTION_PENDING,
            symbol=symbol,
            type=kind,
            volume=volume,
            price=price,
            stoplimit=stoplimit,
            sl=sl,
            tp=tp,
            type_filling=mt5.ORDER_FILLING_RETURN,
            type_time=lifetime,
            expiration=expiration,
            comment=comment,
        ).order

    def change(self, order: int, **fields: Any) -> None:
        """Modify a pending order: price, stoplimit, sl, tp, type_time, expiration."""
        working = self._ledger.orders.get(order)
        if working is None:
            raise Refusal(mt5.TRADE_RETCODE_ORDER_CHANGED)
        kept = {
            "symbol": working.symbol,
            "price": working.price_open,
            "stoplimit": working.price_stoplimit,
            "sl": working.sl,
            "tp": working.tp,
            "type_time": working.type_time,
            "expiration": working.time_expiration,
        }
        self.request(action=mt5.TRADE_ACTION_MODIFY, order=order, **(kept | fields))

    def cancel(self, order: int) -> None:
        """Cancel a working order."""
        self.request(action=mt5.TRADE_ACTION_REMOVE, order=order)

    def close_by(self, ticket: int, other: int) -> int:
        """Close two opposite positions against each other; return the order's ticket."""
        return self.request(
            action=mt5.TRADE_ACTION_CLOSE_BY, position=ticket, position_by=other
        ).order

    def lots_of(self, ticket: int) -> float:
        """Return the volume of an open position, lots; 0.0 for a closed position."""
        position = self._ledger.position_by_ticket(ticket)
        return 0.0 if position is None else self._ledger.lots(position.symbol, position.steps)
