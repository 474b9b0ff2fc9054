"""The bot of a drill: recovers, reports, trades, and waits at a crash point for its kill.

    python -m trueup.lab.drill.drill_bot JOB

The bot writes JSON objects, a line each. After `agreed` (book and broker agree) the bot waits for a
line on standard input, during which the drill compares. After `at` (the crash point is reached) the
bot waits for its kill. The end of standard input ends the bot too.
"""

from __future__ import annotations

import logging
import random
import re
import sys
from typing import Any

import msgspec

from trueup.core.book.order import Order
from trueup.core.limits.limits import NO_LIMITS
from trueup.core.model import Side
from trueup.core.policy import Policy
from trueup.core.recovery import BrokerShows, JournalSays, decide
from trueup.gateway.client.execution_gateway import ExecutionGateway
from trueup.runtime.bot.crash_points import CrashPoint
from trueup.runtime.bot.portfolio import PortfolioManager
from trueup.runtime.story.audit import AuditEntry
from trueup.runtime.sync.reconciler import StateReconciler
from trueup.runtime.time.clock import SystemClock

MAGIC = 20_260_105
TIMEOUT_MS = 5_000
# The simulated broker executes at once, so no order is under way for longer than this.
GRACE_PERIOD_MS = 2_000
AGREEMENT_SEC = 30.0
LOOK_AGAIN_SEC = 0.05
_CASE = re.compile(r"case ([A-L])\b")


class Job(msgspec.Struct, frozen=True):
    """The job of a bot in a drill.

    `before` is the key of the order during which the last bot died, empty for none; `key` is the
    key of the order during which this bot dies, empty for a bot that only recovers. `die_at` names
    the crash point.
    """

    port: int
    journal: str
    symbol: str
    seed: str
    before: str = ""
    key: str = ""
    die_at: CrashPoint = CrashPoint.AFTER_OUTCOME


class DrillBot:
    """A bot with a journal, a gateway and a reconciler."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._armed = False
        self._clock = SystemClock()
        gateway = ExecutionGateway("127.0.0.1", job.port, TIMEOUT_MS, server_key="")
        policy = Policy(symbols=frozenset({job.symbol}), grace_period_ms=GRACE_PERIOD_MS)
        # The drill rehearses crashes: the limits of the folder would end its orders.
        self._pm = PortfolioManager(
            job.symbol,
            journal=job.journal,
            clock=self._clock,
            crash=self._pass,
            limits=NO_LIMITS,
        )
        self._known = {h.position.ticket for h in self._pm.book.holdings.values()}
        self._reconciler = StateReconciler(self._pm, gateway, policy=policy, account="")

    def run(self) -> None:
        """Recover, and trade to the death."""
        syncs = self._recover()
        _say({"agreed": self._found(syncs)})
        if self._job.key and sys.stdin.readline():
            self._trade(random.Random(self._job.seed))

    def _recover(self) -> int:
        """Sync until no correction is held and no order is in doubt; return the number of syncs."""
        deadline_ns = self._clock.waiting_ns() + round(AGREEMENT_SEC * 1e9)
        result, syncs = self._reconciler.startup_recovery(), 1
        while self._clock.waiting_ns() < deadline_ns:
            waits = self._reconciler.holds or self._pm.book.in_doubt or self._pm.book.unexplained
            if result.status.value == "SUCCESS" and not waits:
                break
            self._clock.sleep(LOOK_AGAIN_SEC)
            result, syncs = self._reconciler.sync_positions(), syncs + 1
        return syncs

    def _found(self, syncs: int) -> dict[str, Any]:
        # A position of the order in doubt is resolved, not adopted, so its entry does not count.
        trail = self._reconciler.get_audit_trail()
        ours = {entry["ticket"] for entry in trail if entry["action"] == "SETTLED"}
        said = {
            action: [_detail(entry) for entry in trail if entry["action"] == action]
            for action in ("CLOSED", "DRIFT_FIX")
        }
        zombies = [e for e in trail if e["action"] == "RECOVERY" and e["ticket"] not in ours]
        rows = [holding.position for holding in self._pm.book.holdings.values()]
        dead = self._pm.book.by_key.get(self._job.before)
        return {
            "syncs": syncs,
            "positions": [[p.ticket, p.side.word, p.volume, p.sl, p.tp] for p in rows],
            "kept": len(self._known & {p.ticket for p in rows}),
            "adopted": [_detail(entry) for entry in zombies],
            "closed": said["CLOSED"],
            "corrected": said["DRIFT_FIX"],
            "order": _decided(dead, trail, {p.ticket for p in rows}) if dead else None,
            "health": self._reconciler.health,
        }

    def _trade(self, chance: random.Random) -> None:
        """Open and change a few positions, then send the order during which this process dies."""
        pm = self._pm
        for _ in range(chance.randint(2, 4)):
            pm.submit(chance.choice(["buy", "sell"]), _lots(chance), magic=MAGIC, why="drill")
        tickets = list(pm.get_local_positions())
        pm.modify(chance.choice(tickets), 0.0, 0.0)
        self._armed = True
        if chance.random() < 1 / 3:
            pm.close(chance.choice(tickets), key=self._job.key, why="the last order")
        else:
            side = chance.choice([Side.BUY, Side.SELL])
            pm.submit(side, _lots(chance), magic=MAGIC, key=self._job.key, why="the last order")

    def _pass(self, point: CrashPoint) -> None:
        if self._armed and point is self._job.die_at:
            _say({"at": point.value})
            sys.stdin.read()
            raise SystemExit(1)


def _lots(chance: random.Random) -> float:
    return chance.randint(1, 5) / 100


def _detail(entry: AuditEntry) -> str:
    return f"Ticket {entry['ticket']}: {entry['details']}"


def _decided(order: Order, trail: list[AuditEntry], tickets: set[int]) -> dict[str, Any]:
    """Return the outcome of the order during which the last process died, with its case."""
    # An order with a recorded outcome has no audit entry; the table then names the case.
    settled = [e["details"] for e in trail if e["action"] == "SETTLED"]
    mine = [text for text in settled if order.order_id in text]
    because = mine[0].partition(": ")[2] if mine else order.error or ""
    if not because:
        shows = BrokerShows.OPEN if order.ticket in tickets else BrokerShows.CLOSED
        case = decide(JournalSays.FILLED, shows, settled=True)
        because = f"case {case.label}: {case.because}"
    found = _CASE.search(because)
    return {
        "order_id": order.order_id,
        "what": f"{order.action} {order.volume:g}L {order.symbol}",
        "status": order.status.value,
        "case": found[1] if found else "",
        "because": because,
    }


def _say(facts: dict[str, Any]) -> None:
    sys.stdout.write(msgspec.json.encode(facts).decode() + "\n")
    sys.stdout.flush()


def main() -> None:
    """Run the bot of the job on the command line."""
    logging.disable(logging.CRITICAL)
    DrillBot(msgspec.json.decode(sys.argv[1], type=Job)).run()


if __name__ == "__main__":
    main()
