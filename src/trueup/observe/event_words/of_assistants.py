"""The words for what assistants propose and submit: a proposal, its end, a refusal."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable

from trueup.core.book import events
from trueup.observe.event_words.words import (
    ACCOUNT,
    WARNING,
    Actions,
    Block,
    E,
    Entry,
    Line,
    Words,
)


class _Asked(Words[E]):
    """Something that an assistant asked for: by itself no change of a position."""

    def difference(self, event: E) -> str:
        return ""


class OfProposal(_Asked[events.ProposalMade]):
    """An assistant proposed an order."""

    actions: Actions = frozenset({"PROPOSAL"})

    def entry(self, event: events.ProposalMade) -> Entry:
        return Entry("PROPOSAL", event.wish.ticket or None, proposal_sentence(event))

    def lines(self, event: events.ProposalMade) -> Iterable[Line]:
        text = f"[PROPOSAL] {proposal_sentence(event)}"
        return (Line(WARNING, "proposal.made", event.wish.ticket or None, text),)

    def step(self, event: events.ProposalMade, digits: int | None) -> Block:
        place = event.wish.symbol or ACCOUNT
        what = f"propose: {event.wish.words}"
        return Block("!", event.wish.ticket, place, what, f"{event.by} asks", "a person decides")

    def tickets(self, event: events.ProposalMade) -> set[int]:
        return {event.wish.ticket}


class OfProposalEnd(_Asked[events.ProposalEnded]):
    """A proposal no longer waits."""

    actions: Actions = frozenset({"PROPOSAL"})

    def entry(self, event: events.ProposalEnded) -> Entry:
        return Entry("PROPOSAL", None, end_sentence(event))

    def lines(self, event: events.ProposalEnded) -> Iterable[Line]:
        text = f"[PROPOSAL] {end_sentence(event)}"
        return (Line(WARNING, f"proposal.{event.end.value}", None, text),)

    def step(self, event: events.ProposalEnded, digits: int | None) -> Block:
        what = f"end {event.proposal_id}"
        return Block("!", 0, ACCOUNT, what, end_sentence(event), "it waits for no person")

    def tickets(self, event: events.ProposalEnded) -> set[int]:
        return set()


class OfRefusal(_Asked[events.WishRefused]):
    """An assistant's order, or its proposal, was refused."""

    actions: Actions = frozenset({"REFUSED"})

    def entry(self, event: events.WishRefused) -> Entry:
        return Entry("REFUSED", event.wish.ticket or None, refusal_sentence(event))

    def lines(self, event: events.WishRefused) -> Iterable[Line]:
        text = f"[PROPOSAL] {refusal_sentence(event)}"
        return (Line(WARNING, "wish.refused", event.wish.ticket or None, text),)

    def step(self, event: events.WishRefused, digits: int | None) -> Block:
        place = event.wish.symbol or ACCOUNT
        what = f"refuse: {event.wish.words}"
        return Block("!", event.wish.ticket, place, what, event.because, "nothing is sent")

    def tickets(self, event: events.WishRefused) -> set[int]:
        return {event.wish.ticket}


def proposal_sentence(event: events.ProposalMade) -> str:
    """Return who proposes which order, why, and until when it waits."""
    return (
        f"{event.proposal_id}: {event.by} proposes {event.wish.words}{_because(event.why)}, "
        f"key {event.key!r}; until {expiry_of(event)} it waits for a person"
    )


def expiry_of(event: events.ProposalMade) -> str:
    """Return until when a proposal waits, such as 2026-01-05 14:10:00 UTC."""
    until = dt.datetime.fromtimestamp(event.expires_ns // 1_000_000_000, dt.UTC)
    return f"{until:%Y-%m-%d %H:%M:%S} UTC"


def end_sentence(event: events.ProposalEnded) -> str:
    """Return how a proposal ended, by whom, why, and the order that it became."""
    by = f" by {event.by}" if event.by else ""
    order = f"; it became {event.order_id}" if event.order_id else ""
    return f"{event.proposal_id} is {event.end.value}{by}{_because(event.because)}{order}"


def refusal_sentence(event: events.WishRefused) -> str:
    """Return who was refused which order, and why."""
    what = "a proposal" if event.proposed else "an order"
    return f"{event.by} was refused {what}: {event.wish.words}, key {event.key!r}: {event.because}"


def _because(why: str) -> str:
    return f" ({why})" if why else ""
