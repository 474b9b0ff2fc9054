"""The checks of `guide-compatible`: requests and replies as in the guide; no order is sent.

No made-up word in these requests contains BUY, SELL, OPEN, CLOSE or TRADE: some gateways search a
message for these words, and trade.
"""

from __future__ import annotations

from typing import Any

from trueup.conformance.examination.examination import Examination
from trueup.conformance.examination.findings import Verdict, broken, holds, unseen
from trueup.conformance.examination.probe import Exchange
from trueup.conformance.without_orders.family import NO_SUCH_SYMBOL, TYPE, other_name_read
from trueup.core.account.trust import Reason
from trueup.core.model import Snapshot
from trueup.errors import RemoteProtocolError
from trueup.protocol import guide
from trueup.protocol.module_calls import (
    CAPABILITY,
    CallRequest,
    decode_call_reply,
    encode_call_request,
)
from trueup.protocol.ticks import Tick, decode_tick, encode_tick_request

ASKED_AGAIN = 3
# The first number changes if converted to a double; the second is the largest of 64 bits.
WHOLE_UUIDS = (2**53 + 1, 2**64 - 1)
# A larger number must be milliseconds: as seconds it would be after the year 5138.
MILLISECONDS = 10**11
LONG = 200_000
NOISE = {
    "bytes that are no text": b"\xff\x00\xfe",
    "a message without a byte": b"",
    "half of a request": b'{"action": "GET_POSI',
    "a list": b"[1, 2]",
    "a number": b"7",
    "an action that is no text": b'{"action": {}}',
}
NOBODY_KNOWS: tuple[dict[str, Any], ...] = ({"action": "CONFORMANCE_PROBE"}, {"symbol": "*"})


def speaks_zeromq(exam: Examination) -> Verdict:
    """The port speaks ZeroMQ."""
    if not exam.greeting.is_zeromq:
        return broken(f"the port took the connection and said {exam.greeting.heard}")
    return holds(f"it said {exam.greeting.heard}")


def answers(exam: Examination) -> Verdict:
    """GET_POSITIONS gets a reply."""
    if exam.first.raw is not None:
        return holds("a reply came", exam.first)
    other = other_name_read(exam, (TYPE,))
    if other is not None:
        return broken(f"{exam.first.why}; it reads `{TYPE}` and not `action`", other[1])
    return broken(exam.first.why, exam.first)


def answers_json(exam: Examination) -> Verdict:
    """The reply is a JSON object."""
    if exam.first.fields is None:
        return broken("the reply is no JSON object", exam.first)
    return holds("the reply is a JSON object", exam.first)


def list_or_failure(exam: Examination) -> Verdict:
    """The reply is a list, or says that the positions cannot be read now."""
    first = exam.first
    reading = guide.read_positions(first.fields)
    if isinstance(reading, Snapshot):
        return holds(f"status {first.status}, {_count(len(reading.positions))}", first)
    if first.status in guide.GOOD_STATUS or not first.status:
        return broken(reading.sentence.partition(": ")[2], first)
    return unseen(f"the gateway says that it cannot look now: {first.error or first.status}", first)


def rows(exam: Examination) -> Verdict:
    """Every row can be believed."""
    reading = guide.read_positions(exam.probe.ask(guide.GET_POSITIONS).fields)
    if not isinstance(reading, Snapshot):
        return unseen("there was no list")
    if reading.faults:
        return broken(str(reading.faults[0]))
    count = len(reading.positions)
    if not count:
        return unseen("the account has no position to look at")
    return holds(f"{_count(count)}, each with what the guide prints")


def answers_again(exam: Examination) -> Verdict:
    """Each request gets a reply, on the first connection and on a second connection beside it."""
    for number in range(ASKED_AGAIN):
        exchange = exam.probe.ask(guide.GET_POSITIONS)
        if exchange.fields is None:
            return broken(f"question {number + 2}: {exchange.why or 'the reply is no JSON object'}")
    with exam.another() as second:
        exchange = second.ask(guide.GET_POSITIONS)
    if exchange.fields is None:
        return broken(f"a second client: {exchange.why or 'the reply is no JSON object'}")
    return holds(f"{ASKED_AGAIN} more questions and a second client were answered")


def failure_is_not_empty(exam: Examination) -> Verdict:
    """An unknown request gets an error, and never a list."""
    for request in NOBODY_KNOWS:
        exchange = exam.probe.ask(request)
        what = f"{request}"
        if exchange.raw is None:
            return broken(f"{what} got no answer, so a REQ client waits for ever")
        if exchange.fields is None:
            return broken(f"{what} got a reply that is no JSON object")
        if exchange.status in guide.GOOD_STATUS:
            a_list = " and a list" if "positions" in exchange.fields else ""
            return broken(f"{what} got status {exchange.fields['status']!r}{a_list}")
    return holds("an unknown action, and none at all, are errors")


def uuid_comes_back(exam: Examination) -> Verdict:
    """A `uuid` comes back unchanged, or not at all."""
    # Two different texts: a gateway may echo the uuid of an earlier request.
    wanted = [f"{exam.name}-u{number}" for number in range(2)]
    for uuid in wanted:
        exchange = exam.probe.ask({"action": "GET_POSITIONS", "symbol": "*", "uuid": uuid})
        if exchange.fields is None:
            return broken(exchange.why or "the reply is no JSON object")
        if "uuid" not in exchange.fields:
            return holds("it echoes none, and need not")
        if exchange.fields["uuid"] != uuid:
            return broken(f"asked under {uuid!r}, it answered {exchange.fields['uuid']!r:.60}")
    for value in WHOLE_UUIDS:
        exchange = exam.probe.ask({"action": "GET_POSITIONS", "symbol": "*", "uuid": value})
        came = (exchange.fields or {}).get("uuid", value)
        if type(came) is not int or came != value:
            return broken(f"asked under the integer {value}, it answered {came!r:.60}")
    return holds("texts and integers came back as they went")


def ticks(exam: Examination) -> Verdict:
    """TICK gives a bid and an ask, or says that there is no price."""
    if not exam.claims("TICK"):
        return unseen("TICK is not claimed")
    symbol = exam.options.symbol
    exchange = exam.probe.ask(encode_tick_request(symbol))
    if exchange.raw is None:
        return broken(exchange.why)
    tick = decode_tick(exchange.raw, symbol)
    if isinstance(tick, Tick):
        return _tick_of_nobody(exam, tick, exchange)
    if tick.reason is Reason.OFFLINE:
        return unseen(tick.sentence)
    return broken(tick.sentence)


def _tick_of_nobody(exam: Examination, tick: Tick, exchange: Exchange) -> Verdict:
    """Judge a quotation, and the reply for a symbol that the broker does not have."""
    time_msc = (exchange.fields or {}).get("time_msc")
    if isinstance(time_msc, int) and 0 < time_msc < MILLISECONDS:
        return broken(f"time_msc is {time_msc!r:.30}, no milliseconds since 1970", exchange)
    nobodys = exam.probe.ask(encode_tick_request(NO_SUCH_SYMBOL))
    if nobodys.status != "FAILED":
        return broken(f"TICK of {NO_SUCH_SYMBOL} got {nobodys.status or nobodys.why}", nobodys)
    return holds(f"{exam.options.symbol} bid {tick.bid:g}, ask {tick.ask:g}", exchange)


def calls(exam: Examination) -> Verdict:
    """CALL returns what the terminal's function returns, and sends no order."""
    if not exam.claims(CAPABILITY):
        return unseen(f"{CAPABILITY} is not claimed")
    symbol = exam.options.symbol
    exchange = exam.probe.ask(encode_call_request(CallRequest(1, "symbol_info_tick", (symbol,))))
    try:
        reply = decode_call_reply(exchange.raw or b"", 1)
    except RemoteProtocolError as error:
        return broken(exchange.why or str(error), exchange)
    if reply.shape != "row" or "bid" not in reply.fields or "ask" not in reply.fields:
        return broken(f"symbol_info_tick of {symbol} is no row with bid and ask", exchange)
    # A request without an action: a gateway that sends it all the same does no harm.
    order = exam.probe.ask(encode_call_request(CallRequest(2, "order_send", ({},))))
    if order.status in guide.GOOD_STATUS or order.raw is None:
        return broken(f"CALL of order_send got {order.status or order.why}", order)
    return holds(f"symbol_info_tick of {symbol} is a row, and order_send is refused", exchange)


def unknown_fields_are_ignored(exam: Examination) -> Verdict:
    """An unknown field changes nothing, in a request of 200 KB as well."""
    whole = exam.probe.ask(guide.GET_POSITIONS)
    if not isinstance(guide.read_positions(whole.fields), Snapshot):
        return unseen("there was no list")
    for size in (1, LONG):
        more = {"action": "GET_POSITIONS", "symbol": "*", "conformance_probe": "x" * size}
        exchange = exam.probe.ask(more)
        if not isinstance(guide.read_positions(exchange.fields), Snapshot):
            said = exchange.error or exchange.why or exchange.status
            return broken(f"a request with a further field of {size} bytes got {said:.100}")
    return holds(f"further fields of 1 and {LONG} bytes were ignored")


def noise_is_answered(exam: Examination) -> Verdict:
    """Bytes that are not a request get exactly one reply, and no success."""
    for what, message in NOISE.items():
        exchange = exam.probe.ask(message)
        if exchange.raw is None:
            return broken(f"{what} got no answer, so a REQ client waits for ever")
        if exchange.fields is None:
            return broken(f"{what} got a reply that is no JSON object")
        if exchange.status in guide.GOOD_STATUS:
            return broken(f"{what} got status {exchange.status}")
    again = exam.probe.ask(guide.GET_POSITIONS)
    if again.fields is None:
        return broken(f"after bytes that are no request: {again.why or 'no JSON object'}")
    return holds(f"{len(NOISE)} messages that are no request were answered")


def _count(count: int) -> str:
    return f"{count} position{'s' * (count != 1)}"
