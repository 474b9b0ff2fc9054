"""A `DeskWorld` whose bot has a journal, dies, comes back; the broker's ledger is the oracle."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.support.desk_world import HEDGING, DeskLink, DeskWorld, magic_of
from trueup.core.book.events import Event
from trueup.core.book.order import Order
from trueup.core.policy import GRACE_SEC, Policy
from trueup.errors import JournalError
from trueup.gateway.client.execution_gateway import ExecutionGateway
from trueup.journal import Journal, MemoryJournal
from trueup.runtime.bot.crash_points import CrashPoint
from trueup.runtime.bot.portfolio import PortfolioManager
from trueup.runtime.sync.reconciler import StateReconciler, SyncResult
from trueup.runtime.time.clock import ManualClock
from trueup.sim.market.records import Deal
from trueup.sim.market.records import Order as BrokerOrder
from trueup.sim.market.symbols import DEFAULT_SYMBOLS, AccountSetup, SymbolSetup


class ChoosyJournal(MemoryJournal):
    """A journal in memory that refuses some kinds of events."""

    def __init__(self) -> None:
        super().__init__()
        self.refuses: tuple[type[Event], ...] = ()

    def append(self, history: Sequence[Event]) -> int:
        if any(isinstance(event, self.refuses) for event in history):
            raise JournalError("the disk is full")
        return super().append(history)


class WrongClock:
    """The clocks of a machine whose wall clock has the wrong time."""

    def __init__(self, right: ManualClock, ahead_sec: int) -> None:
        self._right, self._ahead_ns = right, ahead_sec * 1_000_000_000

    def now_ns(self) -> int:
        """Return the wrong time."""
        return self._right.now_ns() + self._ahead_ns

    def age_ns(self) -> int:
        """Return what nobody sets."""
        return self._right.age_ns()

    def waiting_ns(self) -> int:
        """Return what nobody sets."""
        return self._right.waiting_ns()

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self._right.sleep(seconds)


class Died(BaseException):
    """The process is no more."""


class OrderWorld(DeskWorld):
    """A bot that trades through its order desk.

    Args:
        account: what the terminal is logged in to.
        journal: a file, a journal, or None for one in memory that outlives the bot.
        magic_token: the bot's setting.
        policy: the bot's; by default the reconciler's own.
        specs: the broker's symbols.
        switches: fields of `Switches`.
    """

    def __init__(
        self,
        account: AccountSetup = HEDGING,
        *,
        journal: Journal | Path | None = None,
        magic_token: bool = False,
        policy: Policy | None = None,
        specs: tuple[SymbolSetup, ...] = DEFAULT_SYMBOLS,
        **switches: Any,
    ) -> None:
        self._where = MemoryJournal() if journal is None else journal
        self._magic_token = magic_token
        self._policy = policy
        self._dies_at: CrashPoint | None = None
        self.bot_clock_ahead_sec = 0
        """By how much the clock of the bot's machine is wrong, as of its next start."""
        super().__init__(account, policy=policy, specs=specs, **switches)
        self.sync()

    def another_bot(
        self, policy: Policy | None = None, *, journal: Journal | None = None
    ) -> tuple[PortfolioManager, StateReconciler, ExecutionGateway]:
        gateway = ExecutionGateway("127.0.0.1", 5555, 2000, link=lambda _: DeskLink(self._carry))
        pm = PortfolioManager(
            "EURUSD",
            clock=WrongClock(self.clock, self.bot_clock_ahead_sec),
            journal=self._where if journal is None else journal,
            magic=magic_of(policy or self._policy),
            magic_token=self._magic_token,
            crash=self._pass,
        )
        return pm, StateReconciler(pm, gateway, 15, policy=policy or self._policy), gateway

    def sync(self, after_sec: float = 2.0) -> SyncResult:
        """Let time pass, in a market in which quotations go on, then reconcile."""
        self.wait(after_sec)
        self.requote()
        return self.reconciler.sync_positions()

    def wait_out(self) -> None:
        """Sync until what shows nowhere is absent: once, after the grace period, and once more."""
        for after_sec in (1, GRACE_SEC, GRACE_SEC / 2):
            self.sync(after_sec)

    # How the bot dies, and comes back.

    def die_at(self, point: CrashPoint) -> None:
        """Let the bot die when it next passes a point."""
        self._dies_at = point

    def _pass(self, point: CrashPoint) -> None:
        if point is self._dies_at:
            self._dies_at = None
            raise Died

    def restart(self) -> None:
        """Start the bot again on its journal, as after SIGKILL: nothing is saved on the way out."""
        journal = self.pm._kept.journal
        if isinstance(self._where, Path) and journal is not None:
            journal.close()
        self.start_bot()

    # What the broker was asked, and what it did.

    def sent(self) -> list[dict[str, Any]]:
        """The orders that reached the gateway, oldest first."""
        messages = [json.loads(message) for message in self.requests]
        return [message for message in messages if message.get("order_id")]

    def entries(self) -> list[Deal]:
        """The deals that opened something, oldest first."""
        return [deal for deal in self.ledger.deals.values() if deal.order and deal.entry == 0]

    def deals(self) -> list[Deal]:
        """All deals that traded, oldest first."""
        return [deal for deal in self.ledger.deals.values() if deal.order]

    def past(self) -> list[BrokerOrder]:
        """The broker's finished orders."""
        return list(self.ledger.order_history.values())

    # What the bot knows.

    def order(self, intent: Order | str) -> Order:
        """The bot's order as it is now: a restart makes a new object of it."""
        name = intent if isinstance(intent, str) else intent.order_id
        return self.pm.book.orders[name]

    def status(self, intent: Order | str) -> str:
        """Where an order stands."""
        return self.order(intent).status.value

    def settled_by(self, intent: Order | str) -> str:
        """The audit entry that settled an order."""
        name = intent if isinstance(intent, str) else intent.order_id
        trail = self.reconciler.get_audit_trail()
        (entry,) = [e for e in trail if e["action"] == "SETTLED" and name in e["details"]]
        return str(entry["details"])

    def agrees(self) -> bool:
        """Whether book and broker have the same positions and pending orders."""
        pending = set(self.ledger.orders) == set(self.pm.book.pending)
        return self.book() == self.rows() and pending
