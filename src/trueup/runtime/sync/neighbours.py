"""Find other books that count the same positions as this book, and warn about them.

Our own gateway knows which books ask it. On the guide's wire no gateway tells, so the bots of a
folder find each other by their state files, and the books of a process find each other in memory.
The log names each such book once, and the status names each as long as it exists. Entries stay
allowed: only a person knows which of the two books is meant to trade, and both books agree with the
broker.
"""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from trueup.core.account.trust import Bound
from trueup.core.model import Evidence
from trueup.core.policy import Policy
from trueup.core.scope import Scope, overlap
from trueup.gateway.client.execution_gateway import ExecutionGateway
from trueup.gateway.desk.asking_books import LATELY_NS
from trueup.logs import Logger, logger
from trueup.protocol.text import writable

if TYPE_CHECKING:
    from trueup.runtime.bot.portfolio import PortfolioManager

log: Logger = logger("trueup.reconciler")

REMEDY = (
    "give each bot a magic number of its own (`magic=`, `--magic`) and adopt ours, or give one of "
    "them another symbol"
)


class OwnScope:
    """The scope of this book: its names, its account and the positions that it counts."""

    def __init__(self, pm: PortfolioManager, policy: Policy) -> None:
        self._pm, self._policy = pm, policy
        self._made: tuple[Bound | None, Scope, Scope] | None = None

    @property
    def age_ns(self) -> int:
        """The time by the book's clock for ages (ns)."""
        return self._pm.clock.age_ns()

    @property
    def now(self) -> Scope:
        """The whole scope, with its symbols."""
        return self._of(self._pm.book.bound)[1]

    @property
    def on_wire(self) -> Scope:
        """The scope in a question, without symbols: the question lists the symbols itself."""
        return self._of(self._pm.book.bound)[2]

    def _of(self, bound: Bound | None) -> tuple[Bound | None, Scope, Scope]:
        # Every question carries the scope, so build it only when the account changes.
        if self._made is None or self._made[0] != bound:
            pm, policy = self._pm, self._policy
            whole = Scope(
                pm.run_id,
                writable(pm.stream),
                pm.process.number,
                writable(pm.process.host),
                policy.adopt.name.lower(),
                pm.magic,
                tuple(sorted(policy.magics)),
                writable(policy.comment_prefix),
                writable(bound.name) if bound is not None else "",
                tuple(sorted(policy.symbols)),
            )
            self._made = bound, whole, whole.shortened()
        return self._made


class Neighbours:
    """The other books that count positions of this book as their own.

    Args:
        own: the scope of the book.
        gateway: the gateway object that the book's reconciler reads.
    """

    def __init__(self, own: OwnScope, gateway: Any) -> None:
        self._own = own
        # Two gateway objects with one address read one account. Any other object has no address;
        # `type` rather than `isinstance`, because a Mock made from the class passes `isinstance`.
        self._place = gateway.url if issubclass(type(gateway), ExecutionGateway) else ""
        self._of_gateway: tuple[Scope, ...] = ()
        self._of_folder: tuple[Scope, ...] = ()
        # On the guide's wire: the numbers of this book's first and latest reading among all
        # readings of this process, and the time of the latest (ns, clock for ages); 0 before the
        # first.
        self._first = self._last = self._last_ns = 0
        self._said: set[str] = set()

    def believed(self, evidence: Evidence | None, asked_ns: int) -> None:
        """Note the books that a believed reading names; on the guide's wire it names none.

        `asked_ns` is the time of its question by the book's clock for ages.
        """
        self._of_gateway = ()
        if evidence is not None:
            self._of_gateway = tuple(neighbour.scope for neighbour in evidence.neighbours)
        elif self._place:
            self._last, self._last_ns = next(_READINGS), asked_ns
            self._first = self._first or self._last
            _READERS.add(self)
        self._say()

    def found(self, scopes: Iterable[Scope]) -> None:
        """Note the other books of this folder that read the same gateway."""
        self._of_folder = tuple(scopes)
        self._say()

    @property
    def sentences(self) -> tuple[str, ...]:
        """One sentence for each such book."""
        return tuple(said for _, said in self._overlapping())

    def _overlapping(self) -> Iterator[tuple[str, str]]:
        own = self._own.now
        known = {
            book.run: book for book in (*self._of_folder, *self._of_process(), *self._of_gateway)
        }
        for run, scope in known.items():
            shared = "" if run == own.run else overlap(own, scope)
            if shared:
                yield run, f"{scope.name} counts the same positions as its own: {shared}"

    def _of_process(self) -> Iterator[Scope]:
        """Yield the other books of this process that read the same gateway.

        A book counts from its first reading after the first reading of this book, and until its
        readings stop.
        """
        for other in tuple(_READERS) if self._first else ():
            is_late = other._own.age_ns - other._last_ns > LATELY_NS
            if other._place == self._place and other._last > self._first and not is_late:
                yield other._own.now

    def _say(self) -> None:
        if not self._of_folder and not self._of_gateway and len(_READERS) <= 1:
            # A short way out: every sync comes here, and most bots are alone.
            return
        for run, said in self._overlapping():
            if run not in self._said:
                self._said.add(run)
                log.warning("[NEIGHBOUR] Another bot on this account: %s; %s", said, REMEDY)


# The books of this process that read a gateway, and the counter of their believed readings. Both
# belong to the process, not to a book, so they are global.
_READERS: weakref.WeakSet[Neighbours] = weakref.WeakSet()
_READINGS = itertools.count(1)
