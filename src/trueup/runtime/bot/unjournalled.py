"""Send a person's close while the journal takes nothing.

A close must not wait for a full disk. It may leave without the journal only where the order can
neither do harm nor be forgotten:

* on a hedging account, where a close of a ticket closes that position and opens nothing;
* through a gateway whose record of requests is on disk and keeps the person's name. The record has
  the order before the terminal does, carries it out once, and can tell a later process of it.

The intent and the outcome wait in memory and are journalled as soon as the journal works again. If
the process ends before that, the next process finds the order in the record (`core.sync.loss`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from trueup.core.book import events
from trueup.core.book.order import Order, created_order
from trueup.core.book.outcome import OrderOutcome
from trueup.core.tokens import token_of
from trueup.errors import JournalError, NotSent, Refused
from trueup.logs import Logger, logger
from trueup.protocol.snapshot import UNJOURNALLED
from trueup.runtime.bot.answers import OrderTaker, log_created, send
from trueup.runtime.bot.broker_side import BrokerSide
from trueup.runtime.bot.crash_points import CrashPoint
from trueup.runtime.bot.identity import Identity
from trueup.runtime.bot.kept_book import KeptBook
from trueup.runtime.bot.outcomes import OwedOutcomes
from trueup.runtime.bot.targets import Target

log: Logger = logger("trueup.portfolio")

BY_HAND = "In MetaTrader: Toolbox > Trade > right-click the position > Close position."


class Unjournalled(NamedTuple):
    """An order that was sent without the journal, and what is known of its outcome."""

    order: Order
    outcome: OrderOutcome


class UnjournalledCloses:
    """Sends a person's closes of one book while its journal takes nothing.

    Args:
        kept: the book.
        identity: the names under which the book trades.
        owed: keeps intents and outcomes until the journal works again.
        broker: what the book has seen of the broker.
        crash: called at every crash point.
    """

    def __init__(
        self,
        kept: KeptBook,
        identity: Identity,
        owed: OwedOutcomes,
        broker: BrokerSide,
        crash: Callable[[CrashPoint], None],
    ) -> None:
        self._kept, self._identity, self._owed = kept, identity, owed
        self._broker, self._crash = broker, crash

    def why_not(self) -> str:
        """Return why no close may leave without the journal, or an empty string."""
        if self._kept.is_fenced_out:
            return "another process took the journal over, and acts for this account"
        if self._kept.book.nets:
            return "on an account that is not known to be hedging a close can open the other side"
        serves = getattr(self._broker.gateway, "serves", None)
        if serves is None or not serves(UNJOURNALLED):
            return "the gateway keeps no record on disk that could tell of the order later"
        try:
            known = self._kept.journal_id
        except JournalError:
            known = ""
        return "" if known else "the journal has no name yet by which the record could keep it"

    def refuse(self) -> None:
        """Refuse a close that may not leave without the journal.

        Raises:
            Refused: the message has the reason, and how to close in the terminal.
        """
        why_not = self.why_not()
        if why_not:
            trouble = self._kept.trouble.rstrip(".")
            raise Refused(
                f"Nothing was sent: the journal takes nothing ({trouble}), and {why_not}. {BY_HAND}"
            )

    def send(
        self,
        target: Target,
        message_of: Callable[[Order], dict[str, Any]],
        *,
        key: str,
        why: str,
        who: str,
    ) -> Unjournalled:
        """Close a whole position; see `PortfolioManager.close_unjournalled`.

        Args:
            target: the position.
            message_of: returns an order as a message for the gateway.
            key: the name of the wish, by which nothing is sent twice.
            why: the person's reason.
            who: the person.

        Raises:
            Refused: nothing was sent, with the reason and what to do instead.
        """
        self.refuse()
        gateway = self._broker.gateway
        if gateway is None:
            raise NotSent("No gateway: make a StateReconciler with one, or set pm.desk.gateway.")
        earlier = self._owed.unjournalled(target.position.identifier)
        if earlier:
            raise Refused(
                f"Nothing was sent: {earlier} was sent for it, and is not journalled yet."
            )
        created = self._created(target, key, why, who)
        order = created_order(created)
        message = {**message_of(order), "by": who}
        return self._sent(gateway, created, order, message)

    def _created(self, target: Target, key: str, why: str, who: str) -> events.OrderCreated:
        order_id, held = self._identity.next_order_id(), target.position
        return events.OrderCreated(
            at_ns=self._kept.clock.now_ns(),
            order_id=order_id,
            symbol=held.symbol,
            side=held.side.opposite,
            volume=held.volume,
            price=0.0,
            position=held.identifier,
            token=token_of(order_id),
            key=key,
            why=why,
            by_desk=True,
            by=who,
            **target.owner,
        )

    def _sent(
        self,
        gateway: OrderTaker,
        created: events.OrderCreated,
        order: Order,
        message: dict[str, Any],
    ) -> Unjournalled:
        started = events.SendStarted(
            at_ns=self._kept.clock.now_ns(),
            order_id=order.order_id,
            record=self._broker.record,
            time_offset_sec=self._broker.time_offset_sec,
            server_time_msc=self._broker.server_time_msc,
        )
        log_created(order)
        log.warning(
            "[PERSON] %s closes position %s without the journal, which takes nothing: %s; the "
            "gateway's record has the order, and the journal gets it later",
            order.by,
            order.position,
            self._kept.trouble,
            extra={"event": "order.unjournalled"},
        )
        # Noted before it leaves, so that no interruption forgets it.
        self._owed.leaves_unjournalled(created, started)
        self._crash(CrashPoint.AFTER_SEND_STARTED)
        outcome = send(gateway, message, order)
        self._crash(CrashPoint.BEFORE_OUTCOME)
        self._owed.note(order.order_id, outcome)
        return Unjournalled(order, outcome)
