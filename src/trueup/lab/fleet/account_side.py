"""The side of an account that no node has: trade server, terminal, gateway, and its owner."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from trueup.doors.account import Account
from trueup.errors import JournalConflict, JournalError, NotSent, Refused
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.lab.facts.facts import Fact
from trueup.lab.fleet import facts
from trueup.lab.fleet.plan import EARLIER, FENCED, OTHER, FleetPlan
from trueup.lab.plan.plan import SYMBOL
from trueup.lab.system.broker import TellingBroker
from trueup.lab.system.gateway import GatewayProcess
from trueup.lab.system.schedule import MS, Schedule
from trueup.lab.system.wire import Network
from trueup.sim.broker.ledger import Ledger
from trueup.sim.market.records import Outcome
from trueup.sim.market.structs import TradeRequest
from trueup.sim.market.symbols import EURUSD, AccountSetup
from trueup.sim.terminal.terminal import SimulatedTerminal

FIRST_LOGIN = 5_000_001
QUOTE_MS = 800
SPREAD = 0.0001
MOST_POSITIONS = 3
DONE = frozenset({mt5.TRADE_RETCODE_DONE, mt5.TRADE_RETCODE_DONE_PARTIAL, mt5.TRADE_RETCODE_PLACED})
# The words of a gateway that refuses an order for its token.
OLDER = b"another program writes its journal now"


# What a gateway of each kind does not know, in requests and in replies.
_TOKENS = frozenset({"token", "refused"})
HIDDEN: Mapping[str, frozenset[str]] = {
    FENCED: frozenset(),
    EARLIER: _TOKENS,
    OTHER: _TOKENS | {"claim", "in_doubt", "book", "requests", "record", "sent"},
}
CLAIM = "CLAIM"


class _Head(msgspec.Struct):
    """What the judge wants to know of a request."""

    action: str = ""
    token: int = 0
    release: bool = False
    order_id: str = ""
    session: str = ""

    @property
    def opening(self) -> str:
        """The name of the opening that asks: its session, or the end of its order's id."""
        return self.session or self.order_id.split("_", 2)[-1]


_head = msgspec.json.Decoder(_Head).decode


class AccountSide:
    """An account at its trade server, with its terminal and its gateway.

    Args:
        schedule: the world's time.
        plan: the plan of the run.
        number: the account's number.
        observe: takes the facts.
    """

    def __init__(
        self, schedule: Schedule, plan: FleetPlan, number: int, observe: Callable[[Fact], None]
    ) -> None:
        self._schedule, self._observe = schedule, observe
        self._hidden = HIDDEN[plan.setting.gateway]
        self.name = f"a{number}"
        setup = AccountSetup(login=FIRST_LOGIN + number)
        self.login_name = f"{setup.login}@{setup.server}"
        """The account as login@server."""
        broker = TellingBroker(
            told=self._executed,
            accounts=(setup,),
            symbols=(EURUSD,),
            now_msc=lambda: schedule.now_ns // MS,
        )
        self.terminal: SimulatedTerminal = SimulatedTerminal(
            broker=broker, rng=plan.chance(f"terminal {number}")
        )
        assert self.terminal.initialize()
        self.gateway: GatewayProcess = GatewayProcess(
            schedule,
            self.terminal,
            f"gateway{plan.seed:x}.{number}",
            lambda fault, text, order: None,
            lambda message, boot: None,
            lambda message, boot: None,
        )
        self.network: Network = Network(
            schedule, plan.chance(f"network {number}"), self.serve, lambda fault, text: None
        )
        self.gateway.network = self.network
        self.executed = 0
        """How many orders the broker has carried out."""
        self._asked = _Head()
        self._quote()

    @property
    def ledger(self) -> Ledger:
        """The broker's truth about the account."""
        return self.terminal.ledger

    def positions(self) -> tuple[tuple[int, float], ...]:
        """Return identifier and lots of each position, negative for a sell."""
        ledger = self.ledger
        signed = {mt5.POSITION_TYPE_BUY: 1, mt5.POSITION_TYPE_SELL: -1}
        return tuple(
            (key, round(signed[held.type] * ledger.lots(held.symbol, held.steps), 8))
            for key, held in sorted(ledger.positions.items())
        )

    def lose_power(self, down_ms: int) -> None:
        """Let the gateway's machine lose its power, and start again."""
        self.gateway.disk.lose_power()
        self.gateway.stop(down_ms)

    def serve(self, message: bytes) -> bytes | None:
        """Answer a request as the gateway does, and tell what the judge wants to know."""
        asked = self._asked = self._read(message)
        hidden = self._hidden
        if hidden:
            message = _without(message, hidden)
        reply = self.gateway.serve(message)
        if reply is None:
            return None
        if hidden:
            reply = _without(reply, hidden)
        self._tell(asked, reply)
        return reply

    def _read(self, message: bytes) -> _Head:
        with contextlib.suppress(msgspec.MsgspecError):
            return _head(message)
        return _Head()

    def _tell(self, asked: _Head, reply: bytes) -> None:
        now_ns, token = self._schedule.now_ns, 0 if self._hidden else asked.token
        if asked.action == CLAIM and token and not asked.release and b'"SUCCESS"' in reply:
            self._observe(facts.Granted(now_ns, self.name, token))
        elif asked.action == "SNAPSHOT" and b'"FAILED"' not in reply:
            self._observe(facts.ReadBy(now_ns, self.name, asked.opening, token))
        elif asked.order_id and OLDER in reply:
            self._observe(facts.RefusedAsOld(now_ns, self.name, asked.token))

    def _executed(self, login: int, request: TradeRequest, outcome: Outcome) -> None:
        if outcome.retcode not in DONE:
            return
        self.executed += 1
        now_ns, opening = self._schedule.now_ns, self._asked.opening
        self._observe(facts.Executed(now_ns, self.name, opening, request.comment))

    def _quote(self) -> None:
        # Without quotations nobody knows the trade server's time.
        self.terminal.quote(SYMBOL, EURUSD.bid, round(EURUSD.bid + SPREAD, 5))
        self._schedule.after(QUOTE_MS, self._quote)


def _without(message: bytes, names: Iterable[str]) -> bytes:
    told: dict[str, Any] = msgspec.json.decode(message)
    if "claim" in names and CLAIM in told.get("capabilities", ()):
        told["capabilities"].remove(CLAIM)
    return msgspec.json.encode({key: value for key, value in told.items() if key not in names})


class AccountOwner:
    """The owner of an account, whose wishes outlive every node; draws them from the seed."""

    def __init__(self, plan: FleetPlan, name: str, schedule: Schedule) -> None:
        self._chance: random.Random = plan.chance(f"owner of {name}")
        self._name, self._schedule = name, schedule
        self._every_ms = plan.setting.wish_ms
        self._next_ns = self._count = 0
        self._last: tuple[str, str, float] | None = None
        self.is_quiet = False
        self.wants_one = False
        """Whether the owner, who is quiet, wants an order all the same."""

    def act(self, account: Account) -> str:
        """Ask for an order if one is due; return why it was not sent, or an empty text.

        Raises:
            JournalConflict: another process writes the journal.
        """
        now_ns = self._schedule.now_ns
        if self.is_quiet and not self.wants_one:
            return ""
        if not self.wants_one and now_ns < self._next_ns:
            return ""
        self._next_ns = now_ns + round(self._every_ms * (0.5 + self._chance.random())) * MS
        try:
            order = self._ask(account)
        except JournalConflict:
            raise
        except (Refused, NotSent, ValueError, JournalError):
            return ""
        return "" if order is None else str(order.error or "")

    def _ask(self, account: Account) -> Any:
        chance = self._chance
        if self._last is not None and not self.wants_one and chance.random() < 0.25:
            # As a job that is started anew: the same wish under the same key.
            key, side, lots = self._last
            return account.submit(side, lots, symbol=SYMBOL, key=key)  # type: ignore[arg-type]
        self._count += 1
        key = f"{self._name} {self._count}"
        tickets = sorted(account.positions)
        if tickets and (len(tickets) >= MOST_POSITIONS or chance.random() < 0.4):
            return account.close(chance.choice(tickets), key=key)
        side, lots = chance.choice(("buy", "sell")), chance.choice((0.01, 0.02, 0.03))
        self._last = key, side, lots
        return account.submit(side, lots, symbol=SYMBOL, key=key)  # type: ignore[arg-type]
