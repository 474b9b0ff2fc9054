"""Gateways whose terminals' ledgers judge a fleet: each request is looked at as it is carried out.

As `many_gateways`, with one more command: `judge N` prints what gateway N has seen, as JSON.
`older` counts orders that were executed under an older token than was recorded before, `beside`
how often the account had more than one position, which the strategy never wants. `readings 0`
prints of all gateways of the process when the account was read last, and when by each of its latest
owners first: seconds since 1970.

Hundreds of gateways share a process here, on the machine that the nodes need. So they send no
hints, and look rarely whether they are to end. More than `IN_A_PROCESS` have several processes,
each with the open files that a process may have.
"""

from __future__ import annotations

import json
import sys
import time
from collections import defaultdict, deque
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple, Self

from tests.support import many_gateways
from tests.support.many_gateways import Gateway, ManyGateways
from trueup.gateway.desk.desk import Desk
from trueup.gateway.server import front
from trueup.gateway.server.service import ServiceOptions
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.runtime.time.clock import SystemClock
from trueup.sim.terminal.terminal import SimulatedTerminal

STOP_CHECK_MS = 1_000
OWNERS_KEPT = 8
# A gateway takes about 20 open files.
IN_A_PROCESS = 350


class Seen:
    """What one gateway has seen."""

    def __init__(self, terminal: SimulatedTerminal) -> None:
        self.terminal = terminal
        self.recorded: dict[str, int] = defaultdict(int)
        self.older = self.refused = self.beside = self.orders = self.questions = 0
        self.read_at = 0.0
        # By the token of an owner: when it read the account first.
        self.first_read: deque[tuple[int, float]] = deque(maxlen=OWNERS_KEPT)

    def executed(self) -> int:
        ledger = self.terminal.ledger
        return len(ledger.orders) + len(ledger.order_history)

    def note_reading(self, token: int) -> None:
        """Note a reading that an owner gets now."""
        self.read_at = time.time()
        if not self.first_read or self.first_read[-1][0] < token:
            self.first_read.append((token, self.read_at))

    def told(self) -> dict[str, Any]:
        ledger = self.terminal.ledger
        past = [*ledger.order_history.values(), *ledger.orders.values()]
        return {
            "older": self.older,
            "refused": self.refused,
            "beside": self.beside,
            "orders": self.orders,
            "questions": self.questions,
            "positions": sorted(ledger.positions),
            "tokens": [o.comment for o in past if o.state == mt5.ORDER_STATE_FILLED],
        }


SEEN: dict[int, Seen] = {}
_answer = Desk.answer


def _watched(self: Desk, request: Any, *more: Any, **named: Any) -> bytes:
    seen = SEEN[id(self)]
    seen.questions += request.action == "SNAPSHOT"
    before = seen.executed()
    reply = _answer(self, request, *more, **named)
    if seen.executed() > before:
        seen.orders += 1
        seen.older += 0 < request.token < seen.recorded[request.journal]
    if len(seen.terminal.ledger.positions) > 1:
        seen.beside += 1
    is_older = 0 < request.token < seen.recorded[request.journal]
    if is_older:
        seen.refused += bool(request.order_id) and b"REJECTED" in reply
    elif request.token and request.journal and b'"FAILED"' not in reply:
        known = seen.recorded[request.journal]
        seen.recorded[request.journal] = max(known, request.token)
        if request.action == "SNAPSHOT":
            seen.note_reading(request.token)
    return reply


class WatchedGateway(Gateway):
    """One gateway, with what its terminal has seen."""

    options = ServiceOptions(watch_ms=0)

    def __init__(self, number: int, clock: SystemClock) -> None:
        super().__init__(number, clock)
        # No client knows its port yet.
        self._seen = SEEN[id(self.service._desk)] = Seen(self.terminal)

    def obey(self, command: str) -> str | None:
        """Carry out a command; `judge` and `readings` have an answer."""
        if command == "readings":
            return json.dumps([(seen.read_at, list(seen.first_read)) for seen in SEEN.values()])
        if command == "judge":
            return json.dumps(self._seen.told())
        return super().obey(command)


class Readings(NamedTuple):
    """When an account was read: last, and first by the token of each of its latest owners."""

    last: float
    first: dict[int, float]


class WatchedProcess(ManyGateways):
    """One of the processes, for tests."""

    program = Path(__file__)


class WatchedGateways:
    """All gateways of a fleet, in as many processes as their open files need; for tests."""

    def __init__(self, count: int) -> None:
        with ExitStack() as undo:
            self._processes = [
                undo.enter_context(WatchedProcess(min(IN_A_PROCESS, count - first), first))
                for first in range(0, count, IN_A_PROCESS)
            ]
            self._undo = undo.pop_all()
        self.ports: list[int] = [port for one in self._processes for port in one.ports]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._undo.close()

    def tell(self, command: str, number: int) -> None:
        """Give a gateway a command, and wait until it was carried out."""
        self._process_of(number).tell(command, number % IN_A_PROCESS)

    def judge(self, number: int) -> dict[str, Any]:
        """Return what a gateway has seen."""
        said = self._process_of(number).ask("judge", number % IN_A_PROCESS)
        told: dict[str, Any] = json.loads(said)
        return told

    def readings(self) -> list[Readings]:
        """Return when each account was read."""
        told = [row for one in self._processes for row in json.loads(one.ask("readings", 0))]
        return [Readings(last, dict(map(tuple, first))) for last, first in told]

    def _process_of(self, number: int) -> WatchedProcess:
        return self._processes[number // IN_A_PROCESS]


if __name__ == "__main__":
    Desk.answer = _watched  # type: ignore[method-assign]
    front.STOP_CHECK_MS = STOP_CHECK_MS
    many_gateways.main(int(sys.argv[1]), int(sys.argv[2]), WatchedGateway)
