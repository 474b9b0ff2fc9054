"""One account behind the door: proven readings, and orders that are sent at most once.

A list is handed out only if a believed reading of the same moment shows the same rows. An order
goes through the order desk; its outcome is handed out once, also after a restart.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from typing import Any

from trueup.core.book.events import OrderKind
from trueup.core.book.lifecycle import OrderStatus
from trueup.core.book.order import Order
from trueup.core.doubt.lookalikes import bears_token_of
from trueup.core.model import PendingOrder, Position
from trueup.core.quantity import add_lots
from trueup.core.retcodes import Effect, classify_retcode
from trueup.doors.account import Account
from trueup.doors.mt5 import requests, results
from trueup.doors.mt5.deliveries import Deliveries
from trueup.doors.mt5.entry_gate import EntryGate
from trueup.doors.mt5.readings import Readings, Waits, orders_in, positions_in
from trueup.doors.mt5.requests import CannotSay
from trueup.errors import JournalError, NotSent, OutcomeNotRecorded, Paused, Refused
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.gateway.terminal.terminal import Terminal
from trueup.logs import Logger, about_order, logger
from trueup.sim.market.records import RETCODE_TEXTS
from trueup.sim.market.structs import OrderSendResult, TradeRequest

log: Logger = logger("trueup.mt5")


class Session:
    """The functions of an open account that need more than a call of the terminal.

    Args:
        account: the account's book.
        terminal: the terminal, for lists and single values.
        waits: how long calls wait.
    """

    def __init__(self, account: Account, terminal: Terminal, waits: Waits) -> None:
        self.account, self._terminal, self._waits = account, terminal, waits
        self.readings: Readings = Readings(account, terminal)
        self.deliveries: Deliveries = Deliveries(account)
        self.gate: EntryGate = EntryGate(account, self.readings, self.deliveries, waits)
        self._tap = results.ResultTap(account.gateway)
        account.manager.desk.gateway = self._tap
        self._numbers = itertools.count()
        # Why the latest order was refused or not answered, and how often in a row.
        self._refusals: tuple[str, int] = ("", 0)
        self.refusal: str = ""
        """Why the latest request was refused without a question to the terminal; else empty."""

    @property
    def why(self) -> str:
        """Why the latest call has no proven value."""
        return self.readings.why

    def take_over(self, earlier: Session) -> None:
        """Know what the program was told while another book was open."""
        self.readings.learn_comments(earlier.readings.comments)
        self.gate.told |= earlier.gate.told
        # Doubts of the last run end by this reading, where the broker shows their orders.
        self.readings.look()
        self.deliveries.shown |= earlier.deliveries.shown
        self.deliveries.note_tickets(earlier.deliveries.shown)
        self.deliveries.note_arrival()

    def magic_of(self, request: TradeRequest) -> int | None:
        """Return the magic number of the book that takes a request; None if nothing tells it.

        A request about a position or an order belongs to the book of that position or order; its
        own magic number may be left out, and often is.
        """
        if requests.opens(request):
            return int(request.magic)
        snapshot = self.readings.look()
        rows: tuple[Position | PendingOrder, ...] = (*positions_in(snapshot), *orders_in(snapshot))
        for row in rows:
            if row.ticket in (request.position, request.order):
                return int(row.magic)
        return int(request.magic) or None

    # Orders.

    def send(self, request: TradeRequest) -> OrderSendResult | None:
        """Send a request once and return its result; None while its outcome is in doubt."""
        earlier = self.deliveries.of_request(request)
        if earlier is not None:
            with about_order(earlier.order_id):
                log.info("[MT5] %s was not answered yet: its outcome comes first", earlier.order_id)
            return self._answer(earlier, request)
        if self.account.manager.book.nets:
            # Which side and which ticket the position of the symbol has now, decides what is sent.
            self.readings.until(self.readings.up_to_date, self._waits.read_ms)
        if self._is_entry(request):
            why = self.gate.why_no_entry(request)
            if why:
                return self.refused(request, why)
        key = f"{requests.key_prefix(request)}{self.account.manager.run_id}-{next(self._numbers)}"
        try:
            order = self._sent(request, key)
        except CannotSay as error:
            return self._judged(request, str(error), error.retcode)
        except ValueError as error:
            return self._judged(request, str(error))
        except OutcomeNotRecorded as error:
            # The order was sent: its true result counts, whatever the journal takes.
            order = error.order
            with about_order(order.order_id):
                log.error("[MT5] %s", error)
        except Paused as error:
            return self.refused(request, str(error), error.retcode or mt5.TRADE_RETCODE_REJECT)
        except (Refused, NotSent, JournalError) as error:
            # A refusal may name an order whose outcome came late: that outcome comes first.
            late = self.deliveries.of_request(request)
            if late is None:
                return self.refused(request, str(error))
            return self._answer(late, request)
        finally:
            # Also after Ctrl-C: what was sent and not answered is answered first next time.
            self.readings.forget()
            made = self.account.manager.book.by_key.get(key)
            if made is not None:
                self.deliveries.expect(made)
                self.readings.learn_comment(made)
        return self._answer(order, request)

    def _sent(self, request: TradeRequest, key: str) -> Order:
        """Journal an order, send it once, and return it."""
        manager, held = self.account.manager, self._position_of(request)
        match request.action:
            case mt5.TRADE_ACTION_DEAL if request.position and not self._reverses(request, held):
                held = held or self.readings.position(request.position)
                return self._close(held, request, key)
            case mt5.TRADE_ACTION_DEAL if held is not None and _only_reduces(request, held):
                # On a netting account an opposite order closes the position of its symbol.
                return self._close(held, request, key)
            case mt5.TRADE_ACTION_DEAL | mt5.TRADE_ACTION_PENDING:
                side, wish = requests.side_of(request), requests.entry_wish(request)
                wish["key"] = key
                return manager.submit(side, request.volume, **wish)
            case mt5.TRADE_ACTION_SLTP:
                held = held or self.readings.position(request.position)
                if request.symbol not in ("", held.symbol):
                    raise CannotSay(f"no position {request.position} of {request.symbol} is open")
                return manager.modify(held, request.sl, request.tp, key=key, foreign=True)
            case mt5.TRADE_ACTION_CLOSE_BY:
                by = self.readings.position(request.position_by)
                held = self.readings.position(request.position)
                return manager.close_by(held, by, key=key, foreign=True)
            case mt5.TRADE_ACTION_MODIFY:
                pending = self.readings.pending(request.order)
                changes = requests.order_changes(request)
                return manager.modify_order(pending, key=key, foreign=True, **changes)
            case mt5.TRADE_ACTION_REMOVE:
                pending = self.readings.pending(request.order)
                return manager.cancel(pending, key=key, foreign=True)
            case _:
                raise CannotSay(f"action={request.action} is not known")

    def _close(self, held: Position, request: TradeRequest, key: str) -> Order:
        """Close a position, or a part of it; also a position of another program."""
        if held.side is requests.side_of(request) or held.symbol != request.symbol:
            raise CannotSay(
                f"position {held.ticket} is {held.side.value} {held.symbol}, and the request is "
                f"{requests.side_of(request).value} {request.symbol}"
            )
        if self.readings.look() is None:
            # The position is known from the book. A terminal that cannot send says so before an
            # order is in doubt for that.
            check = self._terminal.order_check(request._asdict())
            if check is not None and check.retcode == mt5.TRADE_RETCODE_CONNECTION:
                raise CannotSay(self.readings.why, check.retcode)
        terms = requests.close_terms(request)
        return self.account.manager.close(
            held, request.volume, key=key, price=request.price, foreign=True, **terms
        )

    def _is_entry(self, request: TradeRequest) -> bool:
        """Return whether a request may open a position, or a larger one."""
        held = self._position_of(request)
        if self._reverses(request, held):
            return True
        # On a netting account an opposite order only closes.
        only_closes = held is not None and _only_reduces(request, held)
        return requests.opens(request) and not only_closes

    def _reverses(self, request: TradeRequest, held: Position | None) -> bool:
        """Return whether a request closes a netting position and opens one on the other side."""
        if held is None or not self.account.manager.book.nets:
            return False
        is_opposite = requests.SIDES.get(request.type) is held.side.opposite
        is_same_symbol = held.symbol == request.symbol
        return is_opposite and is_same_symbol and add_lots(request.volume, -held.volume) > 0

    def _position_of(self, request: TradeRequest) -> Position | None:
        """Return the open position that a request is about, or None.

        A position of the program is also known from its book: a close must not wait for a list, and
        a terminal may list a new position late.
        """
        listed = positions_in(self.readings.look())
        held = (holding.position for holding in self.account.manager.book.holdings.values())
        return self._about(request, listed) or self._about(request, held)

    def _about(self, request: TradeRequest, positions: Iterable[Position]) -> Position | None:
        """Return the first of the positions that the request is about, or None."""
        nets = self.account.manager.book.nets
        for position in positions:
            # Only on a netting account does the symbol name the position.
            if position.ticket == request.position or (
                not request.position and nets and position.symbol == request.symbol
            ):
                return position
        return None

    def _answer(self, order: Order, request: TradeRequest) -> OrderSendResult | None:
        """Return the result of an order; wait for the outcome of an order in doubt."""
        order_id = order.order_id

        def settled() -> OrderSendResult | None:
            found = self.account.orders.get(order_id, order)
            if found.status is OrderStatus.IN_DOUBT:
                seen = self.readings.look()
                found = self.account.orders.get(order_id, order)
                if found.status is OrderStatus.IN_DOUBT:
                    return self._part_so_far(found, orders_in(seen), request)
            return self._result_of(found, request)

        result = self.readings.until(settled, self._waits.resolve_ms)
        if result is None:
            why = self._what_ends_doubt(order_id) or order.error
            self.readings.why = f"{order_id} is in doubt: {why}; do not send another in its place"
            return None
        # Only now: after a Ctrl-C in the calls above the outcome is still to be given.
        self.deliveries.returns(order_id)
        return result

    def _part_so_far(
        self, order: Order, listed: Iterable[PendingOrder], request: TradeRequest
    ) -> OrderSendResult | None:
        """Return the result of an order of which a part is filled while the rest works, or None.

        MetaTrader answers such an order with 10010. For the book it stays in doubt until its rest
        is over.
        """
        own = self._tap.result_of(order.order_id)
        if own is not None and _tells_outcome(own, request):
            return results.own_result(own, request)
        for row in listed:
            if row.volume and order.kind is OrderKind.MARKET and bears_token_of(order, row):
                return results.part_so_far(order, row.ticket, self._terminal, request)
        return None

    def _result_of(self, known: Order, request: TradeRequest) -> OrderSendResult:
        own = self._tap.result_of(known.order_id)
        if own is not None and _tells_outcome(own, request):
            return results.own_result(own, request)
        if known.status is OrderStatus.REJECTED and own is None and not known.doubt_ns:
            # The gateway refused it without asking the server: the terminal says why in its words.
            return self._judged(request, known.error or "refused", mt5.TRADE_RETCODE_REJECT)
        return results.rebuilt(known, self._terminal, request)

    def _what_ends_doubt(self, order_id: str) -> str:
        """Return what the broker shows of an order in doubt, and what would end the doubt."""
        for hold in self.account.holds:
            if order_id in hold.reason:
                return f"{hold.reason}, until {hold.until}"
        return ""

    def refused(
        self, request: TradeRequest, why: str, retcode: int = mt5.TRADE_RETCODE_REJECT
    ) -> OrderSendResult:
        """Return the result of a request that was not sent; equal refusals are counted."""
        self.readings.why = self.refusal = why
        before, count = self._refusals
        if why == before:
            self._refusals = why, count + 1
            return results.refused(request, why, retcode)
        if count > 1:
            log.warning("[MT5] Refused %d times in a row: %s", count, before)
        self._refusals = why, 1
        log.warning("[MT5] Not sent: %s", why)
        return results.refused(request, why, retcode)

    def not_listed(self, request: TradeRequest) -> OrderSendResult:
        """Return the refusal of a request about a position or order that the account lacks."""
        if self.readings.look() is None:
            return self.refused(request, self.why)
        return self._judged(request, "no position or order with this ticket is listed")

    def _judged(
        self, request: TradeRequest, why: str, retcode: int = mt5.TRADE_RETCODE_INVALID
    ) -> OrderSendResult:
        """Return the terminal's own refusal of a request that the order desk cannot send.

        `order_check` does not look at every field; without a word of it `retcode` says what is
        wrong.
        """
        self.readings.why = why
        log.warning("[MT5] Not sent: %s", why)
        check = self._terminal.order_check(request._asdict())
        if check is not None and check.retcode:
            return results.refused(request, check.comment, check.retcode)
        # Only the reason says what ended a request that has nothing wrong.
        text = why if retcode == mt5.TRADE_RETCODE_REJECT else RETCODE_TEXTS[retcode]
        return results.refused(request, text, retcode)


def _only_reduces(request: TradeRequest, held: Position) -> bool:
    """Return whether a request without stops closes a position, or a part of it."""
    is_opposite = requests.SIDES.get(request.type) is held.side.opposite
    is_whole = add_lots(request.volume, -held.volume) <= 0
    return is_opposite and is_whole and not (request.sl or request.tp)


def _tells_outcome(result: Mapping[str, Any], request: TradeRequest) -> bool:
    """Return whether the terminal's own result is the outcome, with its figures."""
    effect = classify_retcode(result["retcode"]).effect
    if effect in (Effect.UNKNOWN, Effect.PLACED):
        return False
    # An early answer may lack the price (MQL5 reference, MqlTradeResult); the deal has it.
    is_deal = request.action == mt5.TRADE_ACTION_DEAL and effect in (Effect.DONE, Effect.DONE_PART)
    return not is_deal or bool(result["price"] and result["volume"])
