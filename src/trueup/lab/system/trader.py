"""The wishes of a bot's owner: orders drawn from the seed, with keys that outlive the bot."""

from __future__ import annotations

import contextlib
import random
from typing import TYPE_CHECKING

from trueup.core.book.events import OrderKind
from trueup.core.book.lifecycle import OrderStatus
from trueup.core.book.order import Order
from trueup.errors import JournalConflict, JournalError, NotSent, Refused
from trueup.lab.facts.facts import UNITS, Acted
from trueup.lab.plan.plan import FaultPlan
from trueup.lab.system.schedule import MS
from trueup.runtime.bot.answers import create_fill_response
from trueup.runtime.bot.portfolio import PortfolioManager
from trueup.runtime.trading.loop import TradingLoop

if TYPE_CHECKING:
    from trueup.lab.system.bot import BotProcess

WISHES = ("open", "open", "open", "close", "close", "part", "stops", "place", "cancel")
MOST_POSITIONS = 12
# The number of last orders that the owner asks for again after a start.
ASKED_AGAIN = 3
# How often a key of before is used for another wish, which is refused and so changes nothing.
MISUSES = 0.2
# The share of runs in which positions are closed by each other.
CLOSES_BY = 0.3


class Wanderer:
    """Opens, closes, modifies, places and cancels at random, and asks again after a crash.

    `magic` is the magic number of the bot's book and of its orders.
    """

    def __init__(self, plan: FaultPlan, name: str, magic: int) -> None:
        self._chance: random.Random = plan.chance(f"trader {name}")
        self._every_ms = plan.setting.wish_every_ms
        self._name = name
        self.magic: int = magic
        self._next_ns = 0
        self._count = 0
        self._asked: list[tuple[str, str, float, dict[str, float]]] = []
        # A generator of its own, so that these questions leave all other wishes as they are.
        self._misuse: random.Random = plan.chance(f"misuse {name}")
        # In some runs the owner closes positions by each other.
        is_hedging = not plan.setting.netting and plan.setting.proves
        self._closes_by = is_hedging and plan.chance("closes by").random() < CLOSES_BY
        # The book of the last process, and the orders to ask its successor for again.
        self._pm: PortfolioManager | None = None
        self._once_more: list[tuple[str, str, float, dict[str, float]]] = []
        self.is_quiet = False
        self.lots_unit: float = 0.01
        """The volume step; all orders are multiples of the step."""

    def act(self, bot: BotProcess, loop: TradingLoop) -> None:
        """Ask for an order if an order is due."""
        # Without a price or a first sync, the product would refuse every order.
        now_ns = bot.schedule.now_ns
        if self.is_quiet or now_ns < self._next_ns or loop.tick is None:
            return
        if loop.reconciler.last_sync_time is None:
            return
        self._next_ns = now_ns + round(self._every_ms * (0.5 + self._chance.random())) * MS
        # Refusals are part of the run; losing the journal ends the process.
        try:
            order = self._ask(loop.pm, loop.tick.bid)
        except JournalConflict:
            raise
        except (Refused, NotSent, ValueError, JournalError):
            return
        if order is not None:
            self._tell_again(loop.pm, order)
            bot.observe(_acted(bot, order))
            self._misuse_key(bot, loop.pm, order)

    def _misuse_key(self, bot: BotProcess, pm: PortfolioManager, order: Order) -> None:
        """Now and then use the key of an order for an entry that is another wish."""
        # A key that the book does not have, as in a journal put back, would send an order.
        known = pm.book.by_key.get(order.key)
        if self._misuse.random() >= MISUSES or known is None:
            return
        is_entry = known.kind is OrderKind.MARKET and not known.position
        lots = round(known.volume + self.lots_unit, 3) if is_entry else known.volume
        try:
            answer = pm.submit(known.side, lots, key=known.key)
        except (Refused, NotSent, ValueError, JournalError):
            return
        asked = (OrderKind.MARKET.value, known.side.value, round(lots * UNITS), 0)
        bot.observe(_acted(bot, answer, asked))

    def _tell_again(self, pm: PortfolioManager, order: Order) -> None:
        """Now and then report a known fill to the book again, like a gateway that repeats fills."""
        if order.status is not OrderStatus.FILLED or order.kind is not OrderKind.MARKET:
            return
        if self._chance.random() < 0.2:
            fill = create_fill_response(
                order.order_id, order.ticket or 0, 1.1, order.volume, clock=pm.clock
            )
            with contextlib.suppress(JournalError):
                pm.on_fill(fill)

    def _ask(self, pm: PortfolioManager, bid: float) -> Order | None:
        if pm is not self._pm:
            # A job that is started anew asks for its last orders again, under the same keys.
            self._pm, self._once_more = pm, self._asked[-ASKED_AGAIN:]
        if self._once_more:
            key, side, lots, extra = self._once_more.pop()
            return pm.submit(side, lots, key=key, **extra)  # type: ignore[arg-type]
        again = bool(self._asked) and self._chance.random() < 0.2
        if not again:
            self._count += 1
        key = f"{self._name} {self._count}"
        wish = self._chance.choice(WISHES)
        if again:
            # Mostly the last order, and sometimes an order that ended long ago.
            is_last = self._chance.random() < 0.6
            key, side, lots, extra = (
                self._asked[-1] if is_last else self._chance.choice(self._asked)
            )
            return pm.submit(side, lots, key=key, **extra)  # type: ignore[arg-type]
        # Limits keep the run short; a wish beyond a limit falls through to the next rules.
        held = [one.position for one in pm.book.holdings.values()]
        if wish == "open" and len(held) < MOST_POSITIONS:
            return self._open(pm, key, bid)
        if wish == "place" and len(pm.book.pending) < 4:
            return self._place(pm, key, bid)
        if wish == "cancel" and pm.book.pending:
            return pm.cancel(self._chance.choice(list(pm.book.pending)), key=key)
        if not held:
            return None
        one = self._chance.choice(held)
        if wish == "close":
            against = [other for other in held if other.side is not one.side]
            if against and self._closes_by:
                return self._close_by(pm, one.ticket, against[-1].ticket, key)
            return pm.close(one.ticket, key=key)
        if wish == "part":
            return pm.close(one.ticket, self.lots_unit, key=key)
        if wish == "stops":
            sign = one.side.sign
            away = self._chance.choice((0.002, 0.005))
            sl, tp = round(bid - sign * away, 5), round(bid + sign * away, 5)
            return pm.modify(one.ticket, sl, tp, key=key)
        return None

    def _close_by(self, pm: PortfolioManager, ticket: int, other: int, key: str) -> Order:
        """Close two positions by each other, and the second once more while that is in doubt."""
        order = pm.close_by(ticket, other, key=key)
        if order.status is OrderStatus.IN_DOUBT:
            with contextlib.suppress(Refused, ValueError):
                pm.close(other, key=f"{key} again")
        return order

    def _open(self, pm: PortfolioManager, key: str, bid: float) -> Order:
        side = self._chance.choice(("buy", "sell"))
        lots = round(self._chance.randint(1, 5) * self.lots_unit, 3)
        extra: dict[str, float] = {}
        if self._chance.random() < 0.4:
            sign = 1 if side == "buy" else -1
            extra = {"sl": round(bid - sign * 0.003, 5), "tp": round(bid + sign * 0.003, 5)}
        self._asked.append((key, side, lots, extra))
        return pm.submit(side, lots, key=key, **extra)  # type: ignore[arg-type]

    def _place(self, pm: PortfolioManager, key: str, bid: float) -> Order:
        side = self._chance.choice(("buy", "sell"))
        away = self._chance.choice((0.0005, 0.01))
        limit = round(bid - away if side == "buy" else bid + away, 5)
        extra = {"limit": limit}
        lots = round(self._chance.randint(1, 5) * self.lots_unit, 3)
        self._asked.append((key, side, lots, extra))
        return pm.submit(side, lots, key=key, **extra)  # type: ignore[arg-type]


def _acted(bot: BotProcess, order: Order, asked: tuple[str, str, int, int] | None = None) -> Acted:
    return Acted(
        bot.schedule.now_ns,
        bot=bot.name,
        order_id=order.order_id,
        wish=f"{order.kind.value} {order.action} {order.volume}",
        status=order.status.value,
        asked=asked,
    )
