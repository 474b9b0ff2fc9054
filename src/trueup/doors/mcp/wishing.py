"""The tools that ask for orders: propose, withdraw, submit.

Each gives the running bot one command, and asks the bot until it tells what became of the command.
A command whose answer is lost is given again: its key names one order of the book, so nothing is
sent twice. An answer is never an error of the protocol: a wish was carried out, was refused and had
no effect, or is in doubt.
"""

from __future__ import annotations

from typing import Any

import msgspec

from trueup.core.book.wishes import OrderWish, WishAction
from trueup.doors.mcp.link import Link
from trueup.doors.mcp.results import Order, Proposed, Withdrawn
from trueup.errors import JournalError, NotSent, OutcomeUnknown, Refused, TrueupError
from trueup.processes import is_alive
from trueup.runtime.assistants.asking import check_key, check_wish
from trueup.runtime.assistants.outcomes import AGAIN, WishOutcome, WishState, outcome_of
from trueup.runtime.control.bots import Bot

# Clients give up on a tool after a minute or so: an answer in doubt is better than none.
WAIT_SEC = 25.0
NOTHING = "Nothing was sent"


class Wishing:
    """The tools that ask for orders.

    Args:
        link: the bot and the journal.
    """

    def __init__(self, link: Link) -> None:
        self._link = link
        # The keys whose outcome this process was not told.
        self._open: set[str] = set()

    def submit(self, order: Order, who: str) -> WishOutcome:
        """Have the bot send an order now, and return what became of it."""
        return self._wished("submit", order, who, {})

    def propose(self, order: Proposed, who: str) -> WishOutcome:
        """Record a proposal that waits for a person."""
        return self._wished("propose", order, who, {"lifetime_sec": order.minutes * 60})

    def withdraw(self, wanted: Withdrawn, who: str) -> WishOutcome:
        """Withdraw a proposal of this assistant."""
        try:
            answer = self._link.read(
                self._link.bot(), "reject", id=wanted.proposal_id, who=who, why=wanted.why
            )
        except TrueupError as error:
            return WishOutcome(
                key="",
                state=WishState.REFUSED,
                proposal_id=wanted.proposal_id,
                reason=f"Nothing was withdrawn: {error}",
            )
        return msgspec.convert(answer["outcome"], WishOutcome)

    def _wished(self, command: str, order: Order, who: str, more: dict[str, int]) -> WishOutcome:
        try:
            check_key(order.key)
            wish = wish_of(order)
            check_wish(wish)
        except ValueError as error:
            return _refused(order.key, f"{NOTHING}: {error}")
        try:
            bot = self._link.bot()
        except TrueupError as error:
            return self._without_bot(order.key, str(error))
        fields: dict[str, Any] = {
            "key": order.key,
            "wish": msgspec.to_builtins(wish),
            "who": who,
            "why": order.why,
            "at_ns": self._link.clock.now_ns(),
            **more,
        }
        self._open.add(order.key)
        outcome = self._carried_out(bot, command, fields)
        if outcome.state not in (WishState.IN_DOUBT, WishState.WAITING):
            self._open.discard(order.key)
        return outcome

    def _carried_out(self, bot: Bot, command: str, fields: dict[str, Any]) -> WishOutcome:
        key, is_given = fields["key"], False
        for _ in self._link.until(WAIT_SEC):
            try:
                if is_given:
                    answer = self._link.ask(bot, "outcome", id=key)
                else:
                    answer = self._link.ask(bot, command, **fields)
            except Refused as error:
                return _refused(key, f"{NOTHING}: {error}")
            except (NotSent, OutcomeUnknown):
                if not is_alive(bot.pid):
                    return self._after_end(bot, key)
                continue
            is_given = True
            outcome = msgspec.convert(answer["outcome"], WishOutcome)
            if outcome.state is not WishState.WAITING:
                return outcome
        return _in_doubt(
            key,
            f"The bot, process {bot.pid}, has not answered for {WAIT_SEC:.0f} s.",
            "the bot is busy, or hangs: the order may be recorded and sent",
            f"when the bot answers again: {AGAIN}",
        )

    def _without_bot(self, key: str, why: str) -> WishOutcome:
        """Return what became of the first wish with a key, while no bot can be asked."""
        try:
            found = outcome_of(self._link.last_book()[1], key)
        except JournalError as error:
            if key in self._open:
                return _unread(key, f"{why} {error}")
            return _refused(key, f"{NOTHING}: {why}")
        if found is not None:
            return found
        return _refused(key, f"{NOTHING}: {why}")

    def _after_end(self, bot: Bot, key: str) -> WishOutcome:
        """Return what the journal of a bot tells that ended while it had the command."""
        ended = f"The bot, process {bot.pid}, ended before it answered."
        try:
            found = outcome_of(self._link.last_book(bot)[1], key)
        except JournalError as error:
            return _unread(key, f"{ended} {error}")
        if found is not None:
            return found
        # An order is journalled before it is sent.
        return _refused(key, f"{NOTHING}: {ended} Its journal has no order with this key.")


def wish_of(order: Order) -> OrderWish:
    """Return the wish in the arguments of a tool.

    Raises:
        ValueError: an argument is missing, or does not belong to the action.
    """
    try:
        action = WishAction(order.action)
    except ValueError:
        valid = ", ".join(one.value for one in WishAction)
        raise ValueError(
            f"action={order.action!r:.40} is not valid: give one of {valid}."
        ) from None
    if action is WishAction.MODIFY and (order.sl is None or order.tp is None):
        raise ValueError(
            "sl and tp are both needed to modify, with 0 for none: a stop that is left out would "
            "be removed."
        )
    return OrderWish(
        action,
        symbol=order.symbol,
        side=order.side,
        volume=_given("volume", order.volume),
        limit=_given("limit", order.limit),
        stop=_given("stop", order.stop),
        sl=order.sl or 0.0,
        tp=order.tp or 0.0,
        ticket=order.ticket or 0,
    )


def _given(name: str, value: float | None) -> float:
    """Return a number, 0.0 if it is not given; refuse a 0, which stands for nothing here."""
    if value == 0:
        raise ValueError(f"{name}=0 is not valid: give a number above 0, or leave it out.")
    return value or 0.0


def _refused(key: str, reason: str) -> WishOutcome:
    return WishOutcome(key=key, state=WishState.REFUSED, reason=reason)


def _in_doubt(key: str, reason: str, evidence: str, known: str) -> WishOutcome:
    return WishOutcome(
        key=key, state=WishState.IN_DOUBT, reason=reason, evidence=evidence, known=known
    )


def _unread(key: str, reason: str) -> WishOutcome:
    return _in_doubt(
        key,
        reason,
        "the journal of the bot cannot be read, so it is not known whether the order was sent",
        f"when a bot runs again: {AGAIN}; a person looks at the account",
    )
