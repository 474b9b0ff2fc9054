"""The way of a node to a gateway: cut off, late, or with the node standing still before it."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Protocol

from trueup.gateway.client.renewals import Renewable
from trueup.lab.system.schedule import MS, SECOND, Schedule
from trueup.lab.system.wire import Network

# The renewals of a process that stands still are looked at again so often.
AGAIN_MS = 200


class OnTheWay(Protocol):
    """The process at this end of the way."""

    @property
    def is_frozen(self) -> bool:
        """Whether the process stands still."""

    @property
    def gateways_cut_until_ns(self) -> int:
        """Until when nothing arrives at a gateway, or from one."""

    def is_doomed(self) -> bool:
        """Return whether the process was killed."""

    def sends(self) -> int:
        """Pass the moment before an order leaves; return how much later it arrives (ms)."""


class Way:
    """What carries the requests of a process to a gateway; see `wire.Way`.

    Args:
        network: the gateway's network.
        process: the process.
        chance: draws what becomes of messages during a cut.
        loses: whether a message that is sent during a cut never arrives later.
    """

    def __init__(
        self, network: Network, process: OnTheWay, chance: random.Random, *, loses: bool
    ) -> None:
        self._network, self._process, self._chance = network, process, chance
        self._loses = loses

    @property
    def schedule(self) -> Schedule:
        """The world's time."""
        return self._network.schedule

    @property
    def is_listening(self) -> bool:
        """Whether a gateway takes connections."""
        return self._network.is_listening

    def request(self, message: bytes, reply_to: Callable[[bytes], None]) -> None:
        """Carry a request to the gateway, and its reply back."""
        late_ms = self._process.sends() if b'"order_id"' in message else 0
        wait_ns = self._process.gateways_cut_until_ns - self.schedule.now_ns
        if wait_ns > 0:
            if self._loses or self._chance.random() < 0.5:
                return
            # What the system has taken, it may deliver once the cable is back.
            late_ms += wait_ns // MS + 1

        def carry() -> None:
            self._network.request(message, lambda reply: self._back(reply, reply_to))

        if late_ms:
            self.schedule.after(late_ms, carry)
        else:
            carry()

    def _back(self, reply: bytes, reply_to: Callable[[bytes], None]) -> None:
        if self.schedule.now_ns >= self._process.gateways_cut_until_ns:
            reply_to(reply)


class WorldRenewals:
    """Renews the claims of a process in virtual time; see `renewals.Renewing`."""

    def __init__(self, schedule: Schedule, process: OnTheWay) -> None:
        self._schedule, self._process = schedule, process
        self._due: dict[Renewable, int] = {}
        self._count = 0

    def add(self, one: Renewable, wait_sec: float) -> None:
        """Take the steps of a claim, the first one after a wait."""
        self._plan(one, self._schedule.now_ns + round(wait_sec * SECOND))

    def soon(self, one: Renewable) -> None:
        """Take the next step of a claim at once, if it is renewed at all."""
        if one in self._due:
            self._plan(one, self._schedule.now_ns)

    def remove(self, one: Renewable) -> None:
        """Renew a claim no more."""
        self._due.pop(one, None)

    def _plan(self, one: Renewable, at_ns: int) -> None:
        self._count += 1
        count = self._due[one] = self._count
        self._schedule.at(at_ns, lambda: self._step(one, count))

    def _step(self, one: Renewable, count: int) -> None:
        if self._due.get(one) != count or self._process.is_doomed():
            return
        if self._process.is_frozen:
            self._plan(one, self._schedule.now_ns + AGAIN_MS * MS)
            return
        after = one.step(self._schedule.now_ns / SECOND)
        if after is None:
            self._due.pop(one, None)
        elif self._due.get(one) == count:
            self._plan(one, round(after * SECOND))
