"""The checks that need a restart of the gateway: they compare with the notes of the run before."""

from __future__ import annotations

from trueup.conformance.examination.examination import FIRST_ID, Examination
from trueup.conformance.examination.findings import Noted, Verdict, broken, holds, unseen
from trueup.conformance.with_orders.orders import Orders
from trueup.core.account.trust import Unknown
from trueup.core.gateway_record import RequestInDoubt, RequestState
from trueup.core.model import Snapshot
from trueup.errors import OutcomeUnknown
from trueup.protocol.request_status import decode_status, encode_status_request

NO_ORDER = "the run before placed no order: it had no --trade"


def note(exam: Examination, orders: Orders | None) -> Noted | None:
    """Return the notes of this run, or None if there is nothing to compare later."""
    if not exam.claims("SNAPSHOT") or not exam.believable:
        return None
    # The record's newest mark: a later run must find everything up to this mark.
    boot = (exam.probe.ask({"action": "HELLO"}).fields or {}).get("epoch")
    latest = exam.look()
    first = orders.first_outcome if orders is not None else {}
    return Noted(
        session=f"{exam.name}-a",
        boot=str(boot),
        epoch=exam.believable[-1][1].epoch,
        record=None if latest is None else latest.record,
        order={} if orders is None else orders.order,
        status=first.get("status") or "",
        ticket=first.get("ticket") or 0,
        withdrawn={} if orders is None else orders.withdrawn,
    )


def epochs_are_new(exam: Examination, before: Noted, orders: Orders | None) -> Verdict:
    """After a restart HELLO and a snapshot of the same session have a new epoch."""
    boot = (exam.probe.ask({"action": "HELLO"}).fields or {}).get("epoch")
    if boot == before.boot:
        return broken(f"HELLO's epoch is {boot!r:.60}, as before the restart")
    reading = exam.take(before.session, FIRST_ID).reading
    if not isinstance(reading, Snapshot) or reading.evidence is None:
        return unseen("no snapshot could be read")
    if reading.evidence.epoch == before.epoch:
        return broken(f"a snapshot's epoch is {before.epoch!r:.60}, as before the restart")
    return holds("HELLO and SNAPSHOT tell another epoch than before the restart")


def record_is_durable(exam: Examination, before: Noted, orders: Orders | None) -> Verdict:
    """The record still has the requests from before the restart, and executes none again."""
    if not before.order:
        return unseen(NO_ORDER)
    # First without sending anything: a record that lost the order would execute the order again.
    raw = exam.probe.ask(encode_status_request(before.order["order_id"])).raw
    if raw is None:
        return broken("REQUEST_STATUS got no answer")
    told = decode_status(raw, before.order["order_id"])
    if isinstance(told, Unknown):
        return broken(told.sentence)
    if (told.state, told.status, told.ticket) != (
        RequestState.SETTLED,
        before.status,
        before.ticket,
    ):
        return broken(
            f"before the restart an order was {before.status}, ticket {before.ticket}; the record "
            f"has {told.state.value!r}, {told.status or 'no status'}, ticket {told.ticket}"
        )
    return (
        holds("the outcome from before the restart is told")
        if orders is None
        else _sent(orders, before)
    )


def _sent(orders: Orders, before: Noted) -> Verdict:
    """Repeat orders from before the restart: they get their first outcome, without any effect."""
    exposure = orders.exposure()
    try:
        again = orders.send(before.order)
    except OutcomeUnknown as why:
        return broken(f"an order from before the restart got no outcome: {why}")
    by = orders.exam.probe.said[-1]
    # The list decides, whatever the reply says.
    if exposure is None or orders.goes_beyond(exposure):
        return broken("an order from before the restart was executed again", by)
    if (again["status"], again["ticket"]) != (before.status, before.ticket):
        return broken(
            f"an order from before the restart was {before.status}, ticket {before.ticket}, and is "
            f"{again['status']}, ticket {again['ticket']}",
            by,
        )
    # A withdrawal must survive too: the bot has booked that order as not executed.
    if before.withdrawn:
        trouble = orders.objection(before.withdrawn, "what was withdrawn before the restart")
        if trouble:
            return broken(trouble, orders.latest_order())
    return _covered(orders, before)


def _covered(orders: Orders, before: Noted) -> Verdict:
    doubt = RequestInDoubt(orders.exam.new_name(), before.record)
    evidence = orders.exam.look(in_doubt=(doubt,))
    if evidence is None:
        return unseen("no snapshot could be read")
    if not any(found.order_id == doubt.order_id and found.covered for found in evidence.requests):
        return broken("the record's mark from before the restart is not covered")
    return holds("outcomes, withdrawals and the mark are those from before the restart")
