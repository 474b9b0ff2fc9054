"""The story of a run of the simulated fleet, a line for each fact that a person may want."""

from __future__ import annotations

from collections.abc import Callable

from trueup.lab.facts.facts import Fact
from trueup.lab.fleet import facts
from trueup.lab.fleet.plan import FleetPlan, draw
from trueup.lab.plan.shrink import only_option
from trueup.lab.system.schedule import BEGIN_NS


class Telling:
    """A watcher that tells each fact to a function.

    Args:
        tell: takes a line.
    """

    def __init__(self, tell: Callable[[str], object]) -> None:
        self._tell = tell

    def observe(self, fact: Fact) -> None:
        """Tell a fact, unless it is one of the many that say nothing new."""
        sentence = _sentence(fact)
        if sentence:
            self._tell(f"{(fact.at_ns - BEGIN_NS) / 1e9:9.3f} s  {sentence}")


def command(plan: FleetPlan) -> str:
    """Return the command that runs a plan again."""
    only = only_option(plan.strikes, len(draw(plan.seed).strikes))
    return f"trueup sim fleet --seed {plan.seed}{only}"


def _sentence(fact: Fact) -> str:
    match fact:
        case facts.FleetBegan():
            return f"{fact.setting}."
        case facts.FleetStruck():
            return f"FAULT {fact.number}: {fact.what}."
        case facts.FleetHealed():
            return "All faults have ended, and the owners are quiet."
        case facts.FleetEnded():
            return "The run ends."
        case facts.BookRead():
            return f"{fact.account}: the book has {fact.book}, the broker {fact.broker}."
        case _:
            return _of_server(fact) or _of_gateway(fact)


def _of_server(fact: Fact) -> str:
    match fact:
        case facts.Claimed():
            return f"{fact.run} claims shard {fact.shard} (claim {fact.epoch})."
        case facts.GivenBack():
            return f"{fact.run} gives shard {fact.shard} back."
        case facts.NodeGone():
            return f"{fact.run} is no longer the node {fact.node}."
        case facts.WriterMade():
            return f"{fact.run} becomes the writer of {fact.account}, token {fact.token}."
        case facts.Appended():
            kinds = ", ".join(row.kind for row in fact.rows)
            return f"{fact.node} journals for {fact.account}, token {fact.token}: {kinds}."
        case facts.Lost():
            done = "carried out" if fact.is_done else "lost"
            return f"A statement of {fact.node} is {done}, and gets no answer."
        case _:
            return ""


def _of_gateway(fact: Fact) -> str:
    match fact:
        case facts.Granted():
            return f"The gateway of {fact.account} grants the claim with token {fact.token}."
        case facts.Executed():
            return f"The broker executes {fact.mark} of {fact.account}, sent by {fact.opening}."
        case facts.RefusedAsOld():
            return f"The gateway of {fact.account} refuses an order with token {fact.token}."
        case facts.NotSentNow():
            return f"{fact.node} sends no order of {fact.account}: {fact.why}"
        case facts.Waits():
            return f"{fact.node} leaves {fact.account} alone for a while."
        case _:
            return ""
