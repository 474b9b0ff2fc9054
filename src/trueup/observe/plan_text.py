"""Write a plan before it is applied: one block for each position."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from trueup.core.book.events import ProposalMade
from trueup.core.holds import Hold
from trueup.core.sync.plan import Plan
from trueup.observe.event_words.of_assistants import expiry_of
from trueup.observe.event_words.table import words_of
from trueup.observe.event_words.words import Block


def blocks(plan: Plan, digits: int | None = None) -> Iterator[Block]:
    """Yield a block for each change and each hold of a plan, in the plan's order.

    `digits` are the decimals of the account's currency, None if unknown.
    """
    for event in plan.events:
        yield words_of(event).step(event, digits)
    yield from map(_held, plan.holds)


def _held(hold: Hold) -> Block:
    return Block(
        "?", hold.identifier, hold.symbol, "held", hold.reason, f"until {hold.until}", hold.id
    )


def write_plan(plan: Plan, digits: int | None = None) -> str:
    """Write a plan as text, or one line for an empty plan; `digits` as for `blocks`."""
    steps = list(blocks(plan, digits))
    foreign = f" {plan.foreign} foreign, not touched." if plan.foreign else ""
    if not steps:
        return f"Nothing to do: book and broker agree.{foreign}"
    held = sum(step.sign == "?" for step in steps)
    lines = [f"Plan: {len(steps) - held} to change, {held} held.{foreign}"]
    return "\n".join([*lines, *_lines(steps)])


def write_proposals(proposals: Sequence[ProposalMade]) -> str:
    """Write the proposals that wait for a person; empty without any."""
    if not proposals:
        return ""
    return "\n".join([f"{len(proposals)} proposed.", *_lines(map(_proposed, proposals))])


def _lines(steps: Iterable[Block]) -> Iterator[str]:
    for step in steps:
        ticket = f"{step.ticket} " if step.ticket else ""
        yield ""
        yield f"  {step.sign} {ticket}{step.symbol}  {step.what}"
        yield f"      evidence:     {step.evidence}"
        yield f"      consequence:  {step.consequence}"
        if step.id:
            yield f"      id:           {step.id}"


def _proposed(made: ProposalMade) -> Block:
    why = f" ({made.why})" if made.why else ""
    return Block(
        "?",
        made.wish.ticket,
        made.wish.symbol,
        f"proposed: {made.wish.words}",
        f"{made.by} asks for it{why}",
        f"sent by trueup approve {made.proposal_id}; lapses {expiry_of(made)}",
        made.proposal_id,
    )


def plan_values(plan: Plan, digits: int | None = None) -> dict[str, Any]:
    """Return a plan as plain values, for JSON; `digits` as for `blocks`."""
    return {
        "foreign": plan.foreign,
        "steps": [msgspec.to_builtins(step) for step in blocks(plan, digits)],
    }
