"""The proposals of assistants in a book: those that wait for a person, and the last that ended."""

from __future__ import annotations

import hashlib
from typing import TypeAlias

import msgspec

from trueup.core.book.events import ProposalEnded, ProposalMade
from trueup.core.book.wishes import OrderWish

ENDED_KEPT = 100
"""The number of ended proposals that a book remembers, so that a repeated key finds its first."""


class Proposal(msgspec.Struct, frozen=True):
    """A proposal, and its end; None while the proposal waits."""

    made: ProposalMade
    ended: ProposalEnded | None = None


Proposals: TypeAlias = dict[str, Proposal]
"""The proposals of a book by their ids."""


def proposal_id(wish: OrderWish, key: str, at_ns: int) -> str:
    """Return the id of a proposal, such as proposal-1f3a9c02; other terms have another id."""
    text = f"{at_ns} {key} {msgspec.json.encode(wish).decode()}"
    return f"proposal-{hashlib.blake2b(text.encode(errors='replace'), digest_size=4).hexdigest()}"


def waiting(proposals: Proposals) -> list[ProposalMade]:
    """Return the proposals that wait for a person, the oldest first."""
    return [one.made for one in proposals.values() if one.ended is None]


def with_proposal_key(proposals: Proposals, key: str) -> Proposal | None:
    """Return the newest proposal with a key, or None."""
    found = [one for one in proposals.values() if one.made.key == key]
    return max(found, key=lambda one: one.made.at_ns, default=None)


def end_proposal(proposals: Proposals, event: ProposalEnded) -> None:
    """End a proposal, and forget the oldest ended ones beyond `ENDED_KEPT`."""
    known = proposals.pop(event.proposal_id, None)
    if known is None:
        return
    # Added anew, so that the ended proposals are in the order of their ends.
    proposals[event.proposal_id] = Proposal(known.made, event)
    ended = [key for key, one in proposals.items() if one.ended is not None]
    for key in ended[:-ENDED_KEPT]:
        del proposals[key]
