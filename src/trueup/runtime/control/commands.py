"""Carry out the commands of a second shell in a running bot: status, plan, approve, settle, rebind.

The bot takes commands between two turns of its trading loop, and never waits for a command. A
command that must read the broker (`plan`, `account`) starts an observation on a connection of its
own, and the answer tells the shell to ask again. So the loop continues to trade, and the bot's own
readings are not disturbed. The only exception is a confirmed `rebind`, which reads the broker
inside a turn: a book that is bound to another account trades nothing meanwhile.

A command is a JSON object with `command` and its fields. The answer is a JSON object with `ok` and
either the command's own fields, or `error`, a sentence for the user, or `wait`: the number of the
observation to ask for again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from trueup.core.account.trust import Unknown
from trueup.core.doubt.manual import not_in_doubt
from trueup.core.holds import NEEDS_APPROVAL, Hold, HoldKind
from trueup.core.look.inputs import Statement
from trueup.core.model import Account, describe_at
from trueup.errors import TrueupError
from trueup.observe.plan_text import plan_values, write_plan
from trueup.runtime.control.command_observer import CommandObserver
from trueup.runtime.control.doubts import order_in_doubt, shown
from trueup.runtime.control.status import BotFacts, concerns_a_person, status_of
from trueup.runtime.time.clock import iso
from trueup.runtime.trading.loop import TradingLoop

# To approve one of these removes a position from the book without proof that it is closed.
LETS_GO = frozenset({HoldKind.MISSING, HoldKind.HALT})


class Command(msgspec.Struct):
    """A command with all fields that any command may have.

    `look` is the number of the observation that an earlier answer named. `id` is the hold to
    approve, or the order to resolve, and `who` the user's name. `yes` confirms that the user has
    checked that a missing position is gone. `ticket` is the broker's order that matches an order in
    doubt, `never_executed` says that there is none. `positions` are the positions whose deals are
    compared with the broker's again.
    """

    command: str
    id: str = ""
    look: int = 0
    who: str = "a person"
    yes: bool = False
    ticket: int = 0
    never_executed: bool = False
    login: int = 0
    server: str = ""
    positions: tuple[int, ...] = ()


class BotCommands:
    """Carry out the commands of a second shell.

    Args:
        loop: the bot's trading loop.
        gateway: a gateway object for observations, used by nothing else.
        facts: the constant facts of the bot.
    """

    def __init__(self, loop: TradingLoop, gateway: Any, facts: BotFacts) -> None:
        self._loop, self._facts = loop, facts
        self._observer = CommandObserver(loop, gateway)
        self._yes: dict[str, tuple[int, str]] = {}
        self._commands: dict[str, Callable[[Command], dict[str, Any]]] = {
            "hello": lambda _: msgspec.to_builtins(facts),
            "status": lambda _: {"status": msgspec.to_builtins(status_of(loop, facts))},
            "plan": self._plan,
            "approve": self._approve,
            "doubt": self._doubt,
            "settle": self._settle,
            "order": self._order,
            "account": self._account,
            "rebind": self._rebind,
            "recheck": self._recheck,
        }

    def handle(self, raw: bytes) -> bytes:
        """Return the answer to a command; any bytes get an answer."""
        try:
            command = msgspec.json.decode(raw, type=Command)
            carry_out = self._commands.get(command.command)
            if carry_out is None:
                raise TrueupError(f"There is no command {command.command!r}.")
            return msgspec.json.encode({"ok": True, **carry_out(command)})
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            because = f"The command cannot be read: {error}."
        except TrueupError as error:
            because = str(error)
        return msgspec.json.encode({"ok": False, "error": because})

    def turn(self) -> None:
        """Continue the observations and approvals under way; never waits."""
        self._observer.turn()
        self._pass_on()

    def _plan(self, command: Command) -> dict[str, Any]:
        # Not the bot's last reading: the user asks about the broker as it is now.
        observation = self._observer.observation(command.look)
        if isinstance(observation, int):
            return {"wait": observation}
        if isinstance(observation.verdict, Unknown):
            unknown = {"reason": observation.verdict.sentence, "until": observation.verdict.until}
            return {"unknown": unknown, "at": iso(observation.asked.at.date_ns)}
        digits = self._loop.pm.currency_digits
        return {
            "at": iso(observation.asked.at.date_ns),
            "text": write_plan(observation.plan, digits),
            "changes": len(observation.plan.events),
            "waiting": [h.id for h in self._observer.holds if h.kind in NEEDS_APPROVAL],
            "needs_person": any(map(concerns_a_person, observation.plan.holds)),
            "plan": plan_values(observation.plan, digits),
        }

    def _approve(self, command: Command) -> dict[str, Any]:
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
