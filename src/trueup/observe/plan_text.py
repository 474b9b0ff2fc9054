"""A plan for a person to read before anything changes: one block for each position."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, assert_never

import msgspec

from trueup.core.book import events
from trueup.core.holds import Hold
from trueup.core.model import describe_at, describe_order
from trueup.core.quantity import format_lots, format_money, format_price, from_units
from trueup.core.sync.plan import Plan

OrderStep = (
    events.OrderCreated
    | events.SendStarted
    | events.OrderApplied
    | events.OrderFilled
    | events.OrderRejected
    | events.OrderInDoubt
    | events.OrderCanceled
    | events.OrderSettled
)


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
        yield _block(events.as_any(event), digits)
    yield from map(_held, plan.holds)


def _block(event: events.AnyEvent, digits: int | None) -> Block:
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
        case events.HaltRaised(identifier=ticket, symbol=symbol, because=because):
            then = "entries are refused in its symbol until a person has looked"
            return Block("!", ticket, symbol, "halt", because, then)
        case events.AccountBound(login=login, server=server, changed=changed):
            what = f"bind the book to {login}@{server}"
            proof = f"the terminal shows it; changed: {', '.join(changed)}" if changed else ""
            then = "the book belongs to this account alone"
            return Block("~", 0, "Account", what, proof or "the terminal is logged in to it", then)
        case events.HistoryCompared(agreed=agreed, is_whole=is_whole):
            what = "note a comparison with the broker's history"
            proof = f"{agreed} deals agree" if is_whole else f"{agreed} deals agree, others do not"
            return Block("$", 0, "Account", what, proof, "the book keeps how far it was compared")
        case (
            events.OrderCreated()
            | events.SendStarted()
            | events.OrderApplied()
            | events.OrderFilled()
            | events.OrderRejected()
            | events.OrderInDoubt()
            | events.OrderCanceled()
            | events.OrderSettled()
        ):
            return _order_block(event)
    assert_never(event)


def _order_block(event: OrderStep) -> Block:
    """Return the block of what becomes of an order of ours; the book knows it by its id."""

    def block(what: str, evidence: str, consequence: str, ticket: int = 0) -> Block:
        return Block("~", ticket, "Order", f"{what} {event.order_id}", evidence, consequence)

    match event:
        case events.OrderCreated(symbol=symbol, side=side, volume=volume):
            wish = f"{side.action} {format_lots(volume)}L {symbol}"
            return block("record", wish, "the book knows the order")
        case events.SendStarted():
            return block("send", "recorded before it leaves", "it may be executed from now on")
        case events.OrderApplied(ticket=ticket, by=by):
            proof = f"{by} says so" if by else "the broker shows its effect"
            return block("settle", proof, "took effect, no longer in doubt", ticket)
        case events.OrderFilled(ticket=ticket, volume=volume, price=price):
            proof = f"filled {format_lots(volume)}L at {format_price(price)}"
            return block("fill", proof, "the book holds it", ticket)
        case events.OrderRejected(error=error, because=because):
            return block("settle", because or error, f"not executed: {error}")
        case events.OrderInDoubt(error=error):
            return block("doubt", error, "it may have been executed, entries wait")
        case events.OrderCanceled(because=because):
            return block("settle", because, "not executed, no longer in doubt")
        case events.OrderSettled(ticket=ticket, volume=volume, because=because):
            then = f"executed, {format_lots(volume)}L, no longer in doubt"
            return block("settle", because, then, ticket)
    assert_never(event)


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
