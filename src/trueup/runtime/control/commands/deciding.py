"""The commands by which a person decides what the bot must not: approve, settle, rebind."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from trueup.core.doubt.manual import not_in_doubt
from trueup.core.holds import Hold, HoldKind
from trueup.core.look.inputs import Statement
from trueup.core.model import Account, describe_at
from trueup.errors import TrueupError
from trueup.runtime.control.commands.command import Command, Commands
from trueup.runtime.control.commands.command_observer import CommandObserver
from trueup.runtime.control.commands.doubts import order_in_doubt, shown
from trueup.runtime.control.commands.wishing import WishCommands
from trueup.runtime.trading.loop import TradingLoop

# To approve one of these removes a position from the book without proof that it is closed.
LETS_GO = frozenset({HoldKind.MISSING, HoldKind.HALT})


class DecidingCommands:
    """Carry out a person's decisions.

    Args:
        loop: the bot's trading loop.
        observer: observes the broker for commands.
        wishes: has the proposals of assistants.
    """

    def __init__(self, loop: TradingLoop, observer: CommandObserver, wishes: WishCommands) -> None:
        self._loop, self._observer, self._wishes = loop, observer, wishes
        self._yes: dict[str, tuple[int, str]] = {}
        self.commands: Commands = {
            "approve": self._approve,
            "doubt": self._doubt,
            "settle": self._settle,
            "order": self._order,
            "account": self._account,
            "rebind": self._rebind,
            "recheck": self._recheck,
        }

    def turn(self) -> None:
        """Continue the approvals under way; never waits."""
        self._pass_on()

    def _approve(self, command: Command) -> dict[str, Any]:
        if self._wishes.knows(command.id):
            return self._wishes.approve(command)
        reconciler = self._loop.reconciler
        # A hold may come from a plan that only the user has asked for, or from the bot's own sync.
        waiting = {h.id: h for h in (*self._observer.holds, *reconciler.holds) if h.id}
        hold = waiting.get(command.id)
        if hold is None:
            raise TrueupError(_nothing_waits(command.id, waiting.values()))
        if hold.kind in LETS_GO and not command.yes:
            raise TrueupError(
                f"Nothing was changed: an approval of {hold.id} removes a position from the book "
                "without proof. Confirm that you have seen that the position is gone (`--yes`)."
            )
        # The bot itself may not have seen the difference yet: the approval waits until it has.
        self._yes[hold.id] = (reconciler.sync_count, command.who)
        self._pass_on()
        holding = self._loop.pm.book.holdings.get(hold.identifier)
        return {
            "id": hold.id,
            "kind": hold.kind.name.lower(),
            "ticket": hold.identifier if holding is None else holding.position.ticket,
            "identifier": hold.identifier,
            "reason": hold.reason,
            "sync_count": reconciler.sync_count,
            "within_sec": self._loop.reconciler.sync_interval,
        }

    def _pass_on(self) -> None:
        reconciler = self._loop.reconciler
        for hold_id, (sync_count, who) in list(self._yes.items()):
            # After two readings without the difference the approval is void.
            if reconciler.approve(hold_id, who) or reconciler.sync_count > sync_count + 1:
                del self._yes[hold_id]

    def _doubt(self, command: Command) -> dict[str, Any]:
        order = order_in_doubt(self._loop, command.id)
        observation = self._observer.observation(command.look)
        if isinstance(observation, int):
            return {"wait": observation}
        statement = None
        if command.ticket or command.never_executed:
            statement = Statement(command.who, self._loop.pm.clock.now_ns(), command.ticket)
        return shown(self._loop, observation, order, statement)

    def _settle(self, command: Command) -> dict[str, Any]:
        if bool(command.ticket) is command.never_executed:
            raise TrueupError("Say which: the ticket that it is, or that it was never executed.")
        answer = self._doubt(command)
        if "wait" not in answer:
            self._loop.reconciler.settle(command.id, command.ticket, command.who)
            answer["within_sec"] = self._loop.reconciler.sync_interval
        return answer

    def _order(self, command: Command) -> dict[str, Any]:
        order = self._loop.pm.book.orders.get(command.id)
        if order is None:
            raise TrueupError(not_in_doubt(command.id, self._loop.pm.book))
        return {
            "id": order.order_id,
            "status": order.status.value,
            "ticket": order.ticket,
            "volume": order.filled_volume,
            "price": order.fill_price,
            "error": order.error or "",
            "is_told": command.id in self._loop.reconciler.statements,
        }

    def _account(self, command: Command) -> dict[str, Any]:
        observation = self._observer.observation(command.look)
        if isinstance(observation, int):
            return {"wait": observation}
        account = self._seen_account()
        # Everything that would leave the book, so that the user decides with the full list.
        book = self._loop.pm.book
        return {
            "bound": book.bound.name if book.bound else None,
            "terminal": account.name,
            "login": account.login,
            "server": account.server,
            "balance": account.balance,
            "currency": account.currency,
            "currency_digits": account.currency_digits,
            "leaves": [
                *(f"{h.position.ticket} {describe_at(h.position)}" for h in book.holdings.values()),
                *(f"pending order {ticket}" for ticket in book.pending),
                *(f"order in doubt {order_id}" for order_id in book.in_doubt),
            ],
        }

    def _rebind(self, command: Command) -> dict[str, Any]:
        account = self._seen_account()
        # The user confirmed this account: a terminal that has changed since must not be bound.
        if (account.login, account.server) != (command.login, command.server):
            raise TrueupError(
                f"The terminal is logged in to {account.name} by now: nothing was changed."
            )
        result = self._loop.reconciler.bind_to_terminal_account()
        self._loop.last_result = result
        bound = self._loop.pm.book.bound
        return {
            "bound": bound.name if bound else None,
            "status": result.status.value,
            "health": self._loop.reconciler.health,
        }

    def _recheck(self, command: Command) -> dict[str, Any]:
        self._loop.reconciler.recheck_deals(command.positions)
        return {"within_sec": self._loop.reconciler.sync_interval}

    def _seen_account(self) -> Account:
        account = self._observer.account
        if account is None:
            raise TrueupError(
                "The terminal's account cannot be seen: the gateway does not answer, or does not "
                "tell it."
            )
        return account


def _nothing_waits(hold_id: str, waiting: Iterable[Hold]) -> str:
    known = "; ".join(f"{hold.id} ({hold.reason})" for hold in waiting)
    if not known:
        return f"Nothing waits for approval, so there is no {hold_id!r} to approve."
    return f"Nothing waits under the id {hold_id!r}. What waits: {known}."
