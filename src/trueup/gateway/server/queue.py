"""The queue of requests that wait for the terminal: bounded, orders first, fair among clients.

Orders are begun in the order of arrival. Queries are begun when no order waits, in turn among the
parties, so a bot that floods the queue with queries delays only itself. No party may use more than
its share of the places.

The front's thread adds tasks and takes back those that waited too long; the desk's thread begins
them. A task is either begun or taken back, never both, so an order answered "not sent" is never
sent later.
"""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict, deque

from trueup.gateway.access.door import Client
from trueup.protocol.requests import ORDERS, Request

# Orders and queries have as many places each: queries cannot keep an order out.
PLACES = 1_024
SHARE = 64


class Task:
    """A client's request, and when it arrived (ns)."""

    __slots__ = ("at_ns", "client", "is_begun", "is_order", "request")

    def __init__(self, client: Client, request: Request, at_ns: int) -> None:
        self.client: Client = client
        self.request: Request = request
        self.at_ns: int = at_ns
        self.is_order: bool = request.action in ORDERS
        self.is_begun: bool = False


class TaskQueue:
    """The tasks without an answer; thread-safe.

    Args:
        places: how many orders, and how many queries, may wait.
        share: how many orders, and how many queries, of one party may wait.
    """

    def __init__(self, places: int = PLACES, share: int = SHARE) -> None:
        self._places, self._share = places, share
        self._orders: deque[Task] = deque()
        self._queries: OrderedDict[str | bytes, deque[Task]] = OrderedDict()
        # All unanswered tasks, oldest first, except begun orders: only their outcome answers them.
        self._open: OrderedDict[Task, None] = OrderedDict()
        self._counts: Counter[tuple[str | bytes, bool]] = Counter()
        self._totals = Counter({True: 0, False: 0})
        # The ids of the orders that wait or are being carried out.
        self._ids: Counter[str] = Counter()
        self._arrived = threading.Condition(threading.Lock())

    def put(self, task: Task) -> str | None:
        """Add a task, or return the reason why there is no place."""
        party, kind = task.client.party, task.is_order
        with self._arrived:
            # Full first: the reason should not blame a client that has few tasks waiting.
            if self._totals[kind] >= self._places:
                return f"{self._totals[kind]} {_kind(task)} wait for the terminal already"
            if self._counts[party, kind] >= self._share:
                return f"{self._share} of your {_kind(task)} wait for the terminal already"
            # From here on the task is accepted: count it everywhere in one critical section.
            self._counts[party, kind] += 1
            self._totals[kind] += 1
            self._open[task] = None
            if kind:
                self._orders.append(task)
                self._ids[task.request.order_id] += 1
            else:
                self._queries.setdefault(party, deque()).append(task)
            self._arrived.notify()
        return None

    def take(self, timeout_sec: float) -> Task | None:
        """Begin the next task; wait at most `timeout_sec` for a task to arrive."""
        with self._arrived:
            if not (self._orders or self._queries):
                self._arrived.wait(timeout_sec)
            task = self._next()
            if task is not None:
                task.is_begun = True
                self._leave(task)
                if task.is_order:
                    del self._open[task]
            return task

    def answered(self, task: Task) -> bool:
        """Note that a begun task has its answer; return whether the client still waits for it."""
        with self._arrived:
            if task.is_order:
                self._forget(task)
                return True
            return self._open.pop(task, False) is None

    def take_back(self, before_ns: int) -> list[Task]:
        """Remove and return the unanswered tasks that arrived before `before_ns`."""
        late: list[Task] = []
        with self._arrived:
            while self._open and next(iter(self._open)).at_ns < before_ns:
                late.append(self._take_oldest())
        return late

    def take_all(self) -> list[Task]:
        """Remove and return all unanswered tasks."""
        with self._arrived:
            return [self._take_oldest() for _ in range(len(self._open))]

    def has_order(self, order_id: str, *, besides: int = 0) -> bool:
        """Return whether more than `besides` orders with this id wait or are being executed."""
        with self._arrived:
            return self._ids[order_id] > besides

    @property
    def oldest_ns(self) -> int | None:
        """When the oldest unanswered task arrived (ns), or None."""
        with self._arrived:
            return next(iter(self._open)).at_ns if self._open else None

    @property
    def count(self) -> int:
        """How many tasks have not been begun."""
        with self._arrived:
            return self._totals.total()

    def _take_oldest(self) -> Task:
        task, _ = self._open.popitem(last=False)
        if not task.is_begun:
            self._drop(task)
            self._leave(task)
        return task

    def _next(self) -> Task | None:
        if self._orders:
            return self._orders.popleft()
        if not self._queries:
            return None
        party, tasks = self._queries.popitem(last=False)
        task = tasks.popleft()
        if tasks:
            self._queries[party] = tasks
        return task

    def _drop(self, task: Task) -> None:
        # A task that is taken back is the oldest of its own queue too.
        if task.is_order:
            self._orders.popleft()
            self._forget(task)
            return
        tasks = self._queries[task.client.party]
        tasks.popleft()
        if not tasks:
            del self._queries[task.client.party]

    def _forget(self, task: Task) -> None:
        order_id = task.request.order_id
        self._ids[order_id] -= 1
        if not self._ids[order_id]:
            del self._ids[order_id]

    def _leave(self, task: Task) -> None:
        key = (task.client.party, task.is_order)
        self._totals[task.is_order] -= 1
        self._counts[key] -= 1
        if not self._counts[key]:
            del self._counts[key]


def _kind(task: Task) -> str:
    return "orders" if task.is_order else "queries"
