"""Look up an order in doubt in the gateway's record.

The record has the lost reply, so the record is the first source: a list shows positions and orders,
but not which request made them.
"""

from __future__ import annotations

from trueup.core.book.order import Order
from trueup.core.doubt.trace import Trace
from trueup.core.gateway_record import RequestState, RequestStatus
from trueup.core.model import Evidence
from trueup.core.recovery import BrokerShows


def recorded(order: Order, evidence: Evidence) -> RequestStatus | None:
    """Return the request of an order in the gateway's record, if it went to this account."""
    account = evidence.account
    for request in evidence.requests:
        if request.order_id == order.order_id:
            went_to = (request.login, request.server)
            is_elsewhere = request.login and went_to != (account.login, account.server)
            return None if is_elsewhere else request
    return None


def is_done(order: Order, evidence: Evidence) -> bool:
    """Return whether the record shows a modification or a cancellation as done."""
    request = recorded(order, evidence)
    return request is not None and request.status == "DONE"


def not_by_record(order: Order, evidence: Evidence) -> Trace | None:
    """Return the trace of an order that was not carried out, or not yet, by the record's proof."""
    request = recorded(order, evidence)
    if request is None:
        return None
    if request.state is RequestState.PREPARED:
        return Trace(BrokerShows.UNSEEN, "the gateway is still carrying it out")
    if request.state is RequestState.WITHDRAWN:
        # A record that began after the sending, or lost its end, proves nothing about the order.
        if not request.covered:
            return None
        words = "the gateway never saw it, and takes it no more"
        return Trace(BrokerShows.NO_TRACE, words, is_final=True)
    if request.state is RequestState.SETTLED and request.status == "REJECTED":
        words = "the gateway's record has it as refused"
        return Trace(BrokerShows.NO_TRACE, words, is_final=True, refusal=request.error or words)
    return None
