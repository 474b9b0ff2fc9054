"""An equivalent form of a reading: all rows in another order, and all rows of the past twice.

Brokers promise no order of rows, and a gateway may repeat rows; neither may change the plan that a
reading leads to. Open positions and orders are not repeated: a bot counts these rows, and would not
trust such a reading.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TypeVar

import msgspec

from trueup.core.model import Evidence, History, Snapshot
from trueup.core.sync.plan import Plan

_encode = msgspec.json.Encoder().encode
Item = TypeVar("Item")


def retold(snapshot: Snapshot, chance: random.Random) -> Snapshot:
    """Return an equivalent reading."""
    evidence = snapshot.evidence
    return msgspec.structs.replace(
        snapshot,
        positions=_mixed(snapshot.positions, chance),
        evidence=None if evidence is None else _evidence(evidence, chance),
    )


def steps(found: Plan) -> tuple[str, ...]:
    """Return the actions of a plan, sorted, so that two plans can be compared."""
    if not found.events and not found.holds:
        return ()
    events = [_encode(event).decode() for event in found.events]
    holds = [f"{hold.kind.name} {hold.symbol} {hold.identifier}" for hold in found.holds]
    return tuple(sorted(events + holds))


def _evidence(evidence: Evidence, chance: random.Random) -> Evidence:
    history = evidence.history
    return msgspec.structs.replace(
        evidence,
        orders=_mixed(evidence.orders, chance),
        deals=_mixed(evidence.deals * 2, chance),
        past_orders=_mixed(evidence.past_orders * 2, chance),
        requests=_mixed(evidence.requests * 2, chance),
        history=None if history is None else _history(history, chance),
    )


def _history(history: History, chance: random.Random) -> History:
    return msgspec.structs.replace(
        history,
        orders=_mixed(history.orders * 2, chance),
        deals=_mixed(history.deals * 2, chance),
    )


def _mixed(rows: Sequence[Item], chance: random.Random) -> tuple[Item, ...]:
    return tuple(chance.sample(rows, len(rows))) if len(rows) > 1 else tuple(rows)
