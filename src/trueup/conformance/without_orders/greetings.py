"""Checks of HELLO, PING, and requests beyond the protocol's limits; no order is sent."""

from __future__ import annotations

from trueup.conformance.examination.examination import FIRST_ID, Examination
from trueup.conformance.examination.findings import Verdict, broken, holds, unseen
from trueup.protocol.snapshot import HISTORY_LONGEST_SEC, NAMED_AT_ONCE

ROLES = ("read", "trade", "")


def hello_tells_who_it_is(exam: Examination) -> Verdict:
    """HELLO has the gateway's kind, its run, and the capabilities that GET_POSITIONS names."""
    hello = exam.probe.ask({"action": "HELLO"})
    fields = hello.fields or {}
    if hello.status != "SUCCESS":
        return unseen("HELLO is not answered: see version", hello)
    for name in ("server", "epoch"):
        if not isinstance(fields.get(name), str) or not fields[name]:
            return broken(f"HELLO's {name} is {fields.get(name)!r:.40}, not a text")
    if fields.get("capabilities") != list(exam.capabilities):
        said = fields.get("capabilities")
        return broken(f"HELLO names {said!r:.80}, GET_POSITIONS {list(exam.capabilities)!r:.80}")
    if fields.get("role", "") not in ROLES:
        return broken(f"HELLO's role is {fields['role']!r:.40}, neither read nor trade")
    # An epoch that changes without a restart would look like a restart to every bot.
    again = exam.probe.ask({"action": "HELLO"})
    if (again.fields or {}).get("epoch") != fields["epoch"]:
        return broken("HELLO's epoch is another one when it is asked again")
    ping = exam.probe.ask({"action": "PING"})
    if ping.status != "SUCCESS":
        return broken(f"PING got {ping.status or ping.why}")
    return holds(f"{fields['server']!r:.40}, run {fields['epoch']!r:.40}", hello)


def limits_are_kept(exam: Examination) -> Verdict:
    """A request beyond the limits gets ERROR, and no partial answer."""
    many = list(range(1, NAMED_AT_ONCE + 2))
    beyond: dict[str, dict[str, object]] = {
        f"{len(many)} positions to explain": {"explain": many},
        f"{len(many)} orders to explain": {"explain_orders": many},
        f"{len(many)} symbols": {"symbols": [f"S{number}" for number in many]},
        "a history of more than 31 days": {"history_age_sec": HISTORY_LONGEST_SEC + 1},
    }
    for what, more in beyond.items():
        question = {"action": "SNAPSHOT", "session": f"{exam.name}-m", "id": FIRST_ID, **more}
        exchange = exam.probe.ask(question)
        if exchange.status != "ERROR":
            return broken(f"{what} got {exchange.status or exchange.why}")
    return holds(f"{', '.join(beyond)}: each is refused")
