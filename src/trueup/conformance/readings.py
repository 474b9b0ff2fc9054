"""The checks of `guide-compatible`: questions and answers as the guide has them; no order is sent.

The words that a gateway does not know here hold none of BUY, SELL, OPEN, CLOSE or TRADE: there are
gateways that look for those anywhere in a message, and trade.
"""

from __future__ import annotations

from typing import Any

from trueup.conformance.examination import Examination
from trueup.conformance.family import TYPE, other_name_read
from trueup.conformance.findings import Verdict, broken, holds, unseen
from trueup.core.model import Snapshot
from trueup.core.trust import Reason
from trueup.protocol import guide
from trueup.protocol.ticks import Tick, decode_tick, encode_tick_request

ASKED_AGAIN = 3
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
    """The reply is a list, or says that nobody could look."""
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
    """Each question gets its answer, on one connection and on a second one beside it."""
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
    """What a gateway does not know is answered by an error, and by no list."""
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
    """A `uuid` comes back as it went, or not at all."""
    wanted = [f"{exam.name}-u{number}" for number in range(2)]
    for uuid in wanted:
        exchange = exam.probe.ask({"action": "GET_POSITIONS", "symbol": "*", "uuid": uuid})
        if exchange.fields is None:
            return broken(exchange.why or "the reply is no JSON object")
        if "uuid" not in exchange.fields:
            return holds("it echoes none, and need not")
        if exchange.fields["uuid"] != uuid:
            return broken(f"asked under {uuid!r}, it answered {exchange.fields['uuid']!r:.60}")
    return holds("both of two came back")


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
        return holds(f"{symbol} bid {tick.bid:g}, ask {tick.ask:g}")
    if tick.reason is Reason.OFFLINE:
        return unseen(tick.sentence)
    return broken(tick.sentence)


def _count(count: int) -> str:
    return f"{count} position{'s' * (count != 1)}"
