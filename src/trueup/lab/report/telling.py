"""The story of a run, for people: the acts of all parts, with their times and reasons.

The input is the run's facts in order, as `system.recorder.Recorder` gives them, so that checkers
and readers have the same list. The rows of a bot's journal appear in the words of its own audit
trail. Of syncs without a change, only the first is in the story, until another event. At the end,
the story explains the cases of the recovery table that were named.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import msgspec

from trueup.core.invariants import INVARIANTS
from trueup.core.model import DealReason
from trueup.core.quantity import format_lots, format_money, format_price
from trueup.core.recovery import CASES
from trueup.gateway.reading.rows import DEAL_REASONS
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.journal import Record
from trueup.journal.rows import codec
from trueup.lab.facts import facts
from trueup.lab.facts.facts import UNITS, Held, Violation, Working
from trueup.runtime.story.story import AuditWriter
from trueup.runtime.sync.results import SyncStatus
from trueup.sim.market.records import RETCODE_TEXTS

WIDTH = 100
# `lab.world.encore` follows, with orders that no bot asks for.
OVER = "The run is over. Whatever follows tries keys, former writers and lists once more."
_TIME_WIDTH, _WHO_WIDTH = 9, 8
_DEGRADED = "Degraded: "
_SECONDS = re.compile(r"\d+ s\b")
_CASE = re.compile(r"\bcase ([A-L])\b")
# How a deal changes its position.
_WAYS = {
    mt5.DEAL_ENTRY_IN: "into",
    mt5.DEAL_ENTRY_OUT: "out of",
    mt5.DEAL_ENTRY_INOUT: "turning round",
    mt5.DEAL_ENTRY_OUT_BY: "by its opposite out of",
}


class Line(msgspec.Struct, frozen=True):
    """A sentence of the story.

    `who` is the broker, the world, a bot by name, or a case of the recovery table; `kind` is the
    kind of mark in a drawing: fault, broker, request, bot, decision, death, verdict or turn.
    """

    at_ns: int
    who: str
    kind: str
    words: str


def story(
    told: Sequence[facts.Fact], violations: Sequence[Violation] = (), width: int = WIDTH
) -> str:
    """Return the story as text of `width` columns at most."""
    if not told:
        return ""
    begin_ns = told[0].at_ns
    indent = " " * (_TIME_WIDTH + _WHO_WIDTH + 3)
    # Wrapped lines are indented below the words, so that times stay readable as a column.
    written = []
    for line in lines(told, violations):
        seconds = (line.at_ns - begin_ns) / 1e9
        head = f"{seconds:>{_TIME_WIDTH}.3f}  {line.who:<{_WHO_WIDTH}} "
        written += textwrap.wrap(
            head + line.words,
            width,
            subsequent_indent=indent,
            break_on_hyphens=False,
        )
    return "\n".join(written)


def lines(told: Iterable[facts.Fact], violations: Sequence[Violation] = ()) -> Iterator[Line]:
    """Yield the facts as lines, each broken promise after its cause, and at the end the cases."""
    at_ns, named = 0, set[str]()
    for line in _told(told, violations):
        at_ns = line.at_ns
        named.update(_CASE.findall(line.words))
        yield line
    for case in CASES:
        if case.label in named:
            words = f"{case.because}: {case.decision.value}"
            yield Line(at_ns, f"case {case.label}", "turn", words)


def _told(told: Iterable[facts.Fact], violations: Sequence[Violation]) -> Iterator[Line]:
    teller, left = _Telling(), list(violations)
    at_ns = 0
    for fact in told:
        while left and left[0].at_ns < fact.at_ns:
            yield _verdict(left.pop(0))
        at_ns = fact.at_ns
        for who, kind, words in teller.tell(fact):
            yield Line(at_ns, who, kind, words)
    for violation in left:
        yield _verdict(violation)


def _verdict(violation: Violation) -> Line:
    name = INVARIANTS[violation.invariant][0].lower()
    words = f"PROMISE {violation.invariant} ({name}) IS BROKEN: {violation.sentence}"
    return Line(violation.at_ns, "oracle", "verdict", words)


_Said = Iterator[tuple[str, str, str]]


class _Telling:
    """The state that sentences need: positions before a change, and each bot's last sync."""

    def __init__(self) -> None:
        self._positions: dict[tuple[int, int], Held] = {}
        self._orders: dict[tuple[int, int], Working] = {}
        self._audit = AuditWriter()
        self._order_of: dict[str, str] = {}
        self._calm: dict[str, str] = {}
        self._killed = (0, "")
        """The time at which a fault named a bot's place of death, and that bot."""
        # Facts without an entry are not worth a sentence, such as the readings of bots.
        self._tells: dict[type[facts.Fact], Callable[[Any], _Said]] = {
            facts.Began: lambda f: iter([("world", "turn", f.setting)]),
            facts.Faulted: self._faulted,
            facts.Traded: lambda f: iter([("world", "broker", f.what)]),
            facts.Healed: lambda f: iter([("world", "turn", "All faults stop; now agree.")]),
            facts.Agreed: lambda f: iter([("world", "turn", "Agreement is judged.")]),
            facts.Ended: lambda f: iter([("world", "turn", OVER)]),
            facts.PositionShown: self._shown,
            facts.PositionLeft: self._left,
            facts.OrderShown: self._order_shown,
            facts.RestWorks: lambda f: iter(
                [("broker", "broker", f"works on order {f.ticket}: {_lots(f.left)}L are left")]
            ),
            facts.OrderLeft: self._order_left,
            facts.DealBooked: self._booked,
            facts.DealStruck: lambda f: iter(
                [("broker", "broker", f"strikes deal {f.ticket} out, as if it had never been")]
            ),
            facts.Requested: self._requested,
            facts.Started: lambda f: iter(
                [(f.bot, "death", f"starts on a journal of {f.position} events")]
            ),
            facts.Refused: lambda f: iter([(f.bot, "death", f"is not let in: {f.because}")]),
            facts.Died: self._died,
            facts.Fenced: lambda f: iter([(f.bot, "death", "is fenced out of the journal")]),
            facts.JournalLost: lambda f: iter(
                [("world", "fault", f"the journal ends at event {f.position} now")]
            ),
            facts.Journalled: self._journalled,
            facts.Sent: self._sent,
            facts.Synced: self._synced,
            facts.Approved: lambda f: iter(
                [(f.bot, "turn", f"a person says yes about {f.identifier}")]
            ),
            facts.Forced: lambda f: iter([(f.bot, "turn", "a person forces the book")]),
        }

    def tell(self, fact: facts.Fact) -> _Said:
        """Yield the sentences about a fact; none for facts without an entry in the table."""
        tell = self._tells.get(type(fact))
        if tell is None:
            return
        for said in tell(fact):
            if not isinstance(fact, facts.Synced):
                self._calm.clear()
            yield said

    def _faulted(self, fact: facts.Faulted) -> _Said:
        if fact.kind.startswith("KILL_") and fact.kind != "KILL_ANYWHERE":
            self._killed = (fact.at_ns, fact.what.rpartition(": ")[2])
        numbers = " or ".join(map(str, fact.numbers))
        yield "fault", "fault", f"{fact.what} (number {numbers})" if numbers else fact.what

    def _died(self, fact: facts.Died) -> _Said:
        is_said = self._killed == (fact.at_ns, fact.bot)
        yield fact.bot, "death", "dies" if is_said else f"dies: {fact.where}"

    # The broker.

    def _shown(self, fact: facts.PositionShown) -> _Said:
        # The fact has the whole position; a sentence names only the differences.
        key, held = (fact.login, fact.position.identifier), fact.position
        before = self._positions.get(key)
        self._positions[key] = held
        if before is None:
            at = f"@ {format_price(held.price_open)}{_stops(held.sl, held.tp)}"
            magic = f", magic {held.magic}" if held.magic else ""
            yield "broker", "broker", f"opens {_position(held)} {at}{magic}"
            return
        changes = [
            text
            for name, text in (
                ("units", f"{_lots(before.units)}L → {_lots(held.units)}L"),
                ("side", f"{_side(before)} → {_side(held)}"),
                ("ticket", f"ticket {before.ticket} → {held.ticket}"),
                ("sl", f"stop loss {_level(before.sl)} → {_level(held.sl)}"),
                ("tp", f"take profit {_level(before.tp)} → {_level(held.tp)}"),
                ("magic", f"magic {before.magic} → {held.magic}"),
            )
            if getattr(before, name) != getattr(held, name)
        ]
        if changes:
            yield "broker", "broker", f"changes position {held.identifier}: {', '.join(changes)}"

    def _left(self, fact: facts.PositionLeft) -> _Said:
        held = self._positions.pop((fact.login, fact.identifier), None)
        what = _position(held) if held is not None else f"position {fact.identifier}"
        yield "broker", "broker", f"closes {what}"

    def _order_shown(self, fact: facts.OrderShown) -> _Said:
        key, order = (fact.login, fact.order.ticket), fact.order
        before = self._orders.get(key)
        self._orders[key] = order
        if before is None:
            yield "broker", "broker", f"places {_working(order)}"
        elif before != order:
            yield "broker", "broker", f"changes pending order {order.ticket}: {_working(order)}"

    def _order_left(self, fact: facts.OrderLeft) -> _Said:
        order = self._orders.pop((fact.login, fact.ticket), None)
        if order is not None:
            yield "broker", "broker", f"has no pending order {fact.ticket} any more"

    def _booked(self, fact: facts.DealBooked) -> _Said:
        if not fact.symbol:
            return
        verb = "bought" if fact.buys else "sold"
        why = DEAL_REASONS.get(fact.reason, DealReason.OTHER).value
        what = f"{verb} {_lots(fact.units)}L {fact.symbol} @ {format_price(fact.price)} {why}"
        money = format_money(fact.result_units / UNITS)
        # An entry has no profit; its only result is costs.
        says = "commission" if fact.entry == mt5.DEAL_ENTRY_IN else "which brought"
        brought = f", {says} {money}" if fact.result_units else ""
        way = _WAYS.get(fact.entry, "of")
        yield (
            "broker",
            "broker",
            f"books deal {fact.ticket} {way} position {fact.identifier}: {what}{brought}",
        )

    def _requested(self, fact: facts.Requested) -> _Said:
        name = self._order_of.get(fact.comment, "")
        whose = f"{name} " if name else ""
        if fact.done:
            is_deal = fact.action in (mt5.TRADE_ACTION_DEAL, mt5.TRADE_ACTION_CLOSE_BY)
            is_new = is_deal or fact.action == mt5.TRADE_ACTION_PENDING
            order = f" as order {fact.order}" if fact.order and is_new else ""
            verb = "executes" if is_deal else "accepts"
            yield "broker", "request", f"{verb} {whose}{_asked(fact)}{order}"
        else:
            text = RETCODE_TEXTS.get(fact.retcode, "")
            yield "broker", "request", f"refuses {whose}{_asked(fact)}: {fact.retcode} {text}"

    # The bots.

    def _journalled(self, fact: facts.Journalled) -> _Said:
        event = codec.decode(fact.position, fact.kind, fact.payload)
        told = self._audit.row_of(Record(fact.position, fact.at_ns, fact.kind, event, b""))
        if told.action == "INTENT":
            token = getattr(event, "token", "")
            self._order_of[token] = told.order_id or ""
        if told.action == "SENT":
            return
        is_own = told.action in ("INTENT", "FILLED", "APPLIED", "REJECTED", "IN_DOUBT")
        kind = "bot" if is_own else "decision"
        about = f" ticket {told.ticket}:" if told.ticket and not is_own else ""
        yield fact.bot, kind, f"[{fact.position}] {told.action}{about} {told.details}"

    def _sent(self, fact: facts.Sent) -> _Said:
        order_id = msgspec.json.decode(fact.message).get("order_id", "")
        yield fact.bot, "bot", f"sends {order_id}"

    def _synced(self, fact: facts.Synced) -> _Said:
        what = f"looks at the broker: {_seen(fact)}"
        # A sentence that differs only in a waiting time is no news.
        calm = _SECONDS.sub("", what)
        if self._calm.get(fact.bot) == calm:
            return
        self._calm[fact.bot] = calm
        yield fact.bot, "bot", what


def _seen(fact: facts.Synced) -> str:
    """Return the result of a sync in words. Trusted readings need no status beside the words."""
    if fact.believed and fact.said:
        if fact.said.startswith(_DEGRADED):
            return f"it answers, but {fact.said.removeprefix(_DEGRADED)}"
        return fact.said.replace(" (checked 0 s ago)", "")
    said = fact.said
    if not said and fact.status == SyncStatus.FAILED.value:
        said = "The journal did not take the result"
    return f"{fact.status}. {said}" if said else fact.status


def _lots(units: int) -> str:
    return format_lots(units / UNITS)


def _level(price: float) -> str:
    return format_price(price) if price else "none"


def _stops(sl: float, tp: float) -> str:
    said = [f"{name} {format_price(level)}" for name, level in (("SL", sl), ("TP", tp)) if level]
    return f", {', '.join(said)}" if said else ""


def _side(held: Held) -> str:
    return "LONG" if held.side == "buy" else "SHORT"


def _position(held: Held) -> str:
    side = _side(held)
    ticket = f", ticket {held.ticket}" if held.ticket != held.identifier else ""
    return f"position {held.identifier}{ticket}: {side} {_lots(held.units)}L {held.symbol}"


def _working(order: Working) -> str:
    kind = order.type.replace("_", " ").upper()
    at = f"@ {format_price(order.price_open)}{_stops(order.sl, order.tp)}"
    return f"{order.ticket}: {kind} {_lots(order.units)}L {order.symbol} {at}"


def _asked(fact: facts.Requested) -> str:
    # These actions have no volume or side of their own.
    match fact.action:
        case mt5.TRADE_ACTION_SLTP:
            return f"new stops of {fact.position}"
        case mt5.TRADE_ACTION_REMOVE:
            return (
                f"the cancellation of pending order {fact.order}"
                if fact.order
                else "a cancellation"
            )
        case mt5.TRADE_ACTION_MODIFY:
            return (
                f"a change of pending order {fact.order}" if fact.order else "a change of an order"
            )
        case mt5.TRADE_ACTION_CLOSE_BY:
            return f"the close of {fact.position} by its opposite"
    side = "BUY" if fact.buys else "SELL"
    lots = f" {_lots(fact.units)}L" if fact.units else ""
    held = ("short " if fact.buys else "long ") if fact.units else ""
    closing = f" closing {held}{fact.position}" if fact.position else ""
    if fact.action == mt5.TRADE_ACTION_PENDING:
        side = f"pending {side}"
    return f"({side if fact.units else 'an order'}{lots} {fact.symbol}{closing})"
