"""A bot and a simulated terminal in one process, joined by the real client and the real desk.

Everything is the product's own code but the wire: a link that hands bytes to the desk at once.
Time moves only when told, for the bot and for the broker together.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable
from typing import Any

from trueup.core.account.health import Restriction
from trueup.core.holds import Hold, HoldKind
from trueup.core.policy import Policy
from trueup.gateway.client.execution_gateway import ExecutionGateway
from trueup.gateway.desk.desk import Desk
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.journal import Journal
from trueup.runtime.bot.portfolio import PortfolioManager
from trueup.runtime.sync.reconciler import StateReconciler, SyncResult
from trueup.runtime.time.clock import ManualClock
from trueup.sim.broker.ledger import Ledger
from trueup.sim.market.switches import Switches
from trueup.sim.market.symbols import DEFAULT_SYMBOLS, EURUSD, AccountSetup, Charged, SymbolSetup
from trueup.sim.terminal.person import Person
from trueup.sim.terminal.terminal import SimulatedTerminal

BUY, SELL = mt5.ORDER_TYPE_BUY, mt5.ORDER_TYPE_SELL
HEDGING = AccountSetup()
NETTING = AccountSetup(margin_mode=mt5.ACCOUNT_MARGIN_MODE_RETAIL_NETTING)
OTHER = AccountSetup(login=5_000_002)
# A symbol whose trades cost something at both ends, with a fee on top.
COSTLY = dataclasses.replace(
    EURUSD, commission_per_lot=3.5, commission_charged=Charged.AT_BOTH, fee_per_lot=0.25
)
MONEY = 100_000_000

Tamper = Callable[[dict[str, Any]], object]


class DeskLink:
    """A `Link` to a function in this process."""

    def __init__(self, answer: Callable[[bytes], bytes | None]) -> None:
        self._answer = answer
        self._reply: bytes | None = None

    def send(self, message: bytes, timeout_ms: int) -> None:
        """Hand a request over."""
        self._reply = self._answer(message)

    def receive(self, timeout_ms: int) -> bytes | None:
        """Return the reply."""
        reply, self._reply = self._reply, None
        return reply

    def reset(self) -> None:
        """Forget the reply."""
        self._reply = None

    close = reset


class DeskWorld:
    """One account, its terminal, a gateway's desk, a bot's book and its reconciler.

    Args:
        account: what the terminal is logged in to at first.
        policy: the bot's; by default the reconciler's own.
        others: further accounts at the same broker.
        specs: the broker's symbols.
        switches: fields of `Switches`.
    """

    # Whether the gateway says that it keeps a record of requests.
    keeps_record = True
    # Whether it is one of the guide's, without evidence and record.
    knows_only_the_guide = False

    def __init__(
        self,
        account: AccountSetup = HEDGING,
        *,
        policy: Policy | None = None,
        others: tuple[AccountSetup, ...] = (),
        specs: tuple[SymbolSetup, ...] = DEFAULT_SYMBOLS,
        journal: Journal | None = None,
        **switches: Any,
    ) -> None:
        self.clock = ManualClock(1_700_000_000_000_000_000)
        self.terminal = terminal_at(self.clock, account, others, specs, **switches)
        self.quote(1.10000)
        self.person = Person(self.terminal.broker, account.login)
        self.requests: list[bytes] = []
        self._tampers: list[Tamper] = []
        self._mangles: list[Callable[[bytes], bytes]] = []
        self._lost = 0
        self.boots = 0
        self.restart_gateway()
        self.start_bot(policy=policy, journal=journal)

    # The gateway and its wire.

    def restart_gateway(self) -> None:
        """Start the gateway anew: a new epoch."""
        self.boots += 1
        self.desk = Desk(self.terminal, f"boot{self.boots}", self.clock.now_ns)

    def tamper(self, *changes: Tamper) -> None:
        """Change the next snapshots on the wire, one after the other, as plain values."""
        self._tampers += changes

    def mangle(self, *changes: Callable[[bytes], bytes]) -> None:
        """Change the bytes of the next snapshots, one after the other."""
        self._mangles += changes

    def lose_replies(self, count: int) -> None:
        """Let the next replies get lost on the way."""
        self._lost += count

    def heal_wire(self) -> None:
        """Lose and change nothing any more."""
        self._lost = 0
        self._tampers.clear()
        self._mangles.clear()

    def _carry(self, message: bytes) -> bytes | None:
        self.requests.append(message)
        if self.knows_only_the_guide:
            return self._as_the_guide(message)
        reply = self.desk.handle(message)
        if self._lost:
            self._lost -= 1
            return None
        if not self.keeps_record and b'"GET_POSITIONS"' in message:
            return reply.replace(b',"REQUEST_STATUS"', b"")
        if self._mangles and b'"SNAPSHOT"' in message:
            return self._mangles.pop(0)(reply)
        if self._tampers and b'"SNAPSHOT"' in message:
            changed = json.loads(reply)
            self._tampers.pop(0)(changed)
            return json.dumps(changed).encode()
        return reply

    def _as_the_guide(self, message: bytes) -> bytes:
        if json.loads(message)["action"] == "SNAPSHOT":
            return b'{"status":"ERROR","error":"unknown action"}'
        reply = json.loads(self.desk.handle(message))
        for unknown in ("capabilities", "rest_works"):
            reply.pop(unknown, None)
        return json.dumps(reply).encode()

    # The bot.

    def start_bot(self, *, policy: Policy | None = None, journal: Journal | None = None) -> None:
        """Start a bot, with an empty book or what a journal says."""
        self.pm, self.reconciler, self.gateway = self.another_bot(policy, journal=journal)

    def another_bot(
        self, policy: Policy | None = None, *, journal: Journal | None = None
    ) -> tuple[PortfolioManager, StateReconciler, ExecutionGateway]:
        """Start a further bot on the same account."""
        gateway = ExecutionGateway("127.0.0.1", 5555, 2000, link=lambda _: DeskLink(self._carry))
        pm = PortfolioManager("EURUSD", clock=self.clock, journal=journal, magic=magic_of(policy))
        return pm, StateReconciler(pm, gateway, 15, policy=policy), gateway

    def sync(self, after_sec: float = 2.0) -> SyncResult:
        """Let time pass, then reconcile."""
        self.wait(after_sec)
        return self.reconciler.sync_positions()

    def wait(self, seconds: float) -> None:
        """Let time pass at the bot and at the broker."""
        self.clock.advance(seconds)
        self.terminal.settle()

    def turn(self, seconds: float) -> list[SyncResult]:
        """Let time pass in steps of 50 ms, calling `sync_continuous` as a loop does."""
        results = []
        for _ in range(round(seconds / 0.05)):
            self.wait(0.05)
            result = self.reconciler.sync_continuous()
            if result is not None:
                results.append(result)
        return results

    def trade(
        self, signal: int, volume: float = 0.1, *, magic: int = 0, sl: float = 0.0, tp: float = 0.0
    ) -> Any:
        """Let the strategy trade through the gateway; return its order."""
        order = self.pm.create_order(signal, 1.1, volume)
        assert order is not None
        message = {
            "order_id": order.order_id,
            "symbol": order.symbol,
            "action": order.action,
            "volume": order.volume,
            "price": order.entry_price,
            "position": self.pm.ticket_to_close(order),
            "magic": magic or order.magic,
            "sl": sl,
            "tp": tp,
        }
        self.pm.on_fill({**self.gateway.send_order(message), "order_id": order.order_id})
        return order

    # The broker.

    def quote(self, bid: float, symbol: str = "EURUSD", spread: float = 0.0001) -> None:
        """Move the market; stops and pending orders are served."""
        self.terminal.quote(symbol, bid, round(bid + spread, 5))

    def requote(self) -> None:
        """Let the price be told again, as it is."""
        last = self.terminal.broker.market.quotes["EURUSD"]
        self.terminal.quote("EURUSD", last.bid, last.ask)

    @property
    def ledger(self) -> Ledger:
        """The broker's truth."""
        return self.terminal.ledger

    def realised(self, identifiers: Iterable[int]) -> float:
        """What the broker's deals of some positions brought, to the cent."""
        deals = [deal for key in identifiers for deal in self.ledger.deals_of(key)]
        return sum(round(deal.result * MONEY) for deal in deals) / MONEY

    def rows(self) -> dict[int, tuple[Any, ...]]:
        """What the broker has, by identifier: ticket, symbol, side, lots, price, stops, magic."""
        return {
            key: (
                row.ticket,
                row.symbol,
                "buy" if row.is_buy else "sell",
                self.ledger.lots(row.symbol, row.steps),
                round(row.price_open, 8),
                row.sl,
                row.tp,
                row.magic,
            )
            for key, row in self.ledger.positions.items()
        }

    # What the bot has.

    def book(self, pm: PortfolioManager | None = None) -> dict[int, tuple[Any, ...]]:
        """What the book holds, spelled as in `rows`."""
        found = {}
        for key, holding in (pm or self.pm).book.holdings.items():
            row = holding.position
            found[key] = (
                row.ticket,
                row.symbol,
                row.side.value,
                round(row.volume, 8),
                round(row.price_open, 8),
                row.sl,
                row.tp,
                row.magic,
            )
        return found

    def tickets(self) -> set[int]:
        """Return the tickets in the book."""
        return set(self.pm.get_local_positions())

    def state(self) -> bytes:
        """The whole book as bytes."""
        return self.pm.book.state()

    def hold(self, *kinds: HoldKind) -> Hold:
        """The one hold of these kinds."""
        (found,) = (hold for hold in self.reconciler.holds if hold.kind in kinds)
        return found

    def kinds(self) -> list[HoldKind]:
        """The kinds of the holds of the last sync that was believed."""
        return [hold.kind for hold in self.reconciler.holds]

    def actions(self) -> list[str]:
        """The actions of the audit trail, oldest first, the binding left out."""
        trail = self.reconciler.get_audit_trail()
        return [entry["action"] for entry in trail if entry["action"] != "BOUND"]

    @property
    def restrictions(self) -> tuple[Restriction, ...]:
        """What restricts new orders now."""
        return self.pm.restrictions


def terminal_at(
    clock: ManualClock,
    account: AccountSetup = HEDGING,
    others: tuple[AccountSetup, ...] = (),
    specs: tuple[SymbolSetup, ...] = DEFAULT_SYMBOLS,
    **switches: Any,
) -> SimulatedTerminal:
    """A simulated terminal by a clock, initialised; the arguments are those of `DeskWorld`."""
    terminal = SimulatedTerminal(
        account=account,
        other_accounts=others,
        symbols=specs,
        now_msc=lambda: clock.now_ns() // 1_000_000,
        switches=Switches(**switches),
    )
    assert terminal.initialize()
    return terminal


def magic_of(policy: Policy | None) -> int:
    """The magic number of a book that has this policy: one by which its orders are its own."""
    return min(policy.magics) if policy is not None and policy.magics else 0


def figures(result: SyncResult) -> tuple[str, int, int, int]:
    """Status, recovered, closed and drifts of a sync."""
    return result.status.value, result.recovered, result.closed, len(result.drifts)


def agree(local: dict[int, tuple[Any, ...]], remote: dict[int, tuple[Any, ...]]) -> bool:
    """Whether two sets of rows are the same, open prices to the unit that brokers round them to."""
    unit = 10.0 ** -(EURUSD.digits + 3)
    return local.keys() == remote.keys() and all(
        row[:4] == remote[key][:4]
        and row[5:] == remote[key][5:]
        and abs(row[4] - remote[key][4]) < unit
        for key, row in local.items()
    )
