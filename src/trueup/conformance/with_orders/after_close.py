"""The checks of a snapshot after the position of the examination was closed."""

from __future__ import annotations

from trueup.conformance.examination.examination import FIRST_ID
from trueup.conformance.examination.findings import Verdict, broken, holds, unseen
from trueup.conformance.with_orders.orders import Orders
from trueup.core.model import Entry, Evidence, Snapshot
from trueup.core.quantity import to_units

NOT_CLOSED = "no position was opened and closed here"


def change_is_no_unchanged(orders: Orders) -> Verdict:
    """A client that has the list from before the close gets the new list."""
    exam, known = orders.exam, orders.while_open
    if known is None or known.evidence is None or not orders.closing:
        return unseen(NOT_CLOSED)
    digest = known.evidence.digest
    taken = exam.take(f"{exam.name}-g", FIRST_ID, known=known, digest=digest)
    if taken.exchange.status == "UNCHANGED":
        return broken("the position was closed, and the list from before is UNCHANGED")
    if not isinstance(taken.reading, Snapshot):
        return unseen("no snapshot could be read")
    if taken.reading.evidence is not None and taken.reading.evidence.digest == digest:
        return broken("the position was closed, and the digest is the one from before")
    return holds("the list from before the close is not unchanged")


def close_is_explained(orders: Orders) -> Verdict:
    """The deals of the closed position add up to 0 lots."""
    exam = orders.exam
    if not exam.claims("DEALS"):
        return unseen("DEALS is not claimed")
    if not orders.closing or not orders.identifier:
        return unseen(NOT_CLOSED)
    found: list[Evidence] = []

    # A terminal may show the closing deal later than the closed position.
    def explained() -> bool:
        evidence = exam.look(explain=(orders.identifier,))
        found[:] = [] if evidence is None else [evidence]
        return evidence is not None and not _missing(orders, evidence)

    if orders.wait(explained):
        return holds(f"the deals of position {orders.identifier} come to 0 lots")
    return broken(_missing(orders, found[0])) if found else unseen("no snapshot could be read")


def _missing(orders: Orders, evidence: Evidence) -> str:
    key = orders.identifier
    if key not in evidence.explained:
        return f"position {key} was closed, and is not explained"
    deals = [deal for deal in evidence.deals if deal.position == key]
    ins = sum(to_units(deal.volume) for deal in deals if deal.entry is Entry.IN)
    outs = sum(to_units(deal.volume) for deal in deals if deal.entry is not Entry.IN)
    if not ins or ins != outs:
        return (
            f"position {key} was closed, and its deals have {ins / 1e8} lots in, {outs / 1e8} out"
        )
    return ""
