"""One difference at a time: corrected, or held with a reason.

Each function here takes one difference and the look it was found in, and adds events and holds to
an outcome. None of them asks for anything; what they would need to know goes into the outcome's
questions.
"""

from __future__ import annotations

import msgspec

from trueup.core import events
from trueup.core.book import MADE_BY_DEALS, Book, Holding
from trueup.core.diff import PROTECTION, Diff, Drift, Ghost, Zombie
from trueup.core.explain import (
    History,
    exit_of,
    exit_sentence,
    history_of,
    reopened_as,
)
from trueup.core.holds import Hold, HoldKind
from trueup.core.ids import step_id
from trueup.core.model import (
    PendingOrder,
    Position,
    Snapshot,
    describe,
    describe_at,
    describe_order,
)
from trueup.core.policy import Action, Adopt, Policy
from trueup.core.quantity import FINEST_STEP, format_lots, format_price, from_units, same
from trueup.core.recovery import BrokerShows, Case, Decision, JournalSays, decide
from trueup.core.settle import LONGEST_MS

UNPROVEN = "absent from the broker's list; this gateway shows no deals, so unproven"
NEXT_READING = "the next reading"


class Look(msgspec.Struct, frozen=True):
    """One look at the broker: everything a decision may depend on."""

    book: Book
    snapshot: Snapshot
    policy: Policy
    asked_version: int
    asked_ns: int
    now_ns: int
    settle_ns: int
    approved: frozenset[str]

    def is_settling(self, touched_ns: int) -> bool:
        """Return whether we touched it so shortly before the question that it may not show yet."""
        is_proven = self.snapshot.evidence is not None
        return is_proven and touched_ns > 0 and self.asked_ns - touched_ns < self.settle_ns

    def is_recent(self, touched_ns: int) -> bool:
        """Return whether we touched it within the longest time that any broker is given."""
        return bool(self.settle_ns) and self.asked_ns - touched_ns < LONGEST_MS * 1_000_000

    def history(self, identifier: int) -> History | None:
        """Return the deals of a position, or None when they were not asked for or not readable."""
        evidence = self.snapshot.evidence
        if evidence is None or identifier not in evidence.explained:
            return None
        return history_of(identifier, evidence.deals)

    def half_step_base(self, symbol: str) -> float:
        """Return the volume step (lots) to compare a symbol's volumes with."""
        specs = self.snapshot.evidence.specs if self.snapshot.evidence else ()
        return next((s.volume_step for s in specs if s.symbol == symbol), FINEST_STEP)


class Outcome:
    """What the differences of one look come to."""

    def __init__(self) -> None:
        self.events: list[events.Event] = []
        self.holds: list[Hold] = []
        self.questions: list[int] = []
        self.order_questions: list[int] = []

    def add(self, other: Outcome) -> None:
        """Append what another outcome has."""
        self.events += other.events
        self.holds += other.holds
        self.questions += other.questions
        self.order_questions += other.order_questions

    def put_first(self, other: Outcome) -> None:
        """Put what another outcome has before what is here."""
        self.events[:0] = other.events
        self.holds[:0] = other.holds

    def propose(
        self,
        kind: str,
        row: Position | PendingOrder,
        action: Action,
        look: Look,
        *changes: events.Event,
    ) -> bool:
        """Take changes into the plan, or hold them where the policy wants a yes or only a look.

        Returns whether they were taken.
        """
        if action is Action.APPLY:
            self.events += changes
            return True
        wanted = step_id(kind, row)
        if action is Action.ASK and wanted in look.approved:
            self.events += changes
            return True
        what = f"{kind} on ticket {row.ticket}, {_figures(kind, row)},"
        if action is Action.ASK:
            reason, until = f"{what} waits for a yes", f"trueup approve {wanted}"
        else:
            reason, until = f"{what} is shown and not corrected, as the policy says", "a person"
        kind_of_hold = HoldKind.ASK if action is Action.ASK else HoldKind.ALERT
        identifier = row.identifier if isinstance(row, Position) else row.ticket
        self.holds.append(Hold(row.symbol, reason, until, identifier, kind_of_hold, id=wanted))
        return False


def _figures(kind: str, row: Position | PendingOrder) -> str:
    """Say what a person would say yes to."""
    if isinstance(row, PendingOrder):
        return describe_order(row)
    if kind != "protection":
        return describe_at(row)
    levels = (("stop loss", row.sl), ("take profit", row.tp))
    stops = ", ".join(f"{name} {format_price(p) if p else 'none'}" for name, p in levels)
    return f"{describe(row)}, {stops}"


def for_zombie(zombie: Zombie, look: Look, outcome: Outcome, *, is_ours: bool) -> None:
    """Adopt a zombie, unless it is one we closed a moment ago or one that needs a yes."""
    remote = zombie.remote
    grave = look.book.closed.get(remote.identifier)
    if grave is not None and grave.version > look.asked_version:
        outcome.holds.append(newer(remote))
        return
    if grave is not None and look.is_settling(grave.touched_ns):
        what = f"Ticket {remote.ticket} was closed here and the broker still lists it"
        outcome.holds.append(settling(remote, what, grave.touched_ns, look))
        return
    if grave is not None and _is_late(remote.identifier, 0.0, grave.touched_ns, look, outcome):
        what = f"Ticket {remote.ticket} was closed here and the broker still lists it"
        outcome.holds.append(late(remote, what))
        return
    policy = look.policy
    action = policy.zombie
    if policy.adopt is Adopt.ASK and not is_ours and not policy.owns(remote):
        action = Action.ASK if action is Action.APPLY else action
    adopted = events.PositionAdopted(at_ns=look.now_ns, position=remote)
    taken = outcome.propose("zombie", remote, action, look, adopted)
    if taken and remote.identifier in look.book.unexplained:
        _explain_change(remote, (), look, outcome)


def for_drift(drift: Drift, look: Look, protection: Outcome, others: Outcome) -> None:
    """Correct a drift: its stops as one correction, everything else as another."""
    local, remote = drift.local, drift.remote
    holding = look.book.holdings[local.identifier]
    if holding.version > look.asked_version:
        others.holds.append(newer(local))
        return
    if look.is_settling(holding.touched_ns):
        what = f"Ticket {local.ticket} was changed here and the broker shows {describe_at(remote)}"
        others.holds.append(settling(local, what, holding.touched_ns, look))
        return
    if (
        {"volume", "side"} & set(drift.fields)
        and look.is_recent(holding.touched_ns)
        and _is_late(local.identifier, local.net_volume, holding.touched_ns, look, others)
    ):
        what = f"Ticket {local.ticket} was changed here and the broker shows {describe_at(remote)}"
        others.holds.append(late(local, what))
        return
    stops = tuple(name for name in drift.fields if name in PROTECTION)
    rest = tuple(name for name in drift.fields if name not in PROTECTION)
    between = local
    if stops:
        between = msgspec.structs.replace(local, sl=remote.sl, tp=remote.tp)
        change = events.PositionCorrected(
            at_ns=look.now_ns, local=local, remote=between, fields=stops
        )
        if not protection.propose("protection", remote, look.policy.protection, look, change):
            between = local
    if rest:
        wanted = msgspec.structs.replace(remote, sl=between.sl, tp=between.tp)
        change = events.PositionCorrected(
            at_ns=look.now_ns, local=between, remote=wanted, fields=rest
        )
        taken = others.propose("drift", remote, look.policy.drift, look, change)
        if taken and MADE_BY_DEALS & set(rest):
            _explain_change(remote, holding.deals, look, others)


def _is_late(
    identifier: int, net_volume: float, touched_ns: int, look: Look, outcome: Outcome
) -> bool:
    """Return whether the list is late: the deals agree with the book, or lack our own last one.

    The deals are a second witness: a list that contradicts them and us together is not believed.
    """
    if look.snapshot.evidence is None:
        return False
    history = look.history(identifier)
    if history is None:
        outcome.questions.append(identifier)
        return look.is_recent(touched_ns)
    symbol = history.deals[0].symbol if history.deals else ""
    if history.closes_to(net_volume, look.half_step_base(symbol)):
        return True
    ours = {
        order.ticket
        for order in look.book.orders.values()
        if order.fill_ns == touched_ns
        and (look.book.nets or identifier in (order.position, order.ticket))
    }
    return look.is_recent(touched_ns) and not ours <= {deal.order for deal in history.deals}


def _explain_change(remote: Position, known: tuple[int, ...], look: Look, outcome: Outcome) -> None:
    """Take the deals of a changed volume into the realised result, where they are there."""
    if look.snapshot.evidence is None:
        return
    recorded = _recorded(remote, remote.net_volume, known, look)
    if recorded is None:
        outcome.questions.append(remote.identifier)
    else:
        outcome.events.append(recorded)


def for_ghost(ghost: Ghost, look: Look, found: Diff, outcome: Outcome) -> None:
    """Close a ghost where its deals prove it, or as the guide says where nothing can."""
    local = ghost.local
    holding = look.book.holdings[local.identifier]
    if holding.version > look.asked_version:
        outcome.holds.append(newer(local))
    elif look.snapshot.evidence is None:
        _close_unproven(local, look, outcome)
    elif look.is_settling(holding.touched_ns):
        what = f"Ticket {local.ticket} was opened here and the broker does not list it yet"
        outcome.holds.append(settling(local, what, holding.touched_ns, look))
    else:
        _close_proven(holding, look, found, outcome)


def _close_unproven(local: Position, look: Look, outcome: Outcome) -> None:
    if look.snapshot.faults:
        reason = f"Ticket {local.ticket} is not in a list that has unreadable rows"
        outcome.holds.append(
            Hold(local.symbol, reason, "a whole reading", local.identifier, HoldKind.PARTIAL)
        )
        return
    closed = events.PositionClosed(
        at_ns=look.now_ns, position=local, because=UNPROVEN, unproven=True
    )
    outcome.propose("ghost", local, look.policy.ghost, look, closed)


def _close_proven(holding: Holding, look: Look, found: Diff, outcome: Outcome) -> None:
    local = holding.position
    history = look.history(local.identifier)
    if history is None or not history.closes_to(0.0, look.half_step_base(local.symbol)):
        into = _went_into(local, history, look)
        if not into:
            _missing(local, history, look, outcome)
            return
        because = f"its fill went into position {into}, which the book did not know"
        merged = events.PositionClosed(at_ns=look.now_ns, position=local, because=because)
        outcome.propose("ghost", local, look.policy.ghost, look, merged)
        return
    news = [deal for deal in history.deals if deal.ticket not in holding.deals]
    ended = exit_of(news) or exit_of(history.deals)
    because = exit_sentence(ended) if ended else "closed; its deals were recorded before"
    again = reopened_as(local, history.deals, (z.remote for z in found.zombies))
    if again:
        because += f"; the broker opened it again as {again}"
    closed = events.PositionClosed(
        at_ns=look.now_ns,
        position=local,
        because=because,
        ended=ended,
        realised_units=history.realised_units,
    )
    outcome.propose("ghost", local, look.policy.ghost, look, closed)


def _went_into(local: Position, history: History | None, look: Look) -> int:
    """Return the position that our fill went into on a netting account, 0 where it made its own.

    Where somebody held the symbol and we did not know it yet, our order made no position.
    """
    evidence = look.snapshot.evidence
    if evidence is None or history is None or history.deals or not look.book.nets:
        return 0
    orders = (o for o in evidence.past_orders if o.ticket == local.ticket and o.state == "filled")
    into = next((order.position for order in orders), 0)
    return 0 if into == local.identifier else into


def _missing(local: Position, history: History | None, look: Look, outcome: Outcome) -> None:
    """Keep a position that left the list and is not proven closed; ask again."""
    outcome.questions.append(local.identifier)
    if look.book.nets and not (history and history.deals):
        outcome.order_questions.append(local.ticket)
    if history is None:
        because = "its deals could not be read"
    elif not history.deals or same(from_units(history.net_units), local.net_volume):
        because = "deal not visible yet"
    else:
        left = format_lots(abs(history.net_units) / 1e8)
        because = f"its deals leave {left} lots open"
    since_ns = look.book.missing.get(local.identifier)
    if since_ns is None:
        since_ns = look.now_ns
        outcome.events.append(
            events.PositionMissing(at_ns=look.now_ns, position=local, because=because)
        )
    age_sec = max(0, look.now_ns - since_ns) // 1_000_000_000
    reason = (
        f"{format_lots(local.volume)} lots (ticket {local.ticket}) left the broker's list "
        f"{age_sec} s ago, {because}"
    )
    kind, until = HoldKind.MISSING, "the deals that close it, or its return to the list"
    case = _without_a_trace(local.identifier, history, look)
    if case is not None and case.decision is Decision.HALT:
        kind, reason = HoldKind.HALT, f"{reason}; case {case.label}: {case.because}"
        until += ", or a person's force_close_position()"
    outcome.holds.append(Hold(local.symbol, reason, until, local.identifier, kind))


def _without_a_trace(identifier: int, history: History | None, look: Look) -> Case | None:
    """Return the case of a fill that we recorded, and that shows in no list and in no deal."""
    order = look.book.orders.get(look.book.holdings[identifier].order_ids[0])
    if history is None or history.deals or order is None or order.is_stand_in:
        return None
    waited_ns = look.asked_ns - (order.fill_ns or 0)
    settled = waited_ns >= look.policy.grace_period_ms * 1_000_000
    return decide(JournalSays.FILLED, BrokerShows.NO_TRACE, settled=settled)


def found_again(look: Look, outcome: Outcome) -> None:
    """Say that a missing position is in the list again."""
    if not look.book.missing:
        return
    listed = {position.identifier: position for position in look.snapshot.positions}
    outcome.events += [
        events.PositionFound(at_ns=look.now_ns, position=listed[identifier])
        for identifier in look.book.missing
        if identifier in listed
    ]


def explanations(look: Look, outcome: Outcome) -> None:
    """Record the deals that were still to come, and ask for those that still are."""
    if look.snapshot.evidence is None:
        return
    listed = {position.identifier: position for position in look.snapshot.positions}
    told = {e.position.identifier for e in outcome.events if isinstance(e, events.DealsRecorded)}
    for identifier, position in look.book.unexplained.items():
        holding = look.book.holdings.get(identifier)
        if identifier in told or (holding is not None) != (identifier in listed):
            continue  # a ghost or a zombie: settled by its own rule
        net_volume = holding.position.net_volume if holding is not None else 0.0
        if holding is not None and not same(net_volume, listed[identifier].net_volume):
            continue  # a drift: it has its deals with it, or is held
        known = holding.deals if holding is not None else ()
        recorded = _recorded(position, net_volume, known, look) or _merged(position, look)
        if recorded is not None:
            outcome.events.append(recorded)
            continue
        outcome.questions.append(identifier)
        if holding is None and look.book.nets:
            outcome.order_questions.append(position.ticket)


def _merged(position: Position, look: Look) -> events.DealsRecorded | None:
    """Stop waiting for the deals of a position that its broker never made."""
    into = _went_into(position, look.history(position.identifier), look)
    if not into:
        return None
    because = f"its fill went into position {into}, which the book did not know"
    return events.DealsRecorded(
        at_ns=look.now_ns, position=position, deals=(), realised_units=0, because=because
    )


def _recorded(
    position: Position, net_volume: float, known: tuple[int, ...], look: Look
) -> events.DealsRecorded | None:
    history = look.history(position.identifier)
    if history is None or not history.closes_to(net_volume, look.half_step_base(position.symbol)):
        return None
    news = [deal for deal in history.deals if deal.ticket not in known]
    ended = exit_of(news)
    if ended is None:
        because = "deals recorded"
    elif net_volume:
        because = exit_sentence(ended, "closed in part")
    else:
        because = exit_sentence(ended)
    return events.DealsRecorded(
        at_ns=look.now_ns,
        position=position,
        deals=tuple(deal.ticket for deal in history.deals),
        realised_units=history.realised_units,
        because=because,
    )


def unprotected(look: Look, outcome: Outcome) -> None:
    """Show every position of ours without a stop loss, where the policy expects one."""
    if not look.policy.expects_stop_loss:
        return
    for position in look.snapshot.positions:
        if position.sl == 0.0 and look.policy.owns(position):
            reason = f"Ticket {position.ticket}, {describe(position)}, has no stop loss"
            outcome.holds.append(
                Hold(
                    position.symbol,
                    reason,
                    "a stop loss at the broker",
                    position.identifier,
                    HoldKind.UNPROTECTED,
                )
            )


def settling(row: Position, what: str, touched_ns: int, look: Look) -> Hold:
    """Return the hold of a difference inside its settle window."""
    return Hold(
        row.symbol,
        what,
        f"a reading {look.settle_ns // 1_000_000} ms after we touched it",
        row.identifier,
        HoldKind.SETTLING,
        until_ns=touched_ns + look.settle_ns,
    )


def late(row: Position, what: str) -> Hold:
    """Return the hold of a difference that outlives its settle window, against better evidence."""
    until = "a list that agrees with what we did"
    return Hold(row.symbol, what, until, row.identifier, HoldKind.SETTLING)


def newer(row: Position) -> Hold:
    """Return the hold of a position whose local facts are newer than the reading."""
    reason = f"Ticket {row.ticket} changed here after the broker was asked"
    return Hold(row.symbol, reason, NEXT_READING, row.identifier, HoldKind.NEWER)
