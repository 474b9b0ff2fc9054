"""What a gateway's own record says of an order in doubt.

The record has the answer that was lost on the way, so it is asked before anything else: a list
shows what there is, and not by whose doing.
"""

from __future__ import annotations

from trueup.core.book.order import Order
from trueup.core.doubt.trace import Trace
from trueup.core.gateway_record import RequestState, RequestStatus
from trueup.core.model import Evidence
from trueup.core.recovery import BrokerShows


def recorded(order: Order, evidence: Evidence) -> RequestStatus | None:
    """Return what the gateway's record has of an order, if that is about this account."""
    account = evidence.account
    for said in evidence.requests:
        if said.order_id == order.order_id:
            of_another = said.login and (said.login, said.server) != (account.login, account.server)
            return None if of_another else said
    return None


def is_done(order: Order, evidence: Evidence) -> bool:
    """Return whether the record has a change or a cancellation as made."""
    said = recorded(order, evidence)
    return said is not None and said.status == "DONE"


def not_by_record(order: Order, evidence: Evidence) -> Trace | None:
    """Return that an order was not carried out, or not yet, where the record proves it."""
    said = recorded(order, evidence)
    if said is None:
        return None
    if said.state is RequestState.PREPARED:
        return Trace(BrokerShows.UNSEEN, "the gateway is still carrying it out")
    if said.state is RequestState.WITHDRAWN:
        if not said.covered:
            return None
        words = "the gateway never saw it, and takes it no more"
        return Trace(BrokerShows.NO_TRACE, words, is_final=True)
    if said.state is RequestState.SETTLED and said.status == "REJECTED":
        words = "the gateway's record has it as refused"
        return Trace(BrokerShows.NO_TRACE, words, is_final=True, refusal=said.error or words)
    return None
