"""Compare the book with a snapshot: zombie, ghost, drift, foreign, match.

This module only finds differences; `core.sync.plan` decides how to act on them.

All fields of `core.digest` are compared. Volumes and prices are compared at 1e-8, not at the
symbol's step and tick, because step and tick apply to orders only. Two roundings do not count as a
difference, because brokers round values that we ordered or averaged ourselves: a stop to the
symbol's digits, and an open price to three more digits at each of our fills (MT5 reference,
"price_open arithmetic"). Stops and magic numbers are compared only if the reading has evidence,
because only such a reading is certain to carry them.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from trueup.core.book.book import Holding, Pending
from trueup.core.model import OrderType, PendingOrder, Position, Snapshot, SymbolSpec
from trueup.core.policy import Policy
from trueup.core.quantity import FINEST_STEP, same, to_units

IDENTITY = ("symbol", "side", "ticket")
PROTECTION = ("sl", "tp")
PENDING_IDENTITY = ("symbol", "type")
PENDING_FIGURES = ("volume", "price_open", "price_stoplimit", "sl", "tp")
# Brokers round an averaged open price to this many digits more than the symbol's.
AVERAGE_DIGITS = 3
# More digits than this are an error of the sender.
MOST_DIGITS = 12


class Zombie(msgspec.Struct, frozen=True, gc=False):
    """Open at the broker, unknown locally."""

    remote: Position

    @property
    def change(self) -> int:
        """The broker's lots minus the book's, in units of 1e-8 lots, negative when short."""
        return to_units(self.remote.net_volume)


class Ghost(msgspec.Struct, frozen=True, gc=False):
    """Open locally, not in the broker's list."""

    local: Position

    @property
    def change(self) -> int:
        """The broker's lots minus the book's, in units of 1e-8 lots, negative when short."""
        return -to_units(self.local.net_volume)


class Drift(msgspec.Struct, frozen=True, gc=False):
    """Open on both sides, and `fields` differ."""

    local: Position
    remote: Position
    fields: tuple[str, ...]

    @property
    def change(self) -> int:
        """The broker's lots minus the book's, in units of 1e-8 lots, negative when short."""
        return to_units(self.remote.net_volume) - to_units(self.local.net_volume)


class PendingDrift(msgspec.Struct, frozen=True):
    """A pending order that is on both sides and differs in `fields`."""

    local: PendingOrder
    remote: PendingOrder
    fields: tuple[str, ...]


class Diff(msgspec.Struct, frozen=True):
    """All differences between the book and a snapshot; `foreign` counts rows that are not ours.

    `updated` are positions of which only the time of the last change differs, if both sides have
    that time.
    """

    zombies: tuple[Zombie, ...] = ()
    ghosts: tuple[Ghost, ...] = ()
    drifts: tuple[Drift, ...] = ()
    updated: tuple[Position, ...] = ()
    foreign: int = 0
    pending_zombies: tuple[PendingOrder, ...] = ()
    pending_ghosts: tuple[PendingOrder, ...] = ()
    pending_drifts: tuple[PendingDrift, ...] = ()


def differing(
    local: Position,
    remote: Position,
    *,
    with_evidence: bool,
    spec: SymbolSpec | None = None,
    averaged: int = 0,
) -> tuple[str, ...]:
    """Return the names of the fields in which two readings of one position differ.

    `averaged` is the number of our fills that the local open price averages; see `Holding`.
    """
    # Digits out of range would make the tolerance huge or overflow; then compare exactly.
    digits = spec.digits if spec and 0 <= spec.digits <= MOST_DIGITS else None
    fields = [name for name in IDENTITY if getattr(local, name) != getattr(remote, name)]
    if not same(local.volume, remote.volume):
        fields.append("volume")
    if not _same_average(local.price_open, remote.price_open, digits, averaged):
        fields.append("price_open")
    # The guide's wire does not carry these fields for certain, so a 0 there proves nothing.
    if with_evidence:
        fields += [
            name
            for name in PROTECTION
            if not _same_level(getattr(local, name), getattr(remote, name), digits)
        ]
        if local.magic != remote.magic:
            fields.append("magic")
    return tuple(fields)


def _same_average(local: float, remote: float, digits: int | None, averaged: int) -> bool:
    """Return whether two open prices are equal, also after the broker's rounding of averages."""
    if same(local, remote):
        return True
    if digits is None or not averaged:
        return False
    # The broker rounds at each fill by half a unit at most, and averages the rounded price further.
    unit = 10.0 ** -(digits + AVERAGE_DIGITS)
    return abs(local - remote) <= averaged * unit / 2 + FINEST_STEP / 2


def _same_level(local: float, remote: float, digits: int | None) -> bool:
    """Return whether two stops are equal, also after the broker's rounding to its digits."""
    return same(local, remote) or (digits is not None and same(round(local, digits), remote))


def diff(
    holdings: Mapping[int, Holding],
    snapshot: Snapshot,
    policy: Policy,
    pending: Mapping[int, Pending] | None = None,
) -> Diff:
    """Compare every position, and every pending order, of both sides, once each.

    The loop is the hot path of trueup: it runs for every position at every sync. So the loop
    compares plain attributes and calls no function for a position that is equal on both sides.
    """
    proven = snapshot.evidence is not None
    specs = {spec.symbol: spec for spec in snapshot.evidence.specs} if snapshot.evidence else {}
    find, is_foreign = holdings.get, policy.is_foreign
    zombies: list[Zombie] = []
    drifts: list[Drift] = []
    updated: list[Position] = []
    foreign = matched = 0
    for remote in snapshot.positions:
        holding = find(remote.identifier)
        if holding is None:
            if is_foreign(remote):
                foreign += 1
            else:
                zombies.append(Zombie(remote))
            continue
        matched += 1
        local = holding.position
        # This test is exact, so rounding differences pass it; `differing` below sorts them out.
        if (
            local.volume != remote.volume
            or local.price_open != remote.price_open
            or local.side is not remote.side
            or local.ticket != remote.ticket
            or local.symbol != remote.symbol
            or (
                proven
                and (
                    local.sl != remote.sl
                    or local.tp != remote.tp
                    or local.magic != remote.magic
                    or 0 < local.time_update_msc < remote.time_update_msc
                )
            )
        ):
            spec = specs.get(remote.symbol)
            fields = differing(
                local, remote, with_evidence=proven, spec=spec, averaged=holding.averaged
            )
            if fields:
                drifts.append(Drift(local, remote, fields))
            elif 0 < local.time_update_msc < remote.time_update_msc:
                updated.append(remote)
    # Equal counts mean that each holding has its row: then no second loop is needed.
    ghosts = () if matched == len(holdings) else _ghosts(holdings, snapshot)
    # Without evidence a reading has no pending orders, so their absence proves nothing.
    found = Diff(tuple(zombies), ghosts, tuple(drifts), tuple(updated), foreign)
    return _with_pending(found, snapshot, policy, pending or {}) if proven else found


def _ghosts(holdings: Mapping[int, Holding], snapshot: Snapshot) -> tuple[Ghost, ...]:
    seen = {remote.identifier for remote in snapshot.positions}
    return tuple(Ghost(h.position) for key, h in holdings.items() if key not in seen)


def _with_pending(
    found: Diff, snapshot: Snapshot, policy: Policy, pending: Mapping[int, Pending]
) -> Diff:
    orders = snapshot.evidence.orders if snapshot.evidence else ()
    if not orders and not pending:
        return found
    # A market order that the broker is still executing, for example for a stop, is in the list for
    # a moment but is not a pending order. Nor is an order without lots left: exchanges show the
    # deal before they remove the order from the list.
    remote = {
        order.ticket: order
        for order in orders
        if (order.type is not OrderType.OTHER and order.volume) or order.ticket in pending
    }
    unknown = [order for ticket, order in remote.items() if ticket not in pending]
    ours = tuple(order for order in unknown if not policy.is_foreign(order))
    # A listed order without lots left was just filled: its deals, not a drift, will explain it.
    drifts = (
        PendingDrift(local.order, remote[ticket], fields)
        for ticket, local in pending.items()
        if ticket in remote
        and remote[ticket].volume
        and (fields := _pending_differing(local.order, remote[ticket]))
    )
    return msgspec.structs.replace(
        found,
        foreign=found.foreign + len(unknown) - len(ours),
        pending_zombies=ours,
        pending_ghosts=tuple(p.order for t, p in pending.items() if t not in remote),
        pending_drifts=tuple(drifts),
    )


def _pending_differing(local: PendingOrder, remote: PendingOrder) -> tuple[str, ...]:
    fields = [name for name in PENDING_IDENTITY if getattr(local, name) != getattr(remote, name)]
    fields += [
        name for name in PENDING_FIGURES if not same(getattr(local, name), getattr(remote, name))
    ]
    if local.magic != remote.magic:
        fields.append("magic")
    return tuple(fields)
