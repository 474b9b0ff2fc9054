"""The moments at which a node may stand still."""

from __future__ import annotations

import enum


class Spot(enum.Enum):
    """A moment at which a node may stand still."""

    JOURNALLED = "an order is journalled, and the right to send it is not checked yet"
    SENDING = "an order is about to leave"
    OPENING = "an account of a claimed shard is about to be opened"
