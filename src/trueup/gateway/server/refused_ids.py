"""Orders that were turned away before the desk saw them: what was said not to be sent is not sent.

A copy of such an order may come when it could be carried out (the terminal is free again, a line
of the allow file is back), and its sender has gone on. The ids are kept in memory alone and in
bounds, so that a flood of requests fills neither memory nor disk; and apart for each user, so that
nobody can take an id from another. A new start of the gateway forgets them.
"""

from __future__ import annotations

import threading
from collections import OrderedDict

# Ids have at most 128 characters: a third of a megabyte for a user who sends the longest.
IDS_PER_USER = 1_024
USERS = 64


class TurnedAway:
    """The latest ids that were turned away; safe to share between threads.

    Args:
        ids_per_user: how many of each user's are kept.
        users: of how many users, the latest who were turned away.
    """

    def __init__(self, ids_per_user: int = IDS_PER_USER, users: int = USERS) -> None:
        self._ids_per_user, self._users = ids_per_user, users
        self._ids: OrderedDict[str, OrderedDict[str, None]] = OrderedDict()
        self._lock = threading.Lock()

    def note(self, user: str, order_id: str) -> None:
        """Keep that an order of a user was turned away; `user` is empty where nobody logs in."""
        with self._lock:
            ids = self._ids.setdefault(user, OrderedDict())
            self._ids.move_to_end(user)
            ids[order_id] = None
            ids.move_to_end(order_id)
            if len(ids) > self._ids_per_user:
                ids.popitem(last=False)
            if len(self._ids) > self._users:
                self._ids.popitem(last=False)

    def has(self, user: str, order_id: str) -> bool:
        """Return whether an order of a user was turned away lately."""
        with self._lock:
            return order_id in self._ids.get(user, ())
