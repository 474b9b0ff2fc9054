"""The HISTORY exchange: an account's deals, page by page.

SNAPSHOT has the deals that a reading of a book needs, and reaches back 31 days at most. HISTORY has
all deals of any span, to compare everything a book has counted with everything the broker has.
HISTORY is a query of the lowest urgency: each page is a separate request, so orders are executed
between pages.
"""

from __future__ import annotations

import re
from collections.abc import Generator

import msgspec

from trueup.core.account.trust import Reason, Unknown
from trueup.core.model import Deal
from trueup.protocol.snapshot import UNNAMED_VERSION, VERSION, other_version
from trueup.protocol.text import check_text, read_json, reason_of

CAPABILITY = "HISTORY"
# A page of ours has at most 150 KiB of text.
PAGE_DEALS = 500
CURSOR = re.compile(r"\d{1,19}:\d{1,20}", re.ASCII)
UNTIL = "a gateway that serves its deals page by page (HISTORY)"


class HistoryRequest(msgspec.Struct, tag_field="action", tag="HISTORY", omit_defaults=True):
    """Ask for the next page of the deals of a span, oldest first.

    Attributes:
        id: returned in the reply.
        since_msc: the begin of the span by the trade server's clock, included.
        until_msc: the end of the span, excluded; 0 for no end.
        symbols: the symbols of the wanted deals; empty for all.
        after: `next` of the page before; empty for the first page.
    """

    id: int
    since_msc: int = 0
    until_msc: int = 0
    symbols: tuple[str, ...] = ()
    after: str = ""


class HistoryReply(msgspec.Struct, tag_field="status", tag="SUCCESS", omit_defaults=True):
    """A page of position deals on the account `login` at `server`.

    Attributes:
        deals: the deals. A page may be empty and still have a following page.
        next: the cursor of the following page; empty after the last.
    """

    id: int
    login: int
    server: str
    deals: tuple[Deal, ...] = ()
    next: str = ""
    version: int = UNNAMED_VERSION


class Span(msgspec.Struct, frozen=True):
    """A span of the trade server's clock in milliseconds.

    `since_msc` is included, `until_msc` excluded; an `until_msc` of 0 means no end.
    """

    since_msc: int = 0
    until_msc: int = 0

    def has(self, time_msc: int) -> bool:
        """Return whether a moment is in the span."""
        return self.since_msc <= time_msc and (not self.until_msc or time_msc < self.until_msc)


class PastDeals(msgspec.Struct, frozen=True):
    """All position deals in a span, oldest first, of a single account."""

    span: Span
    login: int
    server: str
    deals: tuple[Deal, ...]


Steps = Generator[bytes, bytes, PastDeals | Unknown]

_decoder = msgspec.json.Decoder(HistoryReply)
_encoder = msgspec.json.Encoder()


def ask_for_history(span: Span, symbols: tuple[str, ...], first_id: int) -> Steps:
    """Yield the requests for all deals of a span; finally return the deals.

    Each `send` passes the reply to the request before. If a page cannot be read, or belongs to
    another account than the page before, the whole history is unknown.
    """
    deals: dict[int, Deal] = {}
    account: tuple[int, str] | None = None
    asked: set[str] = set()
    after, number = "", first_id
    while True:
        request = HistoryRequest(number, span.since_msc, span.until_msc, symbols, after)
        page = decode_history((yield _encoder.encode(request)), number)
        if isinstance(page, Unknown):
            return page
        if account not in (None, (page.login, page.server)):
            # Pages of two accounts would add up to a result that neither account has.
            return _unreadable("the terminal's account changed while its history was read")
        account = page.login, page.server
        deals |= {deal.ticket: deal for deal in page.deals}
        # By ticket, because a page may overlap the page before.
        if not page.next:
            break
        asked.add(after)
        if page.next in asked:
            # A gateway that repeats a cursor would make this loop endless.
            return _unreadable(f"the page after {page.next!r:.60} came twice")
        after, number = page.next, number + 1
    found = (deal for deal in deals.values() if span.has(deal.time_msc))
    ordered = tuple(sorted(found, key=lambda deal: (deal.time_msc, deal.ticket)))
    return PastDeals(span, *account, ordered)


def decode_history(raw: bytes, wanted_id: int) -> HistoryReply | Unknown:
    """Decode the reply to the HISTORY request with the id `wanted_id`."""
    try:
        check_text(raw)
        reply = _decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return _why_not(raw, str(error))
    if reply.version != VERSION:
        return other_version(reply.version)
    if reply.id != wanted_id:
        return _unreadable(f"the reply answers question {reply.id}, not {wanted_id}")
    return reply


def _why_not(raw: bytes, error: str) -> Unknown:
    try:
        reply = read_json(raw)
    except (ValueError, RecursionError):
        return _unreadable(f"the reply is not JSON: {raw[:60]!r}")
    if not isinstance(reply, dict) or reply.get("status") == "SUCCESS":
        return _unreadable(f"a page does not have its shape: {error}")
    if reply.get("version", UNNAMED_VERSION) != VERSION:
        return other_version(reply["version"])
    return _unreadable(reason_of(reply))


def _unreadable(problem: str) -> Unknown:
    return Unknown(Reason.UNREADABLE, f"The broker's history could not be read: {problem}", UNTIL)
