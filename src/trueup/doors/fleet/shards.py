"""Which accounts belong to which shard, and how many shards a node should have."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping


def shard_of(account: str, shards: int) -> int:
    """Return the shard of an account, by its name alone: the same on every machine."""
    return zlib.crc32(account.encode()) % shards


def shards_of(accounts: Iterable[str], shards: int) -> frozenset[int]:
    """Return the shards that have accounts."""
    return frozenset(shard_of(name, shards) for name in accounts)


def target_of(node: str, loads: Mapping[str, int], shards: int) -> int:
    """Return how many shards a node should have.

    Every node computes the same from the same loads. What cannot be shared out evenly stays with
    the nodes that have the most, so that few shards move.

    Args:
        node: the node.
        loads: the number of shards of each living node that takes shards.
        shards: the number of shards that have accounts.
    """
    if node not in loads:
        return 0
    each, more = divmod(shards, len(loads))
    ranked = sorted(loads, key=lambda name: (-loads[name], name))
    return each + (ranked.index(node) < more)
