"""How often one client may ask: a token bucket for each, so that nobody's loop starves the others.

A bucket holds `burst` requests and gains `per_sec` a second (the leaky bucket of ATM and IntServ,
RFC 2697, as a meter). What finds it empty is refused at once and costs nothing later: no queue.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable

import msgspec

# Full buckets are as good as none, so only those in use need to be kept.
BUCKETS_MAX = 4_096


class Rate(msgspec.Struct, frozen=True):
    """How often one client may ask: on average a second, and at once after a pause."""

    per_sec: float
    burst: int


class Rates:
    """The buckets of all clients.

    Args:
        rate: what each client may.
        now_ns: nanoseconds, by the clock for ages.

    Not safe to share between threads.
    """

    def __init__(self, rate: Rate, now_ns: Callable[[], int]) -> None:
        self._now_ns = now_ns
        self.rate: Rate = rate
        # For each client, when its bucket will be full again (ns). The one used last is last.
        self._full_at_ns: OrderedDict[Hashable, int] = OrderedDict()
        self._cost_ns = round(1e9 / rate.per_sec)

    def take(self, client: Hashable) -> int:
        """Take a token out of a client's bucket.

        Returns:
            0, or where there is none, how many ms from now there will be.
        """
        now_ns, deep_ns = self._now_ns(), self.rate.burst * self._cost_ns
        full_at_ns = max(self._full_at_ns.get(client, 0), now_ns)
        # Were the clock set back, the bucket would seem deeper than it is.
        full_at_ns = min(full_at_ns, now_ns + deep_ns) + self._cost_ns
        over_ns = full_at_ns - now_ns - deep_ns
        if over_ns > 0:
            return -(-over_ns // 1_000_000)
        self._full_at_ns[client] = full_at_ns
        self._full_at_ns.move_to_end(client)
        if len(self._full_at_ns) > BUCKETS_MAX:
            self._full_at_ns.popitem(last=False)
        return 0
