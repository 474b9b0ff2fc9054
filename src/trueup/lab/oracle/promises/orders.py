"""Promises 2 and 4: an intent is executed at most once, and none reaches the broker unrecorded."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from trueup.lab.facts import facts
from trueup.lab.oracle.base.checker import Checker, Step

_read = msgspec.json.Decoder().decode
_TOKEN = re.compile(r"t[a-z2-7]{8}")
_TRADES = frozenset({"BUY", "SELL"})
_PENDING = frozenset({"limit", "stop"})
FILLS = frozenset({"OrderFilled", "OrderSettled"})
# The fault by which the server refuses an order and still executes the order.
LIE = "REFUSED_EXECUTED"
# What a gateway writes in place of a byte that is no text.
DAMAGED = "?"
MARKET = 1
"""MetaTrader's number of a market order, TRADE_ACTION_DEAL."""
STOPS = 6
"""MetaTrader's number of a change of stops, TRADE_ACTION_SLTP."""


def order_in(message: bytes) -> dict[str, Any]:
    """Return a request that asks the broker for a change, or an empty one."""
    request = _read(message)
    return request if "order_id" in request else {}


class AtMostOnce(Checker):
    """Counts executions by the token that a request carried when it arrived.

    An execution must match its intent: side, volume, symbol, magic number and stops. The journal's
    outcome of an order is compared with the true outcome: an execution recorded as a rejection is
    the usual cause of a second send. If the server itself lied about an order, no journal can know
    of the execution; a second execution is still judged. Changes of stops and cancellations carry
    no token, and have the same effect done once or twice; the stops that were set are compared with
    the intents for that position that may have been sent.
    """

    number = 2
    promise = "one intent never leads to two executions"

    def steps(self) -> Mapping[type[facts.Fact], Step]:
        """Judge executions, and the executions that the journal records."""
        self._executed: dict[str, facts.Requested] = {}
        self._accepted: dict[int, facts.Requested] = {}
        # Executed requests whose comment lost a byte on the way, by the ticket of the order.
        self._damaged: dict[int, facts.Requested] = {}
        self._dealt: set[int] = set()
        self._keys: dict[str, str] = {}
        # The order id of each key in the journal.
        self._intended: dict[str, str] = {}
        self._denied: dict[str, str] = {}
        self._filled: Counter[str] = Counter()
        self._lied_about: set[str] = set()
        # All stop losses and take profits that a position ever had, by identifier and ticket.
        self._stops: dict[int, set[tuple[float, float]]] = defaultdict(set)
        # All tickets that a position ever had, by identifier.
        self._tickets: dict[int, set[int]] = defaultdict(set)
        # The tickets of the fills in the journal, and the positions that the journal has closed.
        self._known_fills: set[int] = set()
        self._symbols: dict[int, str] = {}
        self._known_closed: set[int] = set()
        # The lots (units) of each recorded fill of a market order, by order id.
        self._recorded: dict[str, int] = {}
        # The order of each deal, and the orders of deals that the broker took back.
        self._order_of: dict[int, int] = {}
        self._taken_back: set[int] = set()
        return {
            facts.Faulted: self._faulted,
            facts.Acted: self._acted,
            facts.Sent: self._sent,
            facts.Agreed: self._agreed,
            facts.Requested: self._requested,
            facts.DealBooked: self._booked,
            facts.DealStruck: self._struck,
            facts.PositionShown: self._shown,
            facts.Journalled: self._journalled,
            facts.JournalLost: self._lost,
        }

    def _lost(self, fact: facts.JournalLost) -> Iterator[str]:
        # Count the fills of the remaining journal; the keys of executed orders still hold.
        self._filled = Counter()
        self._intended = {
            intent["key"]: order_id
            for order_id, intent in self.papers.intent_of.items()
            if intent.get("key")
        }
        self._recorded = {}
        for row in self.papers.rows:
            if row.kind in FILLS:
                told = _read(row.payload)
                self._filled[told["order_id"]] += 1
                self._recorded[told["order_id"]] = round(told["volume"] * facts.UNITS)
        yield from ()

    def _faulted(self, fact: facts.Faulted) -> Iterator[str]:
        if fact.kind == LIE:
            self._lied_about.add(fact.order_id)
        yield from ()

    def _shown(self, fact: facts.PositionShown) -> Iterator[str]:
        held = fact.position
        if fact.login == self.scope.login:
            self._tickets[held.identifier].add(held.ticket)
            for name in self._names(held):
                self._stops[name].add((held.sl, held.tp))
        yield from ()

    def _names(self, held: facts.Held) -> set[int]:
        """Return the numbers by which an intent may name a position.

        On a netting account, our reversal gives the position the ticket of the reversing order. A
        bot that does not know the reversed position yet can name it only by that ticket, and goes
        on to do so after further reversals.

        The broker may have closed a position that a book still has, as by a stop. Our next fill
        then opens another position, and the book takes that fill for a reversal: the book keeps
        the number of the ended position until a reading shows the end, and its order for the stops
        carries the ticket of the fill, which names the right position.
        """
        if not self.scope.books_net:
            return {held.identifier}
        names = {held.identifier, held.ticket}
        names |= self._tickets[held.identifier] & self._known_fills
        if held.ticket in self._known_fills:
            names |= {
                ended
                for ended in self.truth.deals.keys() - self.truth.positions.keys()
                if ended not in self._known_closed
                and self.truth.symbol_of.get(ended) == held.symbol
            }
            # Our fill may have closed a position that the book did not have: then the book names a
            # position by that fill, and our next fill opens another one.
            names |= {
                fill
                for fill in self._known_fills - self.truth.deals.keys()
                if self._symbols.get(fill) == held.symbol
            }
        return names

    def _as_meant(self, fact: facts.Requested) -> Iterator[str]:
        """Compare an executed change of stops with the intents for that position.

        The request carries no token, so position and levels must be those of an intent to change
        stops that may have been sent.
        """
        positions = self.truth.positions.values()
        held = next((one for one in positions if one.ticket == fact.position), None)
        wanted = (held.identifier if held else 0, fact.sl, fact.tp)
        names = self._names(held) if held else {0}
        # Intents of the journal count once their send was recorded, lost intents always: a lost
        # journal no longer shows whether they were sent.
        meant = [
            (intent["position"], intent.get("sl", 0.0), intent.get("tp", 0.0))
            for order_id, intent in self.papers.intent_of.items()
            if intent.get("kind") == "modify" and order_id in self.papers.started
        ]
        meant += [
            (intent["position"], intent.get("sl", 0.0), intent.get("tp", 0.0))
            for intent in self.papers.lost.values()
            if intent.get("kind") == "modify"
        ]
        if not any((name, *wanted[1:]) in meant for name in names):
            yield f"the stops of position {wanted[0]} were set to {wanted[1:]}, and none meant that"
        elif held is not None and (held.sl, held.tp) != wanted[1:]:
            yield f"position {wanted[0]} has the stops {held.sl}, {held.tp}, and {wanted[1:]} meant"

    def _requested(self, fact: facts.Requested) -> Iterator[str]:
        if not fact.done or fact.login != self.scope.login:
            return
        if fact.action == STOPS:
            yield from self._as_meant(fact)
        if self.papers.meant(fact.comment) is None:
            if DAMAGED in fact.comment:
                self._damaged[fact.order] = fact
            return
        # A market order that is accepted first (10008) is executed when its deal is booked.
        self._accepted[fact.order] = fact
        if fact.action != MARKET or fact.order in self._dealt:
            yield from self._execute(fact)

    def _struck(self, fact: facts.DealStruck) -> Iterator[str]:
        self._taken_back.add(self._order_of.get(fact.ticket, 0))
        yield from ()

    def _booked(self, fact: facts.DealBooked) -> Iterator[str]:
        self._order_of[fact.ticket] = fact.order
        if not fact.units:
            self._taken_back.add(fact.order)
        if fact.order in self._dealt:
            return
        self._dealt.add(fact.order)
        request = self._accepted.get(fact.order)
        if request is not None and request.action == MARKET:
            yield from self._execute(request)

    def _execute(self, fact: facts.Requested) -> Iterator[str]:
        intent = self.papers.meant(fact.comment)
        assert intent is not None
        order_id, key = intent["order_id"], intent.get("key", "")
        if order_id in self._executed:
            first = self._executed[order_id].order
            yield f"{order_id} was executed twice: as order {first} and as order {fact.order}"
            return
        self._executed[order_id] = fact
        if key and self._keys.setdefault(key, order_id) != order_id:
            yield f"key {key} was executed as {self._keys[key]} and as {order_id}"
        if order_id in self._denied:
            said = self._denied[order_id]
            yield f"{order_id} was recorded as {said} and then executed as order {fact.order}"
        # A close by another position names the two only.
        if intent.get("kind") != "close_by":
            yield from _otherwise(fact, intent)

    def _journalled(self, fact: facts.Journalled) -> Iterator[str]:
        self._learn(fact.kind)
        order_id = self.papers.row.get("order_id", "")
        done = self._executed.get(order_id)
        # A key that stands for two orders would trade twice.
        key = self.papers.row.get("key", "") if fact.kind == "OrderCreated" else ""
        if key and self._intended.setdefault(key, order_id) != order_id:
            yield f"key {key} is {self._intended[key]} in the journal, and {order_id} as well"
        if not self.scope.proves and _is_unproven(self.papers.row):
            # The gateway shows nothing but a list, and the row calls itself unproven.
            return
        if fact.kind in ("OrderRejected", "OrderCanceled"):
            if order_id in self._lied_about:
                return
            said = "rejected" if fact.kind == "OrderRejected" else "not executed"
            if done is not None and not self._came_to_nothing(done):
                yield f"{order_id} is recorded as {said}, and it is order {done.order}"
            self._denied[order_id] = said
        elif fact.kind == "OrderApplied":
            yield from self._placed(order_id, done)
            yield from self._applied(order_id)
        elif fact.kind in FILLS:
            self._filled[order_id] += 1
            if self._filled[order_id] > 1:
                yield f"the fill of {order_id} was counted {self._filled[order_id]} times"
            yield from self._fits(fact.kind, order_id, done)
            self._recorded[order_id] = round(self.papers.row["volume"] * facts.UNITS)

    def _sent(self, fact: facts.Sent) -> Iterator[str]:
        """Judge a close of a position that an order in doubt may have closed already."""
        order_id = order_in(fact.message).get("order_id", "")
        wanted = _closed_by(self.papers.intent_of.get(order_id, {}))
        for other in self.papers.unended if wanted else ():
            intent = self.papers.intent_of.get(other, {})
            if other != order_id and wanted & _closed_by(intent):
                yield f"{order_id} closes {min(wanted)}, which {other} may have closed already"

    def _acted(self, fact: facts.Acted) -> Iterator[str]:
        """Compare an order that a key named with what was asked for under the key."""
        intent = self.papers.intent_of.get(fact.order_id)
        if fact.asked is None or intent is None:
            return
        found = (
            intent.get("kind", "market"),
            intent["side"],
            round(intent["volume"] * facts.UNITS),
            intent.get("position", 0),
        )
        if found != fact.asked:
            key = intent.get("key", "")
            yield f"key {key} was used for {found}, and was taken for {fact.asked} as well"

    def _agreed(self, fact: facts.Agreed) -> Iterator[str]:
        """Compare the lots of each recorded fill with the broker's deals of that order."""
        dealt: Counter[int] = Counter()
        for made in self.truth.deals.values():
            for deal in made.values():
                dealt[deal.order] += deal.units
        for order_id, units in self._recorded.items() if self.scope.proves else ():
            done = self._executed.get(order_id)
            if done is None or done.action != MARKET or order_id in self._lied_about:
                continue
            # Nobody can say how many lots a deal moved that the broker has taken back since.
            if units != dealt[done.order] and done.order not in self._taken_back:
                lots, made_lots = units / facts.UNITS, dealt[done.order] / facts.UNITS
                yield f"{order_id} is recorded with {lots} lots, and its deals have {made_lots}"

    def _learn(self, kind: str) -> None:
        """Remember which fills and ends of positions the journal has."""
        if kind == "OrderFilled":
            self._known_fills.add(self.papers.row["ticket"])
            self._symbols[self.papers.row["ticket"]] = self.papers.row["symbol"]
        elif kind == "PositionClosed":
            self._known_closed.add(self.papers.row["position"]["identifier"])
        elif kind == "PositionAdopted":
            self._known_closed.discard(self.papers.row["position"]["identifier"])

    def _came_to_nothing(self, done: facts.Requested) -> bool:
        """Return whether a pending order was placed, and ended without a deal."""
        works = done.order in self.truth.orders
        return done.action != MARKET and not works and done.order not in self._dealt

    def _fits(self, kind: str, order_id: str, done: facts.Requested | None) -> Iterator[str]:
        """Compare a recorded fill with the broker's execution of that order's own token."""
        row, intent = self.papers.row, self.papers.intent_of.get(order_id, {})
        if intent.get("kind", "market") != "market":
            yield from self._placed(order_id, done)
            return
        if done is None:
            done = self._damaged.get(row["ticket"])
            if done is not None and any(_otherwise(done, intent)):
                done = None
        if done is None:
            # A trade of another program under our magic number may match the intent exactly; the
            # trade of another order of ours never counts.
            is_ours = row["ticket"] in self._accepted
            if kind == "OrderFilled" or is_ours or row["ticket"] not in self._dealt:
                yield f"{order_id} is recorded as filled, and the broker never executed it"
            return
        if kind == "OrderFilled" and row["ticket"] not in (done.order, done.position):
            yield f"{order_id} is order {done.order}, and its recorded fill is of {row['ticket']}"
        yield from self._at_its_price(order_id, done)
        if round(row["volume"] * facts.UNITS) > done.units:
            lots = done.units / facts.UNITS
            yield f"{order_id} asked for {lots} lots, and its recorded fill is {row['volume']}"
        # Its lots are not known before its rest is over.
        if self.scope.proves and done.order in self.truth.rests:
            left = self.truth.rests[done.order] / facts.UNITS
            yield f"{order_id} is recorded as filled, and {left} lots of it still work"

    def _applied(self, order_id: str) -> Iterator[str]:
        """Check that stops recorded as set were truly set for the position at some time."""
        intent = self.papers.intent_of.get(order_id, {})
        if intent.get("kind") != "modify":
            return
        stops, position = (intent.get("sl", 0.0), intent.get("tp", 0.0)), intent["position"]
        names = {position}
        if (intent.get("token") or order_id) in self.papers.lost:
            # The gateway's record has the position's ticket of then, and the position may be gone.
            names |= {held for held, tickets in self._tickets.items() if position in tickets}
        if not any(stops in self._stops[name] for name in names):
            yield f"{order_id} is recorded as done, and the position never had the stops {stops}"

    def _at_its_price(self, order_id: str, done: facts.Requested) -> Iterator[str]:
        """Compare the price of a recorded fill with its order's deals, if the row has all deals."""
        row = self.papers.row
        deals = [
            deal
            for made in self.truth.deals.values()
            for deal in made.values()
            if deal.order == done.order and deal.units
        ]
        units = sum(deal.units for deal in deals)
        if not units or units != round(row["volume"] * facts.UNITS) or not row.get("price"):
            return
        price = sum(deal.price * deal.units for deal in deals) / units
        if abs(price - row["price"]) > self.scope.price_grain:
            yield f"{order_id} was filled at {price:.8f}, and its recorded fill at {row['price']}"

    def _placed(self, order_id: str, done: facts.Requested | None) -> Iterator[str]:
        """Compare a recorded pending order with the broker's order of that token."""
        row, intent = self.papers.row, self.papers.intent_of.get(order_id, {})
        if intent.get("kind", "market") not in _PENDING or not row.get("ticket"):
            return
        if not self.scope.proves:
            # The guide's wire has no list of orders: the row has the position's ticket instead.
            return
        if done is None and row["ticket"] in self._accepted:
            yield f"{order_id} is recorded as {row['ticket']}, which is another order of ours"
        elif done is not None and row["ticket"] != done.order:
            yield f"{order_id} is order {done.order}, and it is recorded as {row['ticket']}"


def _closed_by(intent: Mapping[str, Any]) -> set[int]:
    """Return the positions that an order may close."""
    if intent.get("kind", "market") not in ("market", "close_by"):
        return set()
    return {intent.get("position", 0), intent.get("position_by", 0)} - {0}


def _is_unproven(row: Mapping[str, Any]) -> bool:
    """Return whether a row calls itself unproven."""
    return bool(row.get("unproven")) or "unproven" in row.get("because", "")


def _otherwise(done: facts.Requested, intent: Mapping[str, Any]) -> Iterator[str]:
    """Yield the differences between an execution and its intent."""
    meant = {
        "symbol": intent["symbol"],
        "buys": intent["side"] == "buy",
        "units": round(intent["volume"] * facts.UNITS),
        "magic": intent.get("wire_magic", 0),
        "sl": intent.get("sl", 0.0),
        "tp": intent.get("tp", 0.0),
    }
    for name, wanted in meant.items():
        found = getattr(done, name)
        if found != wanted:
            yield f"{intent['order_id']} was executed with {name} {found}, and {wanted} was meant"


class NoLostIntent(Checker):
    """Looks for orders that were sent or executed without a journal row, and for lost rows."""

    number = 4
    promise = "every order that reached the broker is in the journal, at every crash point"

    def steps(self) -> Mapping[type[facts.Fact], Step]:
        """Judge sends, executions, and the journal found at a start."""
        self._position = 0
        return {
            facts.JournalLost: self._lost,
            facts.Sent: self._sent,
            facts.Requested: self._requested,
            facts.Started: self._started,
            facts.Journalled: self._journalled,
        }

    def _journalled(self, fact: facts.Journalled) -> Iterator[str]:
        if fact.position != self._position + 1:
            yield f"the journal goes from event {self._position} to event {fact.position}"
        self._position = fact.position

    def _lost(self, fact: facts.JournalLost) -> Iterator[str]:
        if fact.position < self._position and not fact.put_back:
            lost = self._position - fact.position
            yield f"the journal lost {lost} events that were on its disk, with the power"
        self._position = fact.position

    def _started(self, fact: facts.Started) -> Iterator[str]:
        if fact.position < self._position:
            yield (
                f"{fact.bot} found {fact.position} events in the journal, which had acknowledged "
                f"{self._position}"
            )
            self._position = fact.position

    def _sent(self, fact: facts.Sent) -> Iterator[str]:
        request = order_in(fact.message)
        if not request:
            return
        # The intent must be durable before the send: after a crash, only the journal is left.
        order_id = request["order_id"]
        intent = self.papers.intent_of.get(order_id)
        if intent is None:
            yield f"{fact.bot} sent {order_id} before its intent was in the journal"
            return
        if intent.get("by_desk") and order_id not in self.papers.started:
            yield f"{fact.bot} sent {order_id} before the journal said that it may have left"
        if request["action"] in _TRADES:
            asked = (request["symbol"], request["action"].lower(), request["volume"])
            recorded = (intent["symbol"], intent["side"], intent["volume"])
            if asked != recorded:
                yield f"{order_id} asks for {asked}, and its recorded intent is {recorded}"

    def _requested(self, fact: facts.Requested) -> Iterator[str]:
        is_token = _TOKEN.fullmatch(fact.comment) is not None
        if fact.done and is_token and self.papers.meant(fact.comment) is None:
            yield (
                f"order {fact.order} with token {fact.comment} was executed, and no intent in the "
                "journal has that token"
            )
