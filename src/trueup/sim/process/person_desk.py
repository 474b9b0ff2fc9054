"""Handlers of manual trading commands, which `trueup trade` sends to the terminal process.

A command is a JSON object with `command` and its fields. The answer is a JSON object with `ok` and
either `text`, a sentence for the person, or `error`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import msgspec

from trueup.core.quantity import format_lots, format_price
from trueup.core.retcodes import classify_retcode
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.sim.market.records import Position, Refusal
from trueup.sim.process.fault_desk import FaultDesk, TerminalFault
from trueup.sim.terminal.terminal import SimulatedTerminal

_SIDES = {"buy": mt5.ORDER_TYPE_BUY, "sell": mt5.ORDER_TYPE_SELL}


class Command(msgspec.Struct):
    """A manual command. Volumes are lots; None is a value that the person did not give.

    `fault` is the name of a `TerminalFault`.
    """

    command: str
    ticket: int = 0
    symbol: str = ""
    side: str = "buy"
    volume: float | None = None
    sl: float | None = None
    tp: float | None = None
    fault: str = ""


class _Refused(Exception):
    """The command cannot be executed; the message is for the person."""


class PersonDesk:
    """Executes manual commands at a terminal.

    Args:
        terminal: the terminal for the orders, independent of every bot.
        symbol: the symbol for a command without a symbol.
        facts: returns the fields of the answer to `hello`, in addition to `ok`.
        stop: called by the command `stop`.
        faults: puts faults on the terminals that bots reach; by default on `terminal` alone.
    """

    def __init__(
        self,
        terminal: SimulatedTerminal,
        symbol: str,
        facts: Callable[[], dict[str, Any]],
        stop: Callable[[], None],
        faults: FaultDesk | None = None,
    ) -> None:
        self._terminal, self._symbol = terminal, symbol
        self._faults = faults or FaultDesk((terminal,), pace=1.0)
        self._facts, self._stop = facts, stop
        # A command without a handler here is answered with an error.
        self._commands: dict[str, Callable[[Command], dict[str, Any]]] = {
            "hello": lambda _: self._facts(),
            "list": lambda _: self._list(),
            "open": self._open,
            "close": self._close,
            "close_all": lambda _: self._close_all(),
            "partial": self._partial,
            "modify": self._modify,
            "fault": self._fault,
            "stop": lambda _: self._end(),
        }

    def handle(self, raw: bytes) -> bytes:
        """Return the answer to a command; unreadable bytes are answered with an error."""
        try:
            command = msgspec.json.decode(raw, type=Command)
            carry_out = self._commands.get(command.command)
            if carry_out is None:
                raise _Refused(f"There is no command {command.command!r}.")
            return msgspec.json.encode({"ok": True, **carry_out(command)})
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            because = f"The command cannot be read: {error}."
        except _Refused as refused:
            because = str(refused)
        except Refusal as refusal:
            because = self._said_refusal(refusal)
        return msgspec.json.encode({"ok": False, "error": because})

    def _said_refusal(self, refusal: Refusal) -> str:
        code = classify_retcode(refusal.retcode)
        said = f"The broker refused: {code.words} ({refusal.retcode} {code.name})"
        if refusal.retcode == mt5.TRADE_RETCODE_INVALID_VOLUME:
            setup = self._terminal.market.setups[self._symbol]
            least, most = format_lots(setup.volume_min), format_lots(setup.volume_max)
            step = format_lots(setup.volume_step)
            said += f"; {self._symbol} takes {least} to {most} lots in steps of {step}"
        return f"{said}."

    def _fault(self, command: Command) -> dict[str, Any]:
        try:
            fault = TerminalFault(command.fault)
        except ValueError:
            known = ", ".join(TerminalFault)
            raise _Refused(f"There is no fault {command.fault!r}: give one of {known}.") from None
        return {"text": self._faults.put(fault)}

    def _list(self) -> dict[str, Any]:
        self._terminal.settle()
        figures = self._terminal.ledger.figures()
        return {
            "positions": [self._row(one) for one in self._positions()],
            "balance": figures.balance,
            "equity": figures.equity,
            "currency": self._terminal.ledger.setup.currency,
            "currency_digits": self._terminal.ledger.setup.currency_digits,
        }

    def _row(self, position: Position) -> dict[str, Any]:
        account = self._terminal.ledger.setup
        mark = self._terminal.market.mark(
            position.symbol, account.currency, account.currency_digits
        )
        # The current price of a position is the price of its close.
        price = mark.price(not position.is_buy)
        return {
            "ticket": position.ticket,
            "symbol": position.symbol,
            "side": "LONG" if position.is_buy else "SHORT",
            "volume": self._lots(position),
            "price_open": position.price_open,
            "price_current": price,
            "sl": position.sl,
            "tp": position.tp,
            "profit": mark.profit(position.is_buy, position.price_open, price, position.steps),
        }

    def _open(self, command: Command) -> dict[str, Any]:
        side, symbol = _SIDES.get(command.side.lower()), command.symbol or self._symbol
        if side is None:
            raise _Refused(f"The side is {command.side!r}: give buy or sell.")
        if symbol not in self._terminal.market.setups:
            known = ", ".join(self._terminal.market.setups)
            raise _Refused(f"There is no symbol {symbol!r} here: give one of {known}.")
        volume = _volume(0.01 if command.volume is None else command.volume)
        ticket = self._terminal.person.open(
            symbol, side, volume, sl=_level(command.sl), tp=_level(command.tp)
        )
        position = self._terminal.ledger.position_by_ticket(ticket)
        done = f"Order {ticket} was executed" if position is None else self._said(position)
        return {"text": f"{done}.", "ticket": ticket}

    def _close(self, command: Command) -> dict[str, Any]:
        position = self._position(command.ticket)
        self._terminal.person.close(position.ticket)
        return {"text": f"Closed ticket {position.ticket}, {self._size(position)}."}

    def _close_all(self) -> dict[str, Any]:
        self._terminal.settle()
        positions = self._positions()
        if not positions:
            return {"text": "Closed 0 positions: none is open."}
        refused = []
        for position in positions:
            # A refused close must not stop the closes of the other positions.
            try:
                self._terminal.person.close(position.ticket)
            except Refusal as refusal:
                because = self._said_refusal(refusal)
                refused.append(f"Ticket {position.ticket} was not closed. {because}")
        count, closed = len(positions), len(positions) - len(refused)
        if refused:
            raise _Refused(f"Closed {closed} of {count} positions. {' '.join(refused)}")
        return {"text": f"Closed {closed} position{'s' * (closed != 1)}."}

    def _partial(self, command: Command) -> dict[str, Any]:
        position = self._position(command.ticket)
        held = self._lots(position)
        volume = _volume(held / 2 if command.volume is None else command.volume)
        if volume >= held:
            raise _Refused(
                f"Ticket {position.ticket} has {format_lots(held)} lots: give less than that, or "
                "close it."
            )
        self._terminal.person.close(position.ticket, volume)
        left = format_lots(self._terminal.person.lots_of(position.ticket))
        text = f"Closed {format_lots(volume)} lots of ticket {position.ticket}; {left} are left."
        return {"text": text}

    def _modify(self, command: Command) -> dict[str, Any]:
        position = self._position(command.ticket)
        if command.sl is None and command.tp is None:
            raise _Refused("Nothing to modify: give a stop loss, a take profit, or both.")
        sl = None if command.sl is None else _level(command.sl)
        tp = None if command.tp is None else _level(command.tp)
        self._terminal.person.modify(position.ticket, sl=sl, tp=tp)
        changed = self._position(command.ticket)
        levels = f"stop loss {_said_level(changed.sl)}, take profit {_said_level(changed.tp)}"
        return {"text": f"Ticket {position.ticket} has {levels}."}

    def _end(self) -> dict[str, Any]:
        left = len(self._positions())
        self._stop()
        return {"positions": left}

    def _position(self, ticket: int) -> Position:
        position = self._terminal.ledger.position_by_ticket(ticket)
        if position is not None:
            return position
        tickets = ", ".join(str(one.ticket) for one in self._positions())
        open_now = f"open are {tickets}" if tickets else "nothing is open"
        raise _Refused(f"There is no open position with ticket {ticket}: {open_now}.")

    def _positions(self) -> list[Position]:
        return list(self._terminal.ledger.positions.values())

    def _lots(self, position: Position) -> float:
        return self._terminal.ledger.lots(position.symbol, position.steps)

    def _size(self, position: Position) -> str:
        side = "LONG" if position.is_buy else "SHORT"
        return f"{side} {format_lots(self._lots(position))}L {position.symbol}"

    def _said(self, position: Position) -> str:
        price = format_price(position.price_open)
        return f"Opened ticket {position.ticket}, {self._size(position)} @ {price}"


def _volume(volume: float) -> float:
    if not 0 < volume < math.inf:
        raise _Refused(f"The volume is {volume}: give lots above 0.")
    return volume


def _level(level: float | None) -> float:
    if level is None:
        return 0.0
    if not 0 <= level < math.inf:
        raise _Refused(f"The level is {level}: give a price, or 0 for none.")
    return level


def _said_level(level: float) -> str:
    return format_price(level) if level else "none"
