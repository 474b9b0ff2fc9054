"""A client of a gateway that only reads: no order, no claim and no scope can leave it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import msgspec

from trueup.core.model import Evidence, Snapshot
from trueup.core.scope import Scope
from trueup.errors import BrokerUnknown, Refused
from trueup.gateway.client.execution_gateway import ExecutionGateway
from trueup.gateway.client.reader import PLAIN, Question, Reading
from trueup.runtime.time.clock import Clock

ONLY_READS = "This client only reads: it belongs to a watch, which sends nothing."
# The first question to a gateway is the guide's and proves nothing; the second has the evidence.
PLAIN_MOST = 3
ASK_AGAIN_SEC = 1.0
# A person sees the end of the wait after a signal within this time.
STEP_SEC = 0.2


class WatchingGateway(ExecutionGateway):
    """An `ExecutionGateway` whose reading methods work, and whose other methods refuse.

    A question does not say which book asks. So the gateway does not count the watch among the books
    of the account, and the bot is not warned of it.
    """

    def read(self, question: Question = PLAIN) -> Reading:
        """Ask for the broker's positions and wait for the answer."""
        return super().read(_nameless(question))

    def ask(self, question: Question = PLAIN) -> None:
        """Begin to ask for the broker's positions; never waits."""
        super().ask(_nameless(question))

    def send_order(self, order: Mapping[str, Any]) -> NoReturn:
        """Refuse: a watch sends nothing."""
        raise Refused(ONLY_READS)

    def claim(self, scope: Scope, journal: str = "", token: int = 0) -> NoReturn:
        """Refuse: a claim would keep the bot itself out."""
        raise Refused(ONLY_READS)


def _nameless(question: Question) -> Question:
    return msgspec.structs.replace(question, scope=None) if question.scope else question


def wait_for_account(
    gateway: ExecutionGateway,
    clock: Clock,
    is_stopped: Callable[[], bool],
    tell: Callable[[str], None],
) -> Evidence | None:
    """Ask until the gateway names its account; None if the person stops the watch before.

    The evidence has the account, and the trade server's clock if a quotation tells it.

    Args:
        gateway: the gateway.
        clock: the source of time.
        is_stopped: whether the person has stopped the watch.
        tell: called with each new reason why there is no answer yet.

    Raises:
        BrokerUnknown: the gateway answers, and cannot prove its readings.
    """
    said, plain = "", 0
    while True:
        reading = gateway.read()
        if isinstance(reading, Snapshot):
            if reading.evidence is not None:
                return reading.evidence
            plain += 1
            if plain >= PLAIN_MOST:
                raise BrokerUnknown(
                    f"{gateway.url} names no account and proves no reading: a watch takes a "
                    "`trueup gateway`."
                )
            continue
        plain = 0
        if reading.sentence != said:
            said = reading.sentence
            tell(f"{said}. Waiting until it answers; Ctrl-C ends this.")
        pause(clock, ASK_AGAIN_SEC, is_stopped)
        if is_stopped():
            return None


def pause(clock: Clock, seconds: float, is_stopped: Callable[[], bool]) -> None:
    """Let a time pass, or less once the person has stopped the watch."""
    end_ns = clock.waiting_ns() + round(seconds * 1e9)
    while not is_stopped() and (rest_ns := end_ns - clock.waiting_ns()) > 0:
        clock.sleep(min(STEP_SEC, rest_ns / 1e9))
