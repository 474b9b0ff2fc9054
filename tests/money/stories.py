"""Random stories of one account, each from one seed, judged by the trade server's own ledger.

A bot trades through its desk, with pending orders, stops and part closes; hands trade the same
account; the broker rolls positions over, splits them, charges commissions late, amends and cancels
deals; deals, lists and order histories come late, replies get lost; the bot looks at random moments
or is away, and comes back with its journal. When all that has ended and the bot has looked a few
times more, its realised result is the broker's to the cent.

What is due is read off the ledger alone: every deal of every position that an order of ours went
into, that the book had in it, or that went on from such a one.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import random
import sys
from collections.abc import Iterator
from typing import Any

from tests.support.desk_world import BUY, HEDGING, NETTING, SELL, DeskLink, agree
from tests.support.order_world import OrderWorld
from trueup.core.book.book import Book
from trueup.core.policy import Adopt, Policy
from trueup.errors import Refused, TrueupError
from trueup.gateway.client.execution_gateway import ExecutionGateway
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.journal import Journal
from trueup.runtime.bot.order_checks import SideWord
from trueup.runtime.bot.portfolio import PortfolioManager
from trueup.runtime.story.audit import entry, is_own_step
from trueup.runtime.sync.reconciler import StateReconciler, SyncResult
from trueup.sim.market.records import Position, Refusal
from trueup.sim.market.switches import DealOrder
from trueup.sim.market.symbols import EURUSD, Charged

OURS = 7
SYMBOL = "EURUSD"
DEAR = dataclasses.replace(
    EURUSD,
    commission_per_lot=3.37,
    commission_charged=Charged.AT_BOTH,
    fee_per_lot=0.13,
    swap_long=-7.77,
    swap_short=2.31,
)
NEXT_CONTRACT = dataclasses.replace(DEAR, name="EURUSD_DEC")
HEDGING_POLICY = Policy(
    symbols=frozenset({SYMBOL}), magics=frozenset({OURS}), adopt=Adopt.OURS, grace_period_ms=2_000
)
NETTING_POLICY = Policy(symbols=frozenset({SYMBOL}), grace_period_ms=2_000)

# What happens, and how often in comparison.
ACTS = {
    "submit": 6,
    "close": 4,
    "close_part": 3,
    "limit": 6,
    "stop": 4,
    "cancel": 2,
    "reply_lost": 2,
    "hand_in": 4,
    "hand_out": 5,
    "hand_part": 3,
    "hand_by": 1,
    "hand_cancels": 1,
    "hand_moves_stop": 1,
    "quote": 12,
    "jump": 6,
    "little_liquidity": 3,
    "night": 1,
    "reopen": 2,
    "reopen_anew": 3,
    "split": 1,
    "split_anew": 1,
    "roll": 1,
    "margin": 1,
    "margin_by_money": 1,
    "commission_late": 3,
    "amend": 2,
    "undo": 2,
    "late_deals": 2,
    "late_list": 1,
    "late_orders": 1,
    "in_time": 3,
    "cut": 1,
    "mend": 2,
    "look": 16,
    "away": 2,
}


class Story(OrderWorld):
    """One story; `told` is what happened, and `wrongs` what is not right at its end."""

    def __init__(self, seed: int) -> None:
        self.seed, self.starts = seed, 0
        self.chance = chance = random.Random(seed)
        self.nets = chance.random() < 0.5
        self.is_old_gateway = chance.random() < 0.15
        self.turns = chance.random() < 0.25
        self.known: set[int] = set()
        self.goes_on_as: dict[int, list[int]] = {}
        self.told: list[str] = []
        self.wrongs: list[str] = []
        self._last: tuple[dict[int, Position], tuple[int, ...]] = ({}, ())
        account = dataclasses.replace(NETTING if self.nets else HEDGING, balance=1e7)
        super().__init__(
            account,
            policy=NETTING_POLICY if self.nets else HEDGING_POLICY,
            specs=(DEAR, NEXT_CONTRACT),
            deal_order=chance.choice(list(DealOrder)),
            volume_dust=chance.random() < 0.5,
        )
        self.terminal.quote(NEXT_CONTRACT.name, 1.2, 1.20010)

    def another_bot(
        self, policy: Policy | None = None, *, journal: Journal | None = None
    ) -> tuple[PortfolioManager, StateReconciler, ExecutionGateway]:
        # The ids of orders, and their tokens with them, are the seed's too.
        self.starts += 1
        gateway = ExecutionGateway("127.0.0.1", 5555, 2000, link=lambda _: DeskLink(self._carry))
        pm = PortfolioManager(
            SYMBOL,
            magic=OURS,
            clock=self.clock,
            journal=self._where,
            run=f"{self.seed:x}.{self.starts}",
        )
        return pm, StateReconciler(pm, gateway, 15, policy=self._policy), gateway

    def _carry(self, message: bytes) -> bytes | None:
        reply = super()._carry(message)
        if not self.is_old_gateway or reply is None or b'"SNAPSHOT"' not in message:
            return reply
        return json.dumps(as_before(json.loads(reply))).encode()

    # The story.

    def run(self, steps: int) -> None:
        """Let so many things happen, each a moment after the other."""
        names, weights = list(ACTS), list(ACTS.values())
        for name in self.chance.choices(names, weights, k=steps):
            self.happen(name)

    def happen(self, name: str) -> None:
        """Let one thing happen; what broker or bot refuse does not."""
        self.wait(self.chance.choice([0.001, 0.2, 1.0, 7.0]))
        before, deals = dict(self.ledger.positions), set(self.ledger.deals)
        orders = set(self.ledger.order_history)
        try:
            said = getattr(self, "do_" + name)()
        except (Refusal, Refused, ValueError, LookupError, TrueupError) as refused:
            said = f"refused: {refused}"
        made = tuple(ticket for ticket in self.ledger.deals if ticket not in deals)
        if made:
            self._last = (before, made)
        done = [t for t in self.ledger.order_history if t not in orders]
        now = f"{(self.clock.now_ns() // 1_000_000) % 100_000_000}"
        self.told.append(f"{now} {name}: {said or ''} deals {list(made)} orders {done}")

    def _side(self) -> SideWord:
        sides: list[SideWord] = ["buy", "sell"]
        return self.chance.choice(sides)

    def _lots(self) -> float:
        return self.chance.randint(1, 40) / 100

    def _bid(self) -> float:
        return float(self.terminal.market.quotes[SYMBOL].bid)

    def _held(self) -> Position:
        held = [p for p in self.ledger.positions.values() if p.symbol == SYMBOL]
        return self.chance.choice(held)

    def _ours(self) -> Position:
        held = [p for p in self.ledger.positions.values() if p.symbol == SYMBOL]
        return self.chance.choice(held if self.nets else [p for p in held if p.magic == OURS])

    def _local(self) -> Any:
        return self.chance.choice([h.position for h in self.pm.book.holdings.values()])

    # The bot.

    def _levels(self, price: float, side: SideWord) -> dict[str, float]:
        """Stops near a price, or none."""
        sign = 1 if side == "buy" else -1
        away = {name: self.chance.randint(5, 60) / 100_000 for name in ("sl", "tp")}
        levels = {"sl": price - sign * away["sl"], "tp": price + sign * away["tp"]}
        return {n: round(v, 5) for n, v in levels.items() if self.chance.random() < 0.6}

    def do_submit(self) -> str:
        side = self._side()
        wish: dict[str, Any] = self._levels(self._bid(), side)
        order = self.pm.submit(side, self._lots(), magic=OURS, **wish)
        return f"{order.order_id} {order.action} {order.volume} {order.status.value} {order.ticket}"

    def _place(self, kind: str, sign: int) -> str:
        side = self._side()
        toward = sign if side == "buy" else -sign
        price = round(self._bid() + toward * self.chance.randint(12, 60) / 100_000, 5)
        wish: dict[str, Any] = {kind: price, **self._levels(price, side)}
        order = self.pm.submit(side, self._lots(), magic=OURS, **wish)
        return f"{side} {order.volume} {wish} {order.status.value} {order.ticket}"

    def do_limit(self) -> str:
        return self._place("limit", -1)

    def do_stop(self) -> str:
        return self._place("stop", 1)

    def do_close(self) -> str:
        local = self._local()
        order = self.pm.close(local)
        return f"{local.ticket} {order.status.value} {order.ticket}"

    def do_close_part(self) -> str:
        local = self._local()
        order = self.pm.close(local, 0.01)
        return f"{local.ticket} {order.status.value} {order.ticket}"

    def do_cancel(self) -> str:
        ticket = self.chance.choice(list(self.pm.book.pending))
        return f"{ticket} {self.pm.cancel(ticket).status.value}"

    def do_reply_lost(self) -> str:
        self.lose_replies(1)
        return self.chance.choice([self.do_submit, self.do_close, self.do_limit])()

    def do_look(self) -> str:
        return self.look(self.chance.choice([0.3, 2.0, 15.0]))

    def look(self, after_sec: float) -> str:
        """Let the bot look, and note what its book has had."""
        result = self._turn(after_sec) if self.turns else self.sync(after_sec)
        if result is None:
            return "not due"
        self.known |= self.pm.book.holdings.keys() & {d.position_id for d in self._deals()}
        return f"{result.status.value} {self._said(result)} realised {self.pm.realised:.2f}"

    def _turn(self, after_sec: float) -> SyncResult | None:
        """Let the bot's loop turn until it has looked, if it is time to."""
        self.wait(after_sec)
        self.requote()
        for _ in range(12):
            result = self.reconciler.sync_continuous()
            if result is not None:
                return result
            self.wait(0.01)
        return None

    def _said(self, result: SyncResult) -> str:
        return str([*result.explanations, *result.drifts, *result.orders, *result.errors])

    def do_away(self) -> str:
        """The process is dead for a while, and comes back with its journal."""
        for _ in range(self.chance.randint(1, 6)):
            name = self.chance.choice(["quote", "jump", "hand_out", "reopen_anew", "hand_in"])
            self.happen(name)
        self.wait(self.chance.choice([1, 60, 3_000]))
        self.requote()
        if self.chance.random() < 0.3:
            self.restart_gateway()
        self.restart()
        return "back"

    # Hands at the account.

    def do_hand_in(self) -> str:
        side = self.chance.choice([BUY, SELL])
        return str(self.person.open(SYMBOL, side, self._lots()))

    def do_hand_out(self) -> str:
        one = self._held()
        self.person.close(one.ticket)
        return str(one.identifier)

    def do_hand_part(self) -> str:
        one = self._held()
        self.person.close(one.ticket, 0.01)
        return str(one.identifier)

    def do_hand_by(self) -> str:
        one = self._held()
        if self.nets:
            raise LookupError("no close by on a netting account")
        held = self.ledger.positions.values()
        other = self.chance.choice([p for p in held if p.type != one.type])
        self.person.close_by(one.ticket, other.ticket)
        return f"{one.identifier} by {other.identifier}"

    def do_hand_cancels(self) -> str:
        ticket = self.chance.choice(list(self.ledger.orders))
        self.person.cancel(ticket)
        return str(ticket)

    def do_hand_moves_stop(self) -> str:
        one, bid = self._held(), self._bid()
        away = self.chance.randint(5, 40) / 100_000
        self.person.modify(one.ticket, sl=round(bid - away if one.is_buy else bid + away, 5))
        return str(one.identifier)

    # The market.

    def do_quote(self) -> str:
        bid = round(self._bid() + self.chance.randint(-15, 15) / 100_000, 5)
        self.quote(bid)
        return str(bid)

    def do_jump(self) -> str:
        bid = round(
            self._bid() + self.chance.choice([-1, 1]) * self.chance.randint(20, 90) / 1e5, 5
        )
        self.quote(bid)
        return str(bid)

    def do_little_liquidity(self) -> str:
        lots = self.chance.choice([None, None, 0.05, 0.2])
        self.terminal.broker.supply(SYMBOL, lots)
        return str(lots)

    # The broker.

    def _reopened(self, before: set[int], gone: list[int]) -> None:
        """Note as what positions go on, in the order in which they were opened again."""
        new = [key for key in self.ledger.positions if key not in before]
        new += [k for k in self._identifiers() - before if k not in new]
        for old, now in zip(gone, sorted(new), strict=False):
            self.goes_on_as.setdefault(old, []).append(now)

    def _identifiers(self) -> set[int]:
        return {deal.position_id for deal in self.ledger.deals.values()} - {0}

    def _reopen(self, one: Position, reason: int) -> str:
        before = self._identifiers()
        price = self._bid()
        self.terminal.broker.reopen(self.person.login, one.identifier, price, reason)
        if one.identifier not in self.ledger.positions:
            self._reopened(before, [one.identifier])
        return f"{one.identifier} goes on as {self.goes_on_as.get(one.identifier)}"

    def do_night(self) -> str:
        self.terminal.broker.change_day()
        return ""

    def do_reopen(self) -> str:
        self.terminal.switches.reopening_changes_identifier = False
        self.terminal.switches.reopening_changes_ticket = self.chance.random() < 0.7
        return self._reopen(self._held(), mt5.DEAL_REASON_ROLLOVER)

    def do_reopen_anew(self) -> str:
        self.terminal.switches.reopening_changes_identifier = True
        return self._reopen(self._held(), mt5.DEAL_REASON_ROLLOVER)

    def _split(self, *, anew: bool) -> str:
        self.terminal.switches.reopening_changes_identifier = anew
        before = self._identifiers()
        gone = [p.identifier for p in self.ledger.held.of_symbol(SYMBOL)]
        reason = self.chance.choice([mt5.DEAL_REASON_SPLIT, mt5.DEAL_REASON_CORPORATE_ACTION])
        if self.is_old_gateway:
            reason = mt5.DEAL_REASON_SPLIT
        self.terminal.broker.split(SYMBOL, 2, 1, reason)
        bid = self._bid()
        self.terminal.broker.split(SYMBOL, 1, 2, reason) if not anew else None
        if anew:
            self._reopened(before, gone)
        return f"{gone} at {bid}"

    def do_split(self) -> str:
        return self._split(anew=False)

    def do_split_anew(self) -> str:
        return self._split(anew=True)

    def do_roll(self) -> str:
        one = self._held()
        self.terminal.broker.roll(
            self.person.login,
            one.identifier,
            NEXT_CONTRACT.name,
            price_out=self._bid(),
            price_in=1.2,
        )
        return str(one.identifier)

    def do_margin(self) -> str:
        self.terminal.switches.variation_margin_reopens = True
        self.terminal.switches.reopening_changes_identifier = False
        self.terminal.broker.settle_variation_margin(SYMBOL, self._bid())
        return ""

    def do_margin_by_money(self) -> str:
        self.terminal.switches.variation_margin_reopens = False
        self.terminal.broker.settle_variation_margin(SYMBOL, self._bid())
        return ""

    def _a_deal(self) -> int:
        trades = [d.ticket for d in self.ledger.deals.values() if d.type in (BUY, SELL)]
        return self.chance.choice(trades[-8:])

    def do_commission_late(self) -> str:
        ticket, amount = self._a_deal(), -self.chance.randint(1, 500) / 100
        self.terminal.broker.charge_commission(self.person.login, ticket, amount)
        return f"deal {ticket} {amount}"

    def do_amend(self) -> str:
        ticket = self._a_deal()
        deal = self.ledger.deals[ticket]
        profit = round(deal.profit + self.chance.randint(-5_000, 5_000) / 100, 2)
        self.terminal.broker.amend_deal(self.person.login, ticket, profit=profit)
        return f"deal {ticket} profit {profit}"

    def do_undo(self) -> str:
        """Cancel the last deal, and make its position what it was before."""
        if self.is_old_gateway:
            raise LookupError("an old gateway does not show cancelled deals")
        before, made = self._last
        if len(made) != 1 or self.ledger.deals[made[0]].type not in (BUY, SELL):
            raise LookupError("nothing to cancel")
        deal = self.ledger.deals[made[0]]
        if any(p.time_update_msc > deal.time_msc for p in self.ledger.positions.values()):
            raise LookupError("too much has happened since")
        was = before.get(deal.position_id)
        after_ms = self.chance.choice([None, 0, 5_000])
        self.terminal.broker.cancel_deal(self.person.login, deal.ticket, after_ms)
        if was is not None:
            self.ledger.put_position(was)
        elif deal.position_id in self.ledger.positions:
            self.ledger.drop_position(deal.position_id)
        return f"deal {deal.ticket} of {deal.position_id}"

    # What comes late.

    def do_late_deals(self) -> str:
        self.terminal.switches.deal_lag_ms = self.chance.choice([300, 4_000, 40_000])
        return str(self.terminal.switches.deal_lag_ms)

    def do_late_list(self) -> str:
        self.terminal.switches.position_lag_ms = self.chance.choice([300, 900, 4_000])
        return str(self.terminal.switches.position_lag_ms)

    def do_late_orders(self) -> str:
        self.terminal.switches.order_history_lag_ms = self.chance.choice([900, 20_000])
        self.terminal.switches.order_lag_ms = self.chance.choice([0, 900])
        return str(self.terminal.switches.order_history_lag_ms)

    def do_in_time(self) -> str:
        switches = self.terminal.switches
        switches.deal_lag_ms = switches.position_lag_ms = 0
        switches.order_history_lag_ms = switches.order_lag_ms = 0
        return ""

    def do_cut(self) -> str:
        self.terminal.disconnect()
        return ""

    def do_mend(self) -> str:
        self.terminal.reconnect()
        return ""

    # How it ends, and what is due.

    def end(self) -> None:
        """End all faults, and let the bot look until nothing is still to come."""
        self.do_in_time()
        self.do_mend()
        self.heal_wire()
        self.terminal.broker.supply(SYMBOL, None)
        self.wait(60)
        for after_sec in (2, 2, 15, 20, 60, 60, 900, 900):
            self.told.append(f"end look: {self.look(after_sec)}")
        self.wrongs = list(self._wrongs())

    @property
    def audit(self) -> list[str]:
        """What the audit trail says of the whole story, restarts and all."""
        journal = self.pm._kept.journal
        assert journal is not None
        corrections = (event for event in journal.read() if not is_own_step(event))
        return [str(entry(event)["details"]) for event in corrections]

    def _deals(self) -> list[Any]:
        return [deal for deal in self.ledger.deals.values() if deal.position_id]

    def due(self) -> set[int]:
        """The positions whose results are ours: see above."""
        orders = {**self.ledger.order_history, **self.ledger.orders}
        expert = mt5.ORDER_REASON_EXPERT
        own = {ticket for ticket, order in orders.items() if order.reason == expert}
        due = {deal.position_id for deal in self._deals() if deal.order in own} | self.known
        waiting = list(due)
        while waiting:
            new = set(self.goes_on_as.get(waiting.pop(), ())) - due
            due |= new
            waiting += new
        return due

    def _wrongs(self) -> Iterator[str]:
        """Say what is not as it has to be."""
        book = self.pm.book
        due = self.realised(self.due())
        if abs(self.pm.realised - due) > 1e-9:
            yield f"realised {self.pm.realised:.2f}, and the broker's is {due:.2f}"
            for identifier in sorted(self.due() | book.closed.keys()):
                kept = book.holdings.get(identifier) or book.closed.get(identifier)
                counted = kept.realised_units / 1e8 if kept else 0.0
                is_due = self.realised([identifier]) if identifier in self.due() else 0.0
                if abs(counted - is_due) > 1e-9:
                    yield f"  position {identifier}: counted {counted:.2f}, due {is_due:.2f}"
        shown = {
            key: row
            for key, row in self.rows().items()
            if row[1] == SYMBOL and (self.nets or row[7] == OURS)
        }
        if not agree(self.book(), shown):
            yield f"book {self.book()}, broker {shown}"
        for hold in self.reconciler.holds:
            yield f"held: {hold.reason}"
        waits = (book.unexplained, book.unbooked, book.ending, book.missing)
        for name, what in zip(("unexplained", "unbooked", "ending", "missing"), waits, strict=True):
            if what:
                yield f"still {name}: {what}"
        journal = self.pm._kept.journal
        assert journal is not None
        if Book().replay(journal.read()).state() != book.state():
            yield "the journal replays to another book"
        if Book.restore(book.state()).state() != book.state():
            yield "a checkpoint restores to another book"


def as_before(reply: dict[str, Any]) -> dict[str, Any]:
    """Return a snapshot as gateways wrote it that did not know some of its fields yet."""
    reply.pop("other_deals", None)
    for row in reply.get("positions", ()):
        row.pop("time_update_msc", None)
    for row in reply.get("orders", ()):
        row.pop("volume_initial", None)
    for row in reply.get("past_orders", ()):
        row.pop("filled", None)
    for deals in (reply, reply.get("history") or {}):
        deals.pop("other_deals", None)
        for row in deals.get("deals", ()):
            row.pop("kind", None)
    return reply


def tell(seed: int, steps: int = 60) -> Story:
    """Run the story of a seed to its end; the story says what is wrong then."""
    story = Story(seed)
    story.run(steps)
    story.end()
    return story


def main(first: int, last: int) -> int:
    """Tell the story of one seed in full, or hunt through some; return how many are wrong."""
    logging.disable(logging.CRITICAL)
    found = 0
    for seed in range(first, last):
        story = tell(seed)
        found += bool(story.wrongs)
        told = [*story.told, *story.audit] if last == first + 1 else []
        if story.wrongs:
            told += [f"seed {seed}", *(f"  {wrong}" for wrong in story.wrongs)]
        sys.stdout.writelines(f"{line}\n" for line in told)
        sys.stdout.flush()
    sys.stdout.write(f"{found} of {last - first} stories are wrong\n")
    return found


if __name__ == "__main__":
    begin, *end = map(int, sys.argv[1:])
    sys.exit(bool(main(begin, end[0] if end else begin + 1)))
