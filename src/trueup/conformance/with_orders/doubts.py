"""The checks of the gateway's record: unknown orders, withdrawn orders, and marks."""

from __future__ import annotations

from msgspec.structs import replace

from trueup.conformance.examination.examination import Examination
from trueup.conformance.examination.findings import Verdict, broken, holds, unseen
from trueup.conformance.with_orders.fields import barred
from trueup.conformance.with_orders.orders import Orders
from trueup.core.account.trust import Unknown
from trueup.core.gateway_record import RecordMark, RequestInDoubt, RequestState, RequestStatus
from trueup.protocol.request_status import decode_status, encode_status_request

LONGEST_ID = 128
# An emoji is one character, two UTF-16 units and four bytes of UTF-8.
WIDE = "\U0001f40c"


def record_answers(exam: Examination) -> Verdict:
    """REQUEST_STATUS answers `never seen` for unknown orders, with ids of up to 128 characters."""
    names = {exam.new_name(): "", WIDE * LONGEST_ID: f"{LONGEST_ID} characters beyond 16 bits: "}
    for name, what in names.items():
        raw = exam.probe.ask(encode_status_request(name)).raw
        if raw is None:
            return broken(f"{what}REQUEST_STATUS got no answer")
        told = decode_status(raw, name)
        if isinstance(told, Unknown):
            return broken(f"{what}{told.sentence}")
        if told.state is not RequestState.NEVER_SEEN:
            return broken(f"{what}an order that never came is {told.state.value!r}")
    too_long = exam.probe.ask(encode_status_request("x" * (LONGEST_ID + 1)))
    if too_long.status == "SUCCESS":
        return broken(f"an order_id of {LONGEST_ID + 1} characters got SUCCESS", too_long)
    return holds("what never came is never seen")


def withdrawn_is_refused(orders: Orders) -> Verdict:
    """An order that `in_doubt` withdrew is refused when the order comes."""
    why = barred(orders)
    before = None if why else orders.exposure()
    if before is None:
        return unseen(why or "the list of positions cannot be read")
    # An order in doubt that never came, beside an order that was executed.
    order = orders.new_order("BUY", orders.volume)
    told = _asked(orders.exam, {order["order_id"]: None, orders.order["order_id"]: None})
    if told is None:
        return unseen("no snapshot could be read")
    by = orders.exam.probe.said[-1]
    never_came, first = told.get(order["order_id"]), told.get(orders.order["order_id"])
    if never_came is None or never_came.state is not RequestState.WITHDRAWN:
        state = "left out" if never_came is None else repr(never_came.state.value)
        return broken(f"in_doubt: an order that never came is {state}, not withdrawn", by)
    if first is None or first.state is not RequestState.SETTLED:
        state = "left out" if first is None else repr(first.state.value)
        return broken(f"in_doubt: the order that was executed is {state}", by)
    # The bot books a withdrawn order as not executed, so the order must never be executed.
    trouble = orders.objection(order, "an order that was withdrawn")
    if trouble:
        return broken(trouble, orders.latest_order())
    orders.withdrawn = order
    return holds("what was withdrawn is refused", orders.latest_order())


def marks_are_compared(orders: Orders) -> Verdict:
    """`covered` is true for a mark that the record has, and for no other mark."""
    why = barred(orders)
    evidence = None if why else orders.exam.look()
    if evidence is None:
        return unseen(why or "no snapshot could be read")
    mark = evidence.record
    if mark is None:
        return broken("after an order the record has no mark")
    if not mark.last or not mark.came_ns:
        return broken(f"after an order the record's mark is {mark.last}, {mark.came_ns}")
    # Each differs from the true mark in a single field, as after a lost or replaced record.
    others = {
        "of another record": replace(mark, id=f"{mark.id}-2"),
        "with a number that no request had": replace(mark, last=mark.last + 1_000),
        "with another time": replace(mark, came_ns=mark.came_ns + 1),
    }
    marks: dict[str, RecordMark | None] = {orders.exam.new_name(): mark}
    names = {orders.exam.new_name(): what for what in others}
    marks |= dict(zip(names, others.values(), strict=True))
    # All in one request, so that the record cannot change in between.
    told = _asked(orders.exam, marks)
    if told is None:
        return unseen("no snapshot could be read")
    own = told.get(next(iter(marks)))
    if own is None or not own.covered:
        return broken("the record's own mark, of the latest snapshot, is not covered")
    for name, what in names.items():
        if name not in told or told[name].covered:
            return broken(f"a mark {what} is covered: an order could be given up that was executed")
    return holds("its own mark is covered, and three others are not")


def _asked(
    exam: Examination, marks: dict[str, RecordMark | None]
) -> dict[str, RequestStatus] | None:
    """Ask for the outcomes of orders; return them by order_id, or None without a snapshot."""
    doubts = tuple(RequestInDoubt(name, mark) for name, mark in marks.items())
    evidence = exam.look(in_doubt=doubts)
    return None if evidence is None else {told.order_id: told for told in evidence.requests}
