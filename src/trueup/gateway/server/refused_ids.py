"""Remember the orders that were refused before the desk saw them, so that no copy is sent later.

A copy of such an order may arrive when it could be executed (the terminal is free again, a line of
the allow file is back), after the sender was told "not sent". The ids are kept in memory and in
bounds, so that a flood fills neither memory nor disk. They are kept per user, so that no user can
block the id of another. A restart of the gateway forgets them.
"""

from __future__ import annotations

import threading
from collections import OrderedDict

# An id has at most 128 characters: a third of a megabyte for a user that sends the longest.
IDS_PER_USER = 1_024
USERS = 64


class RefusedIds:
    """The ids of recently refused orders; thread-safe.

    Args:
        ids_per_user: how many ids are kept per user.
        users: for how many users, those refused most recently.
    """

    def __init__(self, ids_per_user: int = IDS_PER_USER, users: int = USERS) -> None:
        self._ids_per_user, self._users = ids_per_user, users
        self._ids: OrderedDict[str, OrderedDict[str, None]] = OrderedDict()
        self._lock = threading.Lock()

    def note(self, user: str, order_id: str) -> None:
        """Store the id of a refused order; `user` is empty on a gateway without keys."""
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
        """Return whether an order of `user` with this id was refused recently."""
        with self._lock:
            return order_id in self._ids.get(user, ())
