"""Limit the request rate of each client with a token bucket.

One client in a tight loop must not starve the others. A bucket holds `burst` requests and gains
`per_sec` requests a second (RFC 2697, the leaky bucket as a meter). A request that finds its bucket
empty is refused at once and not queued.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable

import msgspec

# A full bucket needs no entry: a client without an entry has a full bucket.
BUCKETS_MAX = 4_096


class Rate(msgspec.Struct, frozen=True):
    """A rate limit: requests a second on average, and requests at once after a pause."""

    per_sec: float
    burst: int


class Rates:
    """The token buckets of all clients; not thread-safe.

    Args:
        rate: the limit of each client.
        now_ns: nanoseconds, by the clock for ages.
    """

    def __init__(self, rate: Rate, now_ns: Callable[[], int]) -> None:
        self._now_ns = now_ns
        self.rate: Rate = rate
        # For each client, when its bucket will be full again (ns). Most recently used last.
        self._full_at_ns: OrderedDict[Hashable, int] = OrderedDict()
        self._cost_ns = round(1e9 / rate.per_sec)

    def take(self, client: Hashable) -> int:
        """Take a token out of a client's bucket.

        Returns:
            0, or if the bucket is empty, in how many ms it will have a token.
        """
        now_ns, deep_ns = self._now_ns(), self.rate.burst * self._cost_ns
        full_at_ns = max(self._full_at_ns.get(client, 0), now_ns)
        # If the clock was set back, cap the debt at one bucket, or the client would wait too long.
        full_at_ns = min(full_at_ns, now_ns + deep_ns) + self._cost_ns
        over_ns = full_at_ns - now_ns - deep_ns
        if over_ns > 0:
            return -(-over_ns // 1_000_000)
        # A refused request does not use a token, so only this branch stores the new level.
        self._full_at_ns[client] = full_at_ns
        self._full_at_ns.move_to_end(client)
        # Forget the client that has been quiet longest: its bucket is the most likely to be full.
        if len(self._full_at_ns) > BUCKETS_MAX:
            self._full_at_ns.popitem(last=False)
        return 0
