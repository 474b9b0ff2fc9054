"""The plan of a run of the simulated fleet: data, drawn from a single seed.

Each seed has a fault of a node and an act of the fleet in its focus, which come together: the act
while the fault lasts. Seed after seed has the next pair.
"""

from __future__ import annotations

import enum
import itertools
import random
from typing import Any

import msgspec

SAFETY_MS_LEAST, SAFETY_MS_MOST = 14_000, 24_000
STRIKES_LEAST, STRIKES_MOST = 2, 6
# As a rule the nodes share the accounts out first; in a run of eight they are struck before.
FIRST_MS = (3_000, 3_000, 3_000, 3_000, 3_000, 3_000, 3_000, 200)
# The share of runs with faults that come one after the other.
PLOTS = 0.5
# The gateways of a run: those of this release, of an earlier one without fencing tokens, and of
# somebody else, without claims and without a record of requests as well.
FENCED, EARLIER, OTHER = "fenced", "earlier", "other"
GATEWAYS = (FENCED, FENCED, FENCED, FENCED, EARLIER, OTHER, OTHER)
LEASE_MS = 1_500


class FleetFault(enum.Enum):
    """Every kind of fault and of act, in words that go into a sentence."""

    # Faults of a node.
    FREEZE = "a node stands still past its lease, and wakes"
    FREEZE_JOURNALLED = "a node stands still with an order journalled and not sent"
    FREEZE_SENDING = "a node stands still with an order about to leave"
    FREEZE_OPENING = "a node stands still before it opens an account"
    CUT_FROM_DATABASE = "a node is cut off from the database"
    CUT_FROM_GATEWAYS = "a node is cut off from the gateways"
    CLOCKS_APART = "the clock of a node's machine is set"
    KILL = "a node is killed"
    # Other faults.
    ORDER_LATE = "an order is sent, and late on the wire"
    ORDER_LATE_ALONE = "an order is sent and late on the wire, and its node is killed"
    SLOW_OPENINGS = "accounts are claimed at their gateways, and read much later"
    GATEWAY_RESTARTED = "a gateway's machine loses its power"
    # Acts of people and of the database.
    MOVE = "an account is moved to another node"
    DRAIN = "a node is drained"
    FAILOVER = "the standby of the database takes over"
    PAUSE = "an account is paused"
    END = "a node ends in order, and starts again"


FREEZES = frozenset(
    {
        FleetFault.FREEZE,
        FleetFault.FREEZE_JOURNALLED,
        FleetFault.FREEZE_SENDING,
        FleetFault.FREEZE_OPENING,
    }
)
# Of these each is met together with each of the acts.
OF_NODE = (
    FleetFault.FREEZE,
    FleetFault.CUT_FROM_DATABASE,
    FleetFault.CUT_FROM_GATEWAYS,
    FleetFault.CLOCKS_APART,
)
ACTS = (FleetFault.MOVE, FleetFault.DRAIN, FleetFault.FAILOVER)
PAIRS = tuple(itertools.product(OF_NODE, ACTS))
OTHERS = tuple(fault for fault in FleetFault if fault not in ACTS)
# Gateways without fencing tokens cannot refuse an order that a node sends after it stood still
# between its last check and that: docs/operating/fleet.md says so.
NEED_FENCES = frozenset({FleetFault.FREEZE_SENDING, FleetFault.GATEWAY_RESTARTED})


class FleetStrike(msgspec.Struct, frozen=True):
    """A fault at a time: milliseconds after the beginning."""

    number: int
    at_ms: int
    fault: FleetFault


class FleetSetting(msgspec.Struct, frozen=True):
    """The world of a run.

    Attributes:
        nodes: the number of nodes.
        accounts: the number of accounts.
        shards: the number of shards.
        lease_ms: the lease of a node.
        timeout_ms: how long a client waits for a gateway.
        sync_ms: from one sync of an account to the next.
        wish_ms: from one order of an account's owner to the next, about.
        claim_ms: how long a statement that claims takes at most, between its look and its lock.
        gateway: the kind of the gateways, one of `GATEWAYS`.
        sleeps: whether the machine of a frozen node sleeps, so that its clock for waiting stands.
    """

    nodes: int
    accounts: int
    shards: int
    lease_ms: int
    timeout_ms: int
    sync_ms: int
    wish_ms: int
    claim_ms: int
    gateway: str
    sleeps: bool

    def sentence(self) -> str:
        """Return the setting in a sentence."""
        return (
            f"{self.nodes} nodes share {self.accounts} accounts in {self.shards} shards, behind "
            f"{self.gateway} gateways; the lease is {self.lease_ms} ms"
        )

    @property
    def is_fenced(self) -> bool:
        """Whether the gateways record fencing tokens."""
        return self.gateway == FENCED


class FleetPlan(msgspec.Struct, frozen=True):
    """What happens in a run."""

    seed: int
    setting: FleetSetting
    safety_ms: int
    strikes: tuple[FleetStrike, ...]

    def chance(self, purpose: str) -> random.Random:
        """Return chance for a purpose, which no other purpose changes."""
        return random.Random(f"fleet {self.seed} {purpose}")

    def only(self, numbers: frozenset[int]) -> FleetPlan:
        """Return the plan with these strikes alone."""
        kept = tuple(strike for strike in self.strikes if strike.number in numbers)
        return msgspec.structs.replace(self, strikes=kept)


def draw(seed: int) -> FleetPlan:
    """Return the plan of a seed."""
    chance = random.Random(f"fleet {seed}")
    setting = _setting(chance)
    safety_ms = chance.randrange(SAFETY_MS_LEAST, SAFETY_MS_MOST)
    # What comes by chance first would be in the way of a plot as often as not.
    second = _plot(chance, setting) if chance.random() < PLOTS else []
    second = second or _others(chance, safety_ms, setting)
    drawn = [*_focus(seed, chance, safety_ms, setting), *second]
    drawn.sort(key=lambda one: one[0])
    strikes = tuple(FleetStrike(n, at_ms, fault) for n, (at_ms, fault) in enumerate(drawn, 1))
    return FleetPlan(seed, setting, safety_ms, strikes)


def _setting(chance: random.Random) -> FleetSetting:
    gateway = chance.choice(GATEWAYS)
    return FleetSetting(
        nodes=chance.choice((2, 2, 3)),
        accounts=chance.choice((1, 2, 3)),
        shards=chance.choice((2, 4)),
        lease_ms=LEASE_MS,
        # Longer than the lease: an order may arrive after another node has claimed.
        timeout_ms=chance.choice((400, 800) if gateway == FENCED else (800, 2_500)),
        sync_ms=chance.choice((700, 1_200)),
        wish_ms=chance.choice((500, 1_500)),
        claim_ms=chance.choice((2, 2, 300, 900)),
        gateway=gateway,
        sleeps=chance.random() < 0.5,
    )


def _focus(
    seed: int, chance: random.Random, safety_ms: int, setting: FleetSetting
) -> list[tuple[int, FleetFault]]:
    """Return the fault and the act in the focus of a seed, the act soon after the fault."""
    fault, act = PAIRS[seed % len(PAIRS)]
    found: list[tuple[int, FleetFault]] = []
    first_ms = chance.choice(FIRST_MS)
    for _ in range(2):
        struck = fault
        if fault is FleetFault.FREEZE:
            kinds = sorted(FREEZES, key=lambda one: one.name)
            struck = chance.choice([one for one in kinds if fits(one, setting)])
        last_ms = safety_ms - 2_000 if first_ms > LEASE_MS else 2 * LEASE_MS
        at_ms = chance.randrange(first_ms, last_ms)
        found += [(at_ms, struck), (at_ms + chance.randrange(1_500), act)]
    return found


def _plot(chance: random.Random, setting: FleetSetting) -> list[tuple[int, FleetFault]]:
    """Return faults that come one after the other so that a single rule decides.

    Behind gateways with fences, an order of the former owner arrives after the claim of the next
    one and before its first question, which would withdraw the order. Behind the others, an order
    is sent long after the lease, or arrives after the next owner could have read the account.
    """
    at_ms = chance.choice(FIRST_MS) + chance.randrange(3_000)
    if setting.is_fenced:
        sent = chance.choice((FleetFault.FREEZE_SENDING, FleetFault.ORDER_LATE_ALONE))
        return [(at_ms, sent), (at_ms, FleetFault.SLOW_OPENINGS)]
    if chance.random() < 0.5:
        return [(at_ms, FleetFault.ORDER_LATE_ALONE)]
    set_ms = at_ms + setting.wish_ms + chance.randrange(LEASE_MS)
    return [(at_ms, FleetFault.FREEZE_JOURNALLED), (set_ms, FleetFault.CLOCKS_APART)]


def _others(
    chance: random.Random, safety_ms: int, setting: FleetSetting
) -> list[tuple[int, FleetFault]]:
    kinds = [fault for fault in OTHERS if fits(fault, setting)]
    drawn = chance.sample(kinds, 3)
    count = chance.randint(STRIKES_LEAST, STRIKES_MOST)
    return [
        (chance.randrange(chance.choice(FIRST_MS), safety_ms), chance.choice(drawn))
        for _ in range(count)
    ]


def fits(fault: FleetFault, setting: Any) -> bool:
    """Return whether a fault can be in a world of a setting."""
    return setting.is_fenced or fault not in NEED_FENCES
