"""The book against a snapshot: zombie, ghost, drift, foreign, match.

This module only says what differs. Whether anything is done about it is `plan`'s business.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from trueup.core.book import Holding
from trueup.core.model import Position, Snapshot
from trueup.core.policy import Policy
from trueup.core.quantity import same, to_units

NUMBERS = ("volume", "price_open")
NAMES = ("side", "ticket")


class Zombie(msgspec.Struct, frozen=True, gc=False):
    """Open at the broker, unknown locally."""

    remote: Position

    @property
    def change(self) -> int:
        """What the broker has more than the book, in units of 1e-8 lots, negative when short."""
        return to_units(self.remote.net_volume)


class Ghost(msgspec.Struct, frozen=True, gc=False):
    """Open locally, not in the broker's list."""

    local: Position

    @property
    def change(self) -> int:
        """What the broker has more than the book, in units of 1e-8 lots, negative when short."""
        return -to_units(self.local.net_volume)


class Drift(msgspec.Struct, frozen=True, gc=False):
    """Open on both sides, and `fields` differ."""

    local: Position
    remote: Position
    fields: tuple[str, ...]

    @property
    def change(self) -> int:
        """What the broker has more than the book, in units of 1e-8 lots, negative when short."""
        return to_units(self.remote.net_volume) - to_units(self.local.net_volume)


class Diff(msgspec.Struct, frozen=True):
    """Everything in which the book and a snapshot differ; `foreign` counts what is not ours."""

    zombies: tuple[Zombie, ...] = ()
    ghosts: tuple[Ghost, ...] = ()
    drifts: tuple[Drift, ...] = ()
    foreign: int = 0


def differing(local: Position, remote: Position) -> tuple[str, ...]:
    """Return the names of the fields in which two readings of one position differ."""
    return tuple(
        [name for name in NAMES if getattr(local, name) != getattr(remote, name)]
        + [name for name in NUMBERS if not same(getattr(local, name), getattr(remote, name))]
    )


def diff(holdings: Mapping[int, Holding], snapshot: Snapshot, policy: Policy) -> Diff:
    """Compare every position of both sides, once each.

    The loop is the product's hot path: it runs for every position at every sync, so it compares
    plain attributes and calls nothing for a position that is the same on both sides.
    """
    symbols = policy.symbols
    find = holdings.get
    zombies: list[Zombie] = []
    drifts: list[Drift] = []
    foreign = matched = 0
    for remote in snapshot.positions:
        holding = find(remote.identifier)
        if holding is None:
            if remote.symbol in symbols:
                zombies.append(Zombie(remote))
            else:
                foreign += 1
            continue
        matched += 1
        local = holding.position
        if (
            local.volume != remote.volume
            or local.price_open != remote.price_open
            or local.side is not remote.side
            or local.ticket != remote.ticket
        ):
            fields = differing(local, remote)
            if fields:
                drifts.append(Drift(local, remote, fields))
    ghosts = () if matched == len(holdings) else _ghosts(holdings, snapshot)
    return Diff(tuple(zombies), ghosts, tuple(drifts), foreign)


def _ghosts(holdings: Mapping[int, Holding], snapshot: Snapshot) -> tuple[Ghost, ...]:
    seen = {remote.identifier for remote in snapshot.positions}
    return tuple(Ghost(h.position) for key, h in holdings.items() if key not in seen)
