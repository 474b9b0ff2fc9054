"""A bot that obeys steps, one JSON object a line, and dies where it is told to.

`crash_bot.py JOB`: JOB is a file.

A job has `port`, `journal`, `steps`, and may have `host`, `timeout_ms`, `grace_ms` and
`settle_sec`. A step has `do`:

* `submit`, `close`, `modify`, `cancel`: the order desk's, under a `key`; `of` is the key of the
  order whose position or pending order is meant. What is refused meanwhile is settled first.
* `arm`: from here on die at `point`, the `nth` time it is passed.
* `sync`, `checkpoint`, `settle` (sync until nothing is held), `report`.
* `wait`: for a line from outside.

It says a line for each step, so that it can be killed at any of them.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

import msgspec
import zmq

from tests.support.hurt import ShiftedClock, allow_hurts
from tests.support.processes import KILL
from trueup.core.book.lifecycle import OrderStatus
from trueup.core.book.order import Order
from trueup.core.policy import Policy
from trueup.errors import JournalError, Refused
from trueup.gateway.client.execution_gateway import ExecutionGateway
from trueup.gateway.client.link import Link
from trueup.gateway.client.zmq_link import ZmqLink
from trueup.runtime.bot.crash_points import CrashPoint
from trueup.runtime.bot.portfolio import PortfolioManager
from trueup.runtime.sync.reconciler import StateReconciler

# The terminal serves one request after the other, so nothing of ours is under way for longer.
POLICY = Policy(symbols=frozenset({"EURUSD"}), grace_period_ms=400, settle_ms=50)
SETTLE_SEC = 25.0
TIMEOUT_MS = 3_000
# Between two syncs that settle: the terminal has its share of the CPU as well.
PAUSE, PAUSE_SEC = threading.Event(), 0.02
EVENTS_PER_CHECKPOINT = 25


def die() -> None:
    """End without any of the manners of an end."""
    os.kill(os.getpid(), KILL)
    time.sleep(60)


class DyingLink:
    """A ZeroMQ link that passes the point between an order's sending and its answer.

    It passes there when the answer has arrived, unread: the broker has done it for certain.
    """

    def __init__(self, endpoint: str, crash: Callable[[CrashPoint], None]) -> None:
        self._link, self._crash = ZmqLink(endpoint), crash

    def send(self, message: bytes, timeout_ms: int) -> None:
        """Send."""
        self._link.send(message, timeout_ms)
        if b'"order_id"' in message and self._link._socket is not None:
            self._link._socket.poll(timeout_ms, zmq.POLLIN)
            self._crash(CrashPoint.AFTER_SEND)

    def receive(self, timeout_ms: int) -> bytes | None:
        """Receive."""
        return self._link.receive(timeout_ms)

    def reset(self) -> None:
        """Reset."""
        self._link.reset()

    def close(self) -> None:
        """Close."""
        self._link.close()


class Bot:
    """The bot of one job."""

    def __init__(self, job: dict[str, Any], inbox: TextIO, outbox: TextIO) -> None:
        self._inbox, self._outbox = inbox, outbox
        self._armed: CrashPoint | None = None
        self._passes_left = 0
        self._patient = job.get("patient", 1)
        self._settle_sec = job.get("settle_sec", SETTLE_SEC)
        timeout_ms = job.get("timeout_ms", TIMEOUT_MS)
        policy = msgspec.structs.replace(
            POLICY, grace_period_ms=job.get("grace_ms", POLICY.grace_period_ms)
        )
        gateway = ExecutionGateway(
            job.get("host", "127.0.0.1"), job["port"], timeout_ms, link=self._link
        )
        self.pm = PortfolioManager(
            "EURUSD",
            journal=job["journal"],
            clock=ShiftedClock(),
            crash=self._pass,
            events_per_checkpoint=EVENTS_PER_CHECKPOINT,
        )
        self.reconciler = StateReconciler(self.pm, gateway, 0.05, policy=policy)
        self.say({"ready": self.pm.book.version})
        for number, step in enumerate(job["steps"]):
            getattr(self, f"do_{step['do']}")(step)
            self.say({"step": number})

    def _link(self, endpoint: str) -> Link:
        return DyingLink(endpoint, self._pass)

    def _pass(self, point: CrashPoint) -> None:
        if point is not self._armed:
            return
        self._passes_left -= 1
        if self._passes_left <= 0:
            die()

    def say(self, facts: dict[str, Any]) -> None:
        """Write a line at once."""
        self._outbox.write(json.dumps(facts) + "\n")
        self._outbox.flush()

    # The steps.

    def do_arm(self, step: dict[str, Any]) -> None:
        """Die at the n-th pass of a point from here on."""
        self._armed, self._passes_left = CrashPoint(step["point"]), step.get("nth", 1)

    def do_wait(self, step: dict[str, Any]) -> None:
        """Wait for a line."""
        self.say({"waiting": True})
        self._inbox.readline()

    def do_sync(self, step: dict[str, Any]) -> None:
        """Sync once."""
        result = self.reconciler.sync_positions()
        self.say({"synced": [result.status.value, result.recovered, result.closed]})

    def do_checkpoint(self, step: dict[str, Any]) -> None:
        """Save the book."""
        self.pm._kept.checkpoint()

    def do_settle(self, step: dict[str, Any]) -> None:
        """Sync until nothing is held and nothing in doubt; say how many syncs that took."""
        deadline, syncs = time.monotonic() + self._settle_sec, 0
        while time.monotonic() < deadline:
            result = self.reconciler.sync_positions()
            syncs += 1
            book = self.pm.book
            if result.status.value == "SUCCESS" and not (
                self.reconciler.holds or book.in_doubt or book.unexplained
            ):
                break
            PAUSE.wait(PAUSE_SEC)
        self.say({"syncs": syncs})

    def do_report(self, step: dict[str, Any]) -> None:
        """Say what the book holds."""
        book = self.pm.book
        report = {
            "positions": sorted(
                (h.position.ticket, h.position.side.value, round(h.position.volume, 8))
                for h in book.holdings.values()
            ),
            "pending": sorted(book.pending),
            "orders": {
                o.key: [o.status.value, o.token, o.error] for o in book.orders.values() if o.key
            },
            "holds": [hold.reason for hold in self.reconciler.holds],
            "health": self.reconciler.health,
            "identifiers": list(book.holdings),
            "realised_closed": round(self.pm.realised * 1e8)
            - sum(holding.realised_units for holding in book.holdings.values()),
            "version": book.version,
            "state": hashlib.sha256(book.state()).hexdigest(),
        }
        self.say({"report": report})

    def do_submit(self, step: dict[str, Any]) -> None:
        """Open, or place."""
        wish = {name: step[name] for name in ("sl", "tp", "limit", "stop") if name in step}
        self._ask(
            lambda: self.pm.submit(step["side"], step["volume"], key=step["key"], magic=7, **wish)
        )

    def do_close(self, step: dict[str, Any]) -> None:
        """Close, whole or in part."""
        ticket = self._ticket(step)
        if ticket:
            self._ask(lambda: self.pm.close(ticket, step.get("volume"), key=step["key"]))

    def do_modify(self, step: dict[str, Any]) -> None:
        """Set stops."""
        ticket = self._ticket(step)
        if ticket:
            self._ask(lambda: self.pm.modify(ticket, step["sl"], step["tp"], key=step["key"]))

    def do_cancel(self, step: dict[str, Any]) -> None:
        """Cancel."""
        ticket = self._ticket(step)
        if ticket:
            self._ask(lambda: self.pm.cancel(ticket, key=step["key"]))

    def _ticket(self, step: dict[str, Any]) -> int:
        """The ticket of the order that a step is about, 0 where it never came to be."""
        known = self.pm.book.by_key.get(step["of"])
        if known is None or known.status is not OrderStatus.FILLED:
            return 0
        return known.ticket or 0

    def _ask(self, wish: Callable[[], Order]) -> None:
        for attempt in range(3):
            try:
                self.say({"status": wish().status.value})
                return
            except Refused as refused:
                if attempt == 2 or self._patient == 0:
                    self.say({"refused": str(refused)})
                    return
                self.do_settle({})
            except JournalError as error:
                # The disk fails; the bot tries again later.
                self.say({"journal": str(error)})
                return
            except ValueError:
                # A person closed it behind the bot's back.
                return


def read_job(path: str) -> dict[str, Any]:
    """Read a job."""
    job: dict[str, Any] = json.loads(Path(path).read_bytes())
    return job


def main() -> None:
    """Be the bot of a job."""
    allow_hurts("bot")
    Bot(read_job(sys.argv[1]), sys.stdin, sys.stdout)


if __name__ == "__main__":
    main()
