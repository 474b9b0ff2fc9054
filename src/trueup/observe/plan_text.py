"""A plan for a person to read before anything changes: one block for each position."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from trueup.core import events
from trueup.core.holds import Hold
from trueup.core.model import describe_at, describe_order
from trueup.core.plan import Plan
from trueup.core.quantity import format_lots, format_money, format_price, from_units


class Block(msgspec.Struct, frozen=True):
    """One step of a plan: a sign, what it is about, what proves it, what it leads to."""

    sign: str
    ticket: int
    symbol: str
    what: str
    evidence: str
    consequence: str
    id: str = ""


def blocks(plan: Plan, digits: int | None = None) -> Iterator[Block]:
    """Yield a block for each change and each hold of a plan, in the plan's order.

    `digits` are the decimals of the account's money, None where they are not known.
    """
    for event in plan.events:
        block = _block(event, digits)
        if block is not None:
            yield block
    yield from map(_held, plan.holds)


def _block(event: events.Event, digits: int | None) -> Block | None:
    match event:
        case events.PositionAdopted(position=p):
            what, proof = f"adopt {describe_at(p)}", "in the broker's list, not in the book"
            return Block(
                "+", p.ticket, p.symbol, what, proof, f"the book holds it, magic {p.magic}"
            )
        case events.PositionClosed(position=p, because=because, realised_units=units):
            result = f"result {format_money(from_units(units), digits)}"
            result = "no result is known" if event.unproven else result
            what = f"close {describe_at(p)}"
            return Block("-", p.ticket, p.symbol, what, because, f"the book lets it go, {result}")
        case events.PositionMissing(position=p, because=because):
            what, then = f"keep {describe_at(p)}", "held as missing, entries refused in its symbol"
            return Block("!", p.ticket, p.symbol, what, f"not in the list, {because}", then)
        case events.PositionFound(position=p):
            what, then = f"keep {describe_at(p)}", "no longer missing"
            return Block("!", p.ticket, p.symbol, what, "in the broker's list again", then)
        case events.PositionCorrected(remote=p, fields=fields):
            what = f"correct {describe_at(p)}"
            changes = ", ".join(_change(event, name) for name in fields)
            return Block(
                "~", p.ticket, p.symbol, what, changes, "the book takes the broker's values"
            )
        case events.DealsRecorded(position=p, because=because, realised_units=units):
            then = f"result so far {format_money(from_units(units), digits)}"
            return Block("$", p.ticket, p.symbol, f"explain {describe_at(p)}", because, then)
        case events.PendingAdopted(order=o):
            what, proof = (
                f"adopt order {describe_order(o)}",
                "in the broker's list, not in the book",
            )
            return Block("+", o.ticket, o.symbol, what, proof, "the book knows it")
        case events.PendingClosed(order=o, because=because):
            what = f"end order {describe_order(o)}"
            return Block("-", o.ticket, o.symbol, what, because, "the book lets it go")
        case events.LossFound(because=because, orders=orders):
            then = f"{orders} orders enter the book in doubt; entries wait for a yes"
            return Block("!", 0, "Account", "note that the journal has lost its end", because, then)
        case events.LossAccepted(by=by):
            what, then = "accept that the journal lacks events", "entries are allowed again"
            return Block("!", 0, "Account", what, f"{by} says yes", then)
        case events.PendingCorrected(local=was, remote=o):
            what, change = f"correct order {describe_order(o)}", f"was {describe_order(was)}"
            return Block(
                "~", o.ticket, o.symbol, what, change, "the book takes the broker's values"
            )
    return None


def _change(event: events.PositionCorrected, name: str) -> str:
    local, remote = getattr(event.local, name), getattr(event.remote, name)
    write = {"volume": format_lots, "side": lambda side: side.word}.get(name)
    if write is None:
        write = format_price if isinstance(local, float) else str
    return f"{name} {write(local)} → {write(remote)}"


def _held(hold: Hold) -> Block:
    return Block(
        "?", hold.identifier, hold.symbol, "held", hold.reason, f"until {hold.until}", hold.id
    )


def write_plan(plan: Plan, digits: int | None = None) -> str:
    """Write a plan as text, or one line when it is empty; `digits` as for `blocks`."""
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
