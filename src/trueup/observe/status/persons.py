"""What persons told the bot, and what waits for their word: modes, and proposals of assistants."""

from __future__ import annotations

from collections.abc import Iterator

from trueup.core.book.book import Book
from trueup.core.book.events import ProposalMade, TradingMode, TradingPaused
from trueup.core.book.proposals import waiting
from trueup.core.dates import iso
from trueup.core.limits.modes import BY_FAILURE, mode_words
from trueup.observe.lines import time_of
from trueup.observe.status.findings import Finding, at_start, counted
from trueup.observe.status.status import Decision, ModeRow, State


def of_proposals(book: Book) -> Iterator[Finding]:
    """Yield the finding of proposals that wait for a person."""
    made = waiting(book.proposals)
    if not made:
        return
    ids = ", ".join(proposal.proposal_id for proposal in made)
    is_one = len(made) == 1
    yield Finding(
        kind="proposed",
        keys=tuple(proposal.proposal_id for proposal in made),
        state=State.NEEDS_PERSON,
        fact=f"{at_start(counted(len(made), 'order'))} {'is' if is_one else 'are'} proposed",
        need=f"Approve or leave what an assistant proposes: {ids}",
        decisions=len(made),
        since_ns=made[0].at_ns,
    )


def of_failure(paused: TradingPaused | None) -> Iterator[Finding]:
    """Yield the finding of a strategy that failed, and is paused for that."""
    if paused is not None and paused.by == BY_FAILURE:
        yield Finding(
            kind="strategy",
            keys=("strategy",),
            state=State.NEEDS_PERSON,
            fact="The strategy failed and is paused",
            detail=paused.why,
            need="Correct the strategy, start the bot again, then `trueup resume`.",
            since_ns=paused.at_ns,
        )


def proposed(book: Book) -> list[Decision]:
    """Return the proposals that wait for a person."""
    return [_decision(proposal) for proposal in waiting(book.proposals)]


def _decision(made: ProposalMade) -> Decision:
    why = f", because: {made.why}" if made.why else ""
    expires = time_of(iso(made.expires_ns))
    return Decision(
        id=made.proposal_id,
        what=f"{made.by} proposes: {made.wish.words}{why}",
        symbol=made.wish.symbol,
        ticket=made.wish.ticket,
        since=iso(made.at_ns),
        if_approved="the order is sent",
        if_left=f"nothing is sent; it expires at {expires}, and `trueup reject` ends it now",
    )


def mode_row(paused: TradingPaused | None) -> ModeRow | None:
    """Return the mode that a person set, as plain values."""
    if paused is None:
        return None
    return ModeRow(
        mode=paused.mode.value,
        by=paused.by,
        why=paused.why,
        since=iso(paused.at_ns),
    )


def with_mode(fact: str, paused: TradingPaused | None) -> str:
    """Return a fact with the mode that a person set."""
    return fact if paused is None else f"{fact}; {mode_words(paused)}"


def works_in_mode(paused: TradingPaused) -> str:
    """Say what a running bot can do while a person restricts the strategy."""
    if paused.mode is TradingMode.PAUSED:
        return "The strategy sends nothing; a person's closes and stops work."
    return "Entries wait; exits and stops work."
