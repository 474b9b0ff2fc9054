"""The commands by which a person closes positions through the bot: a plan first, then the close.

The close is sent by the bot's own order desk, in the turn after the command, with the person's name
in the intent. Its key comes from the command, so a command that is repeated after a lost answer
sends nothing again, also after a restart.
"""

from __future__ import annotations

import contextlib
from typing import Any

import msgspec

from trueup.core.book import outcome
from trueup.core.book.lifecycle import OrderStatus
from trueup.core.book.order import Order
from trueup.core.book.outcome import Canceled, Done, Filled, Placed, Unknown
from trueup.core.model import Position, describe
from trueup.core.quantity import add_lots, format_lots
from trueup.errors import (
    JournalConflict,
    JournalError,
    NotEncodable,
    OutcomeNotRecorded,
    Refused,
    TrueupError,
)
from trueup.observe.close_text import CloseResult
from trueup.runtime.bot.unjournalled import Unjournalled
from trueup.runtime.control.commands.close_plan import believed, close_plan, difference, targets
from trueup.runtime.control.commands.command import Command, Commands, refuse_old
from trueup.runtime.control.commands.command_observer import CommandObserver
from trueup.runtime.sync.observation import Observation
from trueup.runtime.trading.loop import TradingLoop

# Results of closes that were never sent are kept for so many commands.
RESULTS_KEPT = 100
LATER = "The journal takes nothing now, and gets this when it works again."
LATER_FOUND = (
    "The journal takes nothing now. When it works again the outcome is found and recorded; until "
    "then look at the position in the terminal"
)
NEXT = "The bot looks for it at the broker until the outcome is proven: see `trueup status`"


class CloseJob(msgspec.Struct, frozen=True):
    """A close that a person has confirmed; `look` is the observation to wait for, 0 for none."""

    command: Command
    look: int = 0


class ClosingCommands:
    """Show and carry out a person's closes, one at a time.

    Args:
        loop: the bot's trading loop.
        observer: observes the broker for commands.
    """

    def __init__(self, loop: TradingLoop, observer: CommandObserver) -> None:
        self._loop, self._observer = loop, observer
        self._jobs: dict[str, CloseJob] = {}
        # Results that the book does not have, by the key of the command.
        self._unsent: dict[str, CloseResult] = {}
        self.commands: Commands = {
            "close-plan": self._plan,
            "close": self._close,
            "closed": self._closed,
        }

    def turn(self) -> None:
        """Send the next close; waits for the reply to that order alone."""
        for key, job in list(self._jobs.items()):
            observation: Observation | int | None = None
            if job.look:
                observation = self._observer.observation(job.look)
                if isinstance(observation, int):
                    continue
            del self._jobs[key]
            self._carry_out(job, observation)
            return

    def _plan(self, command: Command) -> dict[str, Any]:
        observation = self._observer.observation(command.look)
        if isinstance(observation, int):
            return {"wait": observation}
        self._refuse_without_journal(command)
        return {"plan": msgspec.to_builtins(close_plan(self._loop, observation, command.ticket))}

    def _refuse_without_journal(self, command: Command) -> None:
        """Refuse, before anybody is asked, a close that cannot leave without the journal.

        Raises:
            Refused: the message says how to close in the terminal instead.
        """
        pm = self._loop.pm
        with contextlib.suppress(JournalError):
            pm.find_out()
        if not pm.journal_trouble:
            return
        pm.desk.unjournalled.refuse()
        if not command.ticket:
            raise self._only_one()

    def _only_one(self) -> Refused:
        trouble = self._loop.pm.journal_trouble.rstrip(".")
        return Refused(
            f"Nothing was sent: the journal takes nothing ({trouble}). Until it works again, close "
            "one position after the other: `trueup close TICKET`."
        )

    def _close(self, command: Command) -> dict[str, Any]:
        if not command.id or not command.ticket:
            raise Refused("Say which: the ticket to close, and an id of the command.")
        if self._is_known(command.id):
            return self._closed(command)
        refuse_old(command, self._loop.pm.clock.now_ns())
        self._shown(command)
        # On a netting account a close of more lots than the position has opens the other side, so
        # the broker is read once more before the order leaves.
        look = self._observer.observation(0) if self._loop.pm.book.nets else 0
        assert isinstance(look, int)
        self._jobs[command.id] = CloseJob(command, look)
        return self._closed(command)

    def _shown(self, command: Command) -> Position:
        """Return the position to close; refuse a position that has changed since it was shown."""
        (holding,) = targets(self._loop.pm, command.ticket, None)
        position = holding.position
        if (command.side, command.lots) != (position.side.word, position.volume):
            raise Refused(
                f"Nothing was sent: {command.ticket} has changed since it was shown. It was "
                f"{command.side} {format_lots(command.lots)}L, and is {describe(position)} now: "
                "look again."
            )
        return position

    def _closed(self, command: Command) -> dict[str, Any]:
        """Return what became of a close."""
        key = command.id
        order = self._loop.pm.book.by_key.get(key)
        result = None if order is None else self._result_of(command.ticket, order)
        # The book knows best, but for an order whose outcome is not in the journal yet.
        if result is None or result.state == "waiting":
            result = self._unsent.get(key, result)
        if result is None and key in self._jobs:
            result = CloseResult(command.ticket, "waiting")
        if result is None:
            raise Refused(f"This bot has no close {key!r}: nothing was sent by that command.")
        return {"result": msgspec.to_builtins(result)}

    def _is_known(self, key: str) -> bool:
        return key in self._jobs or key in self._unsent or key in self._loop.pm.book.by_key

    def _carry_out(self, job: CloseJob, observation: Observation | int | None) -> None:
        command, pm = job.command, self._loop.pm
        try:
            position = self._shown(command)
            if isinstance(observation, Observation):
                refuse_different(position, observation)
            pm.close(command.ticket, key=command.id, who=command.who, why=command.why)
        except OutcomeNotRecorded as error:
            # The order was sent, and `closed` tells of it as soon as the journal has the outcome.
            self._note(command, CloseResult(command.ticket, "doubt", reason=str(error), then=NEXT))
        except (JournalConflict, NotEncodable) as error:
            self._note(command, _refused(command, error))
        except JournalError:
            self._close_unjournalled(command)
        except (TrueupError, ValueError) as error:
            self._note(command, _refused(command, error))

    def _close_unjournalled(self, command: Command) -> None:
        pm = self._loop.pm
        try:
            if command.everything:
                raise self._only_one()
            sent = pm.close_unjournalled(
                command.ticket, key=command.id, who=command.who, why=command.why
            )
        except (TrueupError, ValueError) as error:
            self._note(command, _refused(command, error))
        else:
            self._note(command, _result_without_journal(command.ticket, sent))

    def _note(self, command: Command, result: CloseResult) -> None:
        self._unsent[command.id] = result
        if len(self._unsent) > RESULTS_KEPT:
            del self._unsent[next(iter(self._unsent))]

    def _result_of(self, ticket: int, order: Order) -> CloseResult:
        lots, price = order.filled_volume, order.fill_price
        match order.status:
            case OrderStatus.FILLED:
                is_whole = lots is None or add_lots(lots, -order.volume) >= 0
                state = "closed" if is_whole else "part"
                return CloseResult(ticket, state, order.order_id, lots, price)
            case OrderStatus.REJECTED | OrderStatus.CANCELED:
                return CloseResult(ticket, "refused", order.order_id, reason=order.error or "")
            case OrderStatus.IN_DOUBT:
                reason, then = order.error or "", self._what_ends(order)
                return CloseResult(ticket, "doubt", order.order_id, reason=reason, then=then)
            case _:
                return CloseResult(ticket, "waiting", order.order_id)

    def _what_ends(self, order: Order) -> str:
        """Return what would end the doubt about an order."""
        for hold in self._loop.reconciler.holds:
            if order.order_id in hold.reason:
                return f"{NEXT}. It ends with: {hold.until}"
        return NEXT


def _refused(command: Command, error: Exception) -> CloseResult:
    return CloseResult(command.ticket, "refused", reason=str(error))


def _result_without_journal(ticket: int, sent: Unjournalled) -> CloseResult:
    """Return what became of a close that left without the journal."""
    order_id = sent.order.order_id
    match sent.outcome:
        case Filled(volume=lots, price=price):
            is_whole = add_lots(lots, -sent.order.volume) >= 0
            state = "closed" if is_whole else "part"
            return CloseResult(ticket, state, order_id, lots, price, then=LATER)
        case Unknown(error=error):
            return CloseResult(ticket, "doubt", order_id, reason=error, then=LATER_FOUND)
        case outcome.Refused(error=error) | Canceled(because=error):
            return CloseResult(ticket, "refused", order_id, reason=error)
        case Placed() | Done():
            # No answer to an order at the market says this, so nothing is known.
            return CloseResult(ticket, "doubt", order_id, reason="", then=LATER_FOUND)


def refuse_different(position: Position, observation: Observation) -> None:
    """Refuse a close on a netting account while book and broker differ about the position.

    Raises:
        Refused: they differ.
    """
    snapshot = believed(observation)
    # An unreadable broker stops no close, as at the order desk.
    why = "" if snapshot is None else difference(position, snapshot)
    if why:
        raise Refused(f"Nothing was sent: {why}. `trueup sync` first, then look again.")
