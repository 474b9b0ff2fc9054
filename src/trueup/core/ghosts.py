"""A ghost: open in the book and not in the broker's list.

It is closed once its deals prove that it ended, or as the guide says where a gateway has no deals.
Until then it is missing: kept, asked for again, and never dropped by patience.
"""

from __future__ import annotations

from trueup.core import events
from trueup.core.book import Holding
from trueup.core.diff import Diff, Ghost
from trueup.core.explain import History, exit_of, exit_sentence, reopened_as, waits_for_reopening
from trueup.core.holds import Hold, HoldKind
from trueup.core.ids import step_id
from trueup.core.look import Look, Outcome, newer, settling
from trueup.core.model import Position
from trueup.core.quantity import format_lots, from_units, same
from trueup.core.recording import label, went_into
from trueup.core.recovery import BrokerShows, Case, Decision, JournalSays, decide

UNPROVEN = "absent from the broker's list; this gateway shows no deals, so unproven"
UNTIL_IT_SHOWS = "the deals that close it, its return to the list"


def for_ghost(ghost: Ghost, look: Look, found: Diff, outcome: Outcome) -> None:
    """Close a ghost where its deals prove it, or as the guide says where nothing can."""
    local = ghost.local
    holding = look.book.holdings[local.identifier]
    if holding.version > look.asked_version:
        outcome.holds.append(newer(local))
    elif look.is_settling(holding.touched_ns):
        what = f"Ticket {local.ticket} was opened here and the broker does not list it yet"
        outcome.holds.append(settling(local, what, holding.touched_ns, look))
    elif look.snapshot.evidence is None:
        _close_unproven(local, look, outcome)
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
    if history is not None and history.lacks(holding.deals):
        _missing(local, history, look, outcome)
        return
    if history is None or not history.closes_to(0.0):
        into = went_into(local, history, look)
        if not into:
            _missing(local, history, look, outcome)
            return
        because = f"its fill went into position {into}, which the book did not know"
        merged = events.PositionClosed(at_ns=look.now_ns, position=local, because=because)
        outcome.propose("ghost", local, look.policy.ghost, look, merged)
        return
    if waits_for_reopening(local, history.deals, (z.remote for z in found.zombies)):
        _missing(local, history, look, outcome)
        return
    news = [deal for deal in history.deals if deal.ticket not in holding.deals]
    ended = exit_of(news) or exit_of(history.deals)
    because = "closed; its deals do not say how"
    if ended:
        because = exit_sentence(ended, digits=look.money_digits)
    if look.own_order(local.ticket) is not None:
        because += label(BrokerShows.CLOSED)
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


def _missing(local: Position, history: History | None, look: Look, outcome: Outcome) -> None:
    """Keep a position that left the list and is not proven closed; ask again."""
    if history is None:
        because = "its deals could not be read"
    elif history.deals and history.lacks(look.book.holdings[local.identifier].deals):
        because = "the broker does not show all of its deals that were recorded before"
    elif not history.deals or same(from_units(history.net_units), local.net_volume):
        because = "deal not visible yet"
    elif not history.net_units:
        because = "the broker closed it to open it again, and does not show that yet"
    else:
        left = format_lots(from_units(abs(history.net_units)))
        because = f"its deals leave {left} lots open"
    wanted = step_id("missing", local)
    who = look.let_go_by(wanted)
    if who:
        outcome.events.append(_let_go(local, because, who, look))
        return
    outcome.questions.append(local.identifier)
    if look.book.nets and not (history and history.deals):
        outcome.order_questions.append(local.ticket)
    missing_ns = look.book.missing.get(local.identifier)
    if missing_ns is not None:
        # Counted back from now: somebody may have set the wall clock since.
        since_ns = look.asked_ns - look.waited.age_of_ns(missing_ns)
    else:
        since_ns = look.now_ns
        outcome.events.append(
            events.PositionMissing(at_ns=look.now_ns, position=local, because=because)
        )
    kind = HoldKind.MISSING
    case = _without_a_trace(local.identifier, history, look)
    if case is not None and case.decision is Decision.HALT:
        kind, because = HoldKind.HALT, f"{because}; case {case.label}: {case.because}"
    outcome.holds.append(
        Hold(
            local.symbol,
            f"{format_lots(local.volume)} lots (ticket {local.ticket}) left the broker's list",
            f"{UNTIL_IT_SHOWS}, or a person who lets go of it: trueup approve {wanted}",
            local.identifier,
            kind,
            id=wanted,
            why=because,
            since_ns=since_ns,
        )
    )


def _let_go(local: Position, because: str, who: str, look: Look) -> events.PositionClosed:
    """Close a missing position by the will of a person, who has seen that there is none."""
    return events.PositionClosed(
        at_ns=look.now_ns,
        position=local,
        because=f"assumed closed: {who} let go of it while missing, {because}",
        unproven=True,
        by=who,
    )


def _without_a_trace(identifier: int, history: History | None, look: Look) -> Case | None:
    """Return the case of a fill that we recorded, and that shows in no list and in no deal."""
    order = look.book.orders.get(look.book.holdings[identifier].order_ids[0])
    if history is None or history.deals or order is None or order.is_stand_in:
        return None
    waited_ns = look.waited.waited_ns(order.fill_ns or 0)
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
