"""Write a plan before it is applied: one block for each position."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from trueup.core.holds import Hold
from trueup.core.sync.plan import Plan
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
    for step in steps:
        ticket = f"{step.ticket} " if step.ticket else ""
        lines += ["", f"  {step.sign} {ticket}{step.symbol}  {step.what}"]
        lines += [f"      evidence:     {step.evidence}", f"      consequence:  {step.consequence}"]
        if step.id:
            lines.append(f"      id:           {step.id}")
    return "\n".join(lines)


def plan_values(plan: Plan, digits: int | None = None) -> dict[str, Any]:
    """Return a plan as plain values, for JSON; `digits` as for `blocks`."""
    return {
        "foreign": plan.foreign,
        "steps": [msgspec.to_builtins(step) for step in blocks(plan, digits)],
    }
