"""The check of HISTORY: the pages end, and contain every deal that a snapshot explains."""

from __future__ import annotations

from itertools import pairwise

from trueup.conformance.examination.examination import FIRST_ID, Examination
from trueup.conformance.examination.findings import Verdict, broken, holds, unseen
from trueup.core.account.trust import Unknown
from trueup.core.model import Deal, Snapshot
from trueup.protocol.history import PastDeals, Span, ask_for_history, decode_history

EXPLAINED = 5


def pages_are_whole(exam: Examination) -> Verdict:
    """The pages of a span contain every deal of the span once, oldest first."""
    if not exam.claims("HISTORY"):
        return unseen("HISTORY is not claimed")
    # Deals that a snapshot has shown must be in the history too.
    explained = _explained(exam)
    since_msc = min((deal.time_msc for deal in explained), default=0)
    pages: list[tuple[Deal, ...]] = []
    found = _read(exam, Span(since_msc), pages)
    if isinstance(found, Unknown):
        return broken(found.sentence)
    keys = [(deal.time_msc, deal.ticket) for page in pages for deal in page]
    for before, after in pairwise(keys):
        if after <= before:
            return broken(f"deal {after[1]} came after deal {before[1]}, and is not newer")
    missing = {deal.ticket for deal in explained} - {deal.ticket for deal in found.deals}
    if missing:
        return broken(f"a SNAPSHOT explains deal {min(missing)}, and no page of HISTORY has it")
    return holds(f"{len(found.deals)} deals on {len(pages)} pages")


def _read(exam: Examination, span: Span, pages: list[tuple[Deal, ...]]) -> PastDeals | Unknown:
    """Read all pages into `pages`, and return all their deals."""
    steps = ask_for_history(span, (), FIRST_ID)
    message = next(steps)
    while True:
        raw = exam.probe.ask(message).raw or b""
        page = decode_history(raw, FIRST_ID + len(pages))
        pages.append(() if isinstance(page, Unknown) else page.deals)
        try:
            message = steps.send(raw)
        except StopIteration as end:
            found: PastDeals | Unknown = end.value
            return found


def _explained(exam: Examination) -> list[Deal]:
    """Return the deals of a few open positions, from a snapshot."""
    if not exam.believable:
        return []
    positions = exam.believable[-1][0].positions[:EXPLAINED]
    wanted = tuple(position.identifier for position in positions)
    reading = exam.take(f"{exam.name}-h", FIRST_ID, wanted).reading
    if not isinstance(reading, Snapshot) or reading.evidence is None:
        return []
    return list(reading.evidence.deals)
