"""Promise 7: every change of the book has an entry with its evidence, and the evidence is true."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from trueup.gateway.terminal import mt5_constants as mt5
from trueup.lab.facts import facts
from trueup.lab.oracle.base.checker import Checker, Step
from trueup.lab.oracle.promises.closing import CORRECTIONS

_NEED_A_REASON = frozenset(
    {
        "PositionClosed",
        "PositionMissing",
        "DealsRecorded",
        "PendingClosed",
        "HaltRaised",
        "OrderCanceled",
        "OrderSettled",
        "OrderInDoubt",
        "OrderRejected",
    }
)

# Entries of the audit trail that change no position and no pending order by themselves.
NO_CORRECTIONS = frozenset({"SETTLED", "BOUND", "LOST", "LIMIT"})
# No look takes longer: a question, and five about deals, within two seconds each.
A_LOOK_NS = 12_000_000_000
TURNS, CLOSES_BY = mt5.DEAL_ENTRY_INOUT, mt5.DEAL_ENTRY_OUT_BY
CLOSES = frozenset({mt5.DEAL_ENTRY_OUT, CLOSES_BY})
BY_ANOTHER = "by an opposite position"
REASONS = {
    mt5.DEAL_REASON_CLIENT: "by hand in the terminal",
    mt5.DEAL_REASON_MOBILE: "by hand on the phone",
    mt5.DEAL_REASON_WEB: "by hand in the browser",
    mt5.DEAL_REASON_EXPERT: "by a program",
    mt5.DEAL_REASON_SL: "by its stop loss",
    mt5.DEAL_REASON_TP: "by its take profit",
    mt5.DEAL_REASON_SO: "by a stop out",
    mt5.DEAL_REASON_ROLLOVER: "by a rollover",
    mt5.DEAL_REASON_VMARGIN: "by variation margin",
    mt5.DEAL_REASON_SPLIT: "by a split",
    mt5.DEAL_REASON_CORPORATE_ACTION: "by a corporate action",
}
"""The words for each of the broker's reasons."""


def _is_own_step(kind: str, row: Mapping[str, Any]) -> bool:
    """Return whether a row is the end of an order that the bot itself cancelled, unfilled."""
    is_ours = kind == "PendingClosed" and row.get("ours", False)
    return is_ours and not row.get("filled") and not row.get("position")


class _Names:
    """The positions that a row of the journal may change; `position` is the row's number."""

    def __init__(self, position: int) -> None:
        self.position = position
        self.identifiers: set[int] = set()
        self.symbol = ""
        self.everything = False

    def speaks_of(self, held: facts.Held) -> bool:
        """Return whether the row may change a position."""
        return self.everything or held.identifier in self.identifiers or held.symbol == self.symbol


class Explained(Checker):
    """Requires a row for every change, and in each row a reason and the broker's figures."""

    number = 7
    promise = "every change of the book has an audit entry with its evidence"

    def steps(self) -> Mapping[type[facts.Fact], Step]:
        """Judge every row, every change between two looks, and the audit trail."""
        self._books: dict[str, dict[int, facts.Held]] = {}
        self._names: list[_Names] = []
        self._versions: dict[str, int] = {}
        # The positions of corrections that the audit trail does not have yet.
        self._unaudited: dict[str, list[int]] = {}
        self._told: dict[str, int] = {}
        self._believed = True
        # The deals of each position that the journal has counted.
        self._counted: dict[int, set[int]] = {}
        return {
            facts.Journalled: self._journalled,
            facts.BookSeen: self._seen,
            facts.Audited: self._audited,
            facts.Synced: self._synced,
            facts.Started: self._started,
        }

    def _synced(self, fact: facts.Synced) -> Iterator[str]:
        self._believed = fact.believed
        yield from ()

    def _started(self, fact: facts.Started) -> Iterator[str]:
        for known in (self._unaudited, self._told, self._books):
            known.pop(fact.bot, None)
        yield from ()

    def _journalled(self, fact: facts.Journalled) -> Iterator[str]:
        row = self.papers.row
        self._name(fact.kind, fact.position)
        if fact.kind in CORRECTIONS and not _is_own_step(fact.kind, row):
            self._unaudited.setdefault(fact.bot, []).append(fact.position)
        reason = row.get("because", row.get("error", ""))
        if fact.kind in _NEED_A_REASON and not reason:
            yield f"the {fact.kind} at position {fact.position} says no reason"
        if fact.kind in ("PositionCorrected", "PendingCorrected"):
            alike = [n for n in row["fields"] if row["local"].get(n) == row["remote"].get(n)]
            # A side is called `type` in a row, and a row does not have fields at their default.
            alike = [n for n in alike if n in row["local"]]
            if not row["fields"] or alike:
                yield f"the {fact.kind} at position {fact.position} names what does not differ"
        if fact.kind == "PositionClosed" and row.get("ended"):
            yield from self._true_exit(fact)
        if fact.kind == "DealsRecorded":
            yield from self._true_reason(fact)
        if fact.kind in ("DealsRecorded", "PositionClosed"):
            counted = self._counted.setdefault(row["position"]["identifier"], set())
            counted.update(row.get("deals", ()))

    def _true_reason(self, fact: facts.Journalled) -> Iterator[str]:
        """Compare the reason of a partial exit with the deals that the row counts."""
        row = self.papers.row
        # Only the new deals of the row: earlier rows gave a reason for the others.
        identifier = row["position"]["identifier"]
        if self._was_given_back_lately(identifier, fact.at_ns):
            return
        known = self.truth.deals.get(identifier, {})
        new = set(row.get("deals", ())) - self._counted.get(identifier, set())
        told = [known[ticket] for ticket in new if ticket in known and known[ticket].units]
        out = [deal for deal in told if deal.entry in CLOSES]
        if not out or any(deal.entry == TURNS for deal in told) or "closed" not in row["because"]:
            return
        # Of several exits, the row names the reason of the last. The tickets show which that is,
        # because the server's clock can go back between two deals.
        newest = max(out, key=lambda deal: deal.ticket)
        words = BY_ANOTHER if newest.entry == CLOSES_BY else REASONS.get(newest.reason, "")
        if words not in row["because"]:
            yield (
                f"an exit of position {identifier} is told as {row['because']}, and its last deal "
                f"was made {words}"
            )

    def _true_exit(self, fact: facts.Journalled) -> Iterator[str]:
        row = self.papers.row
        identifier, units = row["position"]["identifier"], row.get("realised_units", 0)
        left = self.truth.net_units(identifier)
        if left and not self._was_given_back_lately(identifier, fact.at_ns):
            lots = left / facts.UNITS
            yield f"position {identifier} is explained as closed, and its deals leave {lots} lots"
        realised = self.truth.realised_units(identifier)
        is_of_before = any(
            units == before and fact.at_ns - amended_ns < A_LOOK_NS
            for amended_ns, before in self.truth.amended.get(identifier, ())
        )
        if not left and units != realised and not is_of_before:
            yield (
                f"position {identifier} realised {realised / facts.UNITS:.2f} at the broker, and "
                f"{units / facts.UNITS:.2f} in the book"
            )
        yield from self._as_told(identifier, row["ended"])

    def _was_given_back_lately(self, identifier: int, at_ns: int) -> bool:
        """Return whether a closed position may have been opened again during this reading.

        The next reading shows it.
        """
        return at_ns - self.truth.given_back_ns.get(identifier, -A_LOOK_NS) < A_LOOK_NS

    def _as_told(self, identifier: int, ended: Mapping[str, Any]) -> Iterator[str]:
        """Compare price, lots and reason of an exit with the deals that the exit names."""
        known = self.truth.deals.get(identifier, {})
        told = [known[ticket] for ticket in ended.get("deals", ()) if ticket in known]
        out = [deal for deal in told if deal.entry in CLOSES and deal.units]
        if not out or len(told) < len(ended["deals"]) or any(d.entry == TURNS for d in told):
            # Of a deal that reverses a position, only a part closes.
            return
        units = sum(deal.units for deal in out)
        price = sum(deal.price * deal.units for deal in out) / units
        if round(ended["volume"] * facts.UNITS) != units or abs(ended["price"] - price) > 1e-7:
            yield (
                f"position {identifier} is told as closed with {ended['volume']} lots at "
                f"{ended['price']}, and its deals are {units / facts.UNITS} lots at {price:.8f}"
            )
        newest = max(out, key=lambda deal: deal.ticket)
        words = BY_ANOTHER if newest.entry == CLOSES_BY else REASONS.get(newest.reason, "")
        if not ended["reason"].startswith(words):
            yield (
                f"position {identifier} is told as closed {ended['reason']}, and its last deal "
                f"was made {words}"
            )

    def _name(self, kind: str, position: int) -> None:
        row, names = self.papers.row, _Names(position)
        if kind == "AccountBound":
            names.everything = True
        elif kind == "OrderFilled" and self.scope.books_net:
            names.symbol = row["symbol"]
        elif kind == "OrderFilled":
            intent = self.papers.intent_of.get(row["order_id"], {})
            closed = {intent.get("position", 0), intent.get("position_by", 0)}
            names.identifiers |= {row["ticket"], *closed}
        elif kind == "OrderApplied":
            names.identifiers.add(self.papers.intent_of[row["order_id"]].get("position", 0))
        for name in ("position", "local", "remote"):
            if isinstance(row.get(name), dict):
                names.identifiers.add(row[name].get("identifier", 0))
        self._names.append(names)

    def _seen(self, fact: facts.BookSeen) -> Iterator[str]:
        # Compare with the bot's previous book; after a start there is none.
        now = {held.identifier: held for held in fact.positions}
        before, since = self._books.get(fact.bot), self._versions.get(fact.bot, 0)
        self._books[fact.bot], self._versions[fact.bot] = now, fact.version
        if before is None or before == now:
            return
        named = [names for names in self._names if since < names.position <= fact.version]
        for identifier in sorted(now.keys() | before.keys()):
            was, held = before.get(identifier), now.get(identifier)
            some = was or held
            if was == held or some is None or any(n.speaks_of(some) for n in named):
                continue
            yield (
                f"position {identifier} changed in {fact.bot}'s book from {was} to {held}, and no "
                "event says so"
            )

    def _audited(self, fact: facts.Audited) -> Iterator[str]:
        told = [entry for entry in fact.entries if entry[0] not in NO_CORRECTIONS]
        self._told[fact.bot] = self._told.get(fact.bot, 0) + len(told)
        if self._believed:
            # The audit trail has a commit without an answer only when the book follows the commit.
            waiting = self._unaudited.pop(fact.bot, [])
            ahead = [position for position in waiting if position > fact.version]
            self._unaudited[fact.bot] = ahead
            rows, heard = len(waiting) - len(ahead), self._told.pop(fact.bot)
            if heard != rows:
                yield f"{fact.bot}'s book took {rows} corrections, and the audit trail {heard}"
        for action, ticket, details in fact.entries:
            if not details:
                yield f"the audit entry {action} of ticket {ticket} says nothing"
