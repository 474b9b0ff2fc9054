"""The coverage of runs: faults, recovery cases, reasons for distrust, return codes and deaths.

A world that never meets a situation proves nothing about that situation. So situations are counted,
by the facts of the runs and not by the intentions of their plans.
"""

from __future__ import annotations

import re

import msgspec

from trueup.core.account.trust import Reason
from trueup.core.recovery import CASES
from trueup.core.retcodes import Effect, classify_retcode
from trueup.gateway.record.at_most_once import GatewayPoint
from trueup.lab.facts import facts
from trueup.lab.faults.habits import HABITS, drawn_in
from trueup.lab.plan.plan import Fault
from trueup.lab.report.counting import Counted
from trueup.runtime.bot.crash_points import CrashPoint

OUT = 1
"""MetaTrader's number of a deal that closes, DEAL_ENTRY_OUT."""
_CASE = re.compile(r"case ([A-L]):")
_read = msgspec.json.Decoder().decode

PLACES = {
    "before a commit": "BEFORE_COMMIT",
    "after a commit": "AFTER_COMMIT",
    "between two turns": "BETWEEN_TURNS",
}
WANTED: dict[str, dict[str, str]] = {
    "fault": {fault.name: fault.value for fault in Fault},
    "recovery case": {case.label: case.because for case in CASES},
    # No account of the world is real money.
    "reason not to believe": {
        reason.name: reason.value for reason in Reason if reason is not Reason.REAL_MONEY
    },
    "place to die at": {
        **{f"BOT_{place.name}": f"the bot: {place.value}" for place in CrashPoint},
        **{f"BOT_{name}": f"the bot: {place}" for place, name in PLACES.items()},
        **{f"GATEWAY_{place.name}": f"the gateway: {place.value}" for place in GatewayPoint},
    },
    "habit": {name: name.replace("_", " ") for name in HABITS},
    "class of return code": {effect.name: effect.value for effect in Effect},
    "order at an exchange": {
        "PART": "a part is filled, and the rest works",
        "CLOSE_PART": "a part of a close is filled, and the rest works",
        "REST_FILLED": "the rest is filled later",
        "REST_ENDED": "the rest ends unfilled",
    },
}
"""All situations to meet: by kind, the name and its meaning."""
CHANCY: dict[str, tuple[str, ...]] = {
    "fault": ("LIST_HALF", "STOPS_HIT", "HAND_CANCELS", "HAND_CLOSES_PART", "PARTIAL_FILL"),
    "recovery case": ("E",),
    "class of return code": (Effect.DONE_PART.name,),
    "order at an exchange": ("PART", "CLOSE_PART", "REST_FILLED", "REST_ENDED"),
}
"""Situations that need stops, pending orders or several positions, which a strategy's signals do
not make: people and robots have to, and not every three hundred seeds have a chance for that."""


class Coverage(Counted):
    """A watcher that counts the situations of runs; `add` merges the counts of another watcher."""

    wanted = WANTED

    def __init__(self) -> None:
        super().__init__()
        self._names = {reason.value: reason.name for reason in Reason}
        self._places = {place.value: f"BOT_{place.name}" for place in CrashPoint}
        self._places |= {place: f"BOT_{name}" for place, name in PLACES.items()}
        self._status: dict[str, str] = {}
        self._ticket: dict[str, int] = {}
        # The positions of the living books when agreement is judged.
        self._held: set[int] = set()
        # The market orders whose rest works, with what is left of them; and the newest deal.
        self._rests: dict[int, int] = {}
        self._deal: facts.DealBooked | None = None

    def missing(self, *, by_signals: bool = False) -> list[tuple[str, str]]:
        """Return the situations never met, as kind and name; fewer if only signals traded."""
        left_out = CHANCY if by_signals else {}
        return [one for one in super().missing() if one[1] not in left_out.get(one[0], ())]

    def observe(self, fact: facts.Fact) -> None:
        """Take in a fact."""
        # Counted by what happened: a planned strike may find nothing to change.
        match fact:
            case facts.Faulted(kind=fault):
                self.met["fault"][fault] += 1
                if fault == Fault.HABITS.name:
                    self.met["habit"].update(drawn_in(fact.what))
            case facts.Synced():
                self._synced(fact)
            case facts.BookSeen(results=results) if results is not None:
                self._held |= {row.identifier for row in fact.positions}
            case facts.Agreed():
                self._held.clear()
            case facts.Journalled():
                self._row(fact)
            case facts.Died(where=where) if where in self._places:
                self.met["place to die at"][self._places[where]] += 1
            case facts.GatewayDied(where=where):
                self.met["place to die at"][f"GATEWAY_{where}"] += 1
            case facts.Replied(message=message):
                self._replied(message)
            case facts.DealBooked():
                self._deal = fact
            case facts.RestWorks(ticket=ticket, left=left):
                self._rests[ticket] = left
                closes = self._deal is not None and self._deal.entry == OUT
                self.met["order at an exchange"]["CLOSE_PART" if closes else "PART"] += 1
            case facts.OrderLeft(ticket=ticket) if ticket in self._rests:
                left, deal = self._rests.pop(ticket), self._deal
                is_filled = deal is not None and (deal.order, deal.units) == (ticket, left)
                self.met["order at an exchange"]["REST_FILLED" if is_filled else "REST_ENDED"] += 1
            case facts.Ended():
                self._ended()

    def _synced(self, fact: facts.Synced) -> None:
        if fact.reason:
            self.met["reason not to believe"][self._names[fact.reason]] += 1
        self._cases(*fact.holds)

    def _replied(self, message: bytes) -> None:
        retcode = _read(message).get("retcode")
        if retcode is not None:
            self.met["class of return code"][classify_retcode(retcode).effect.name] += 1

    def _row(self, row: facts.Journalled) -> None:
        if not row.kind.startswith("Order") and row.kind != "HaltRaised":
            return
        event = _read(row.payload)
        self._cases(event.get("because", ""))
        self._status[event["order_id"]] = row.kind
        if event.get("ticket"):
            self._ticket[event["order_id"]] = event["ticket"]

    def _cases(self, *texts: str) -> None:
        for text in texts:
            for label in _CASE.findall(text):
                self.met["recovery case"][label] += 1

    def _ended(self) -> None:
        """Count the cases in which book and broker agree without any correction: H, J and K."""
        for order_id, status in self._status.items():
            if status == "OrderRejected":
                self.met["recovery case"]["H"] += 1
            elif status == "OrderFilled":
                label = "J" if self._ticket[order_id] in self._held else "K"
                self.met["recovery case"][label] += 1
        self._status.clear()
        self._ticket.clear()
        self._held.clear()
