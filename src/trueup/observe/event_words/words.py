"""The words that every class of event must have; a class without one of them cannot be created."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import ClassVar, Generic, Literal, NamedTuple, TypeVar, get_args

import msgspec

from trueup.core.book import events
from trueup.core.book.lifecycle import OrderStatus
from trueup.core.quantity import format_price

AuditAction = Literal[
    "RECOVERY",
    "CLOSED",
    "DRIFT_FIX",
    "MISSING",
    "FOUND",
    "EXPLAINED",
    "SETTLED",
    "ORDER",
    "HALT",
    "BOUND",
    "COMPARED",
    "LOST",
    "TAKEN_OVER",
    "LIMIT",
    "PERSON",
    "PROPOSAL",
    "REFUSED",
    "WATCH",
]
"""The kinds of audit entries. The first three are those of the guide."""

OrderAction = Literal[
    "INTENT", "SENT", "FILLED", "APPLIED", "REJECTED", "IN_DOUBT", "SETTLED", "DELIVERED"
]
"""The kinds of entries about an order's own steps."""

Actions = frozenset[AuditAction | OrderAction]
"""The kinds of entries that one class of event can have."""

CountsAs = Literal["recovered", "closed", "drift", "explained", "order", "nothing"]
"""The figure of a sync's result that an event belongs to."""

ACTIONS: tuple[AuditAction | OrderAction, ...] = tuple(
    dict.fromkeys((*get_args(OrderAction), *get_args(AuditAction)))
)
"""All kinds of entries, in the order of the lists for people."""

WARNING, INFO, ERROR = logging.WARNING, logging.INFO, logging.ERROR

ACCOUNT = "Account"
"""The place of a plan's step that is about the account rather than a symbol."""


class Entry(NamedTuple):
    """An audit entry: its kind, the ticket, a sentence, and the state before and after."""

    action: AuditAction
    ticket: int | None
    details: str
    before: str = ""
    after: str = ""


class Line(msgspec.Struct, frozen=True, gc=False):
    """A log line: its level, its name for machines, the ticket, and the guide's text."""

    level: int
    event: str
    ticket: int | None
    text: str


class Block(msgspec.Struct, frozen=True):
    """One step of a plan: a sign, the position, the evidence, and the consequence."""

    sign: str
    ticket: int
    symbol: str
    what: str
    evidence: str
    consequence: str
    id: str = ""


E = TypeVar("E", bound=events.Event)
OE = TypeVar("OE", bound=events.OrderEvent)


class Words(ABC, Generic[E]):
    """The words for one class of event."""

    counts_as: ClassVar[CountsAs] = "nothing"

    @property
    @abstractmethod
    def actions(self) -> Actions:
        """The kinds of audit entries that an event of this class can become."""

    def is_correction(self, event: E) -> bool:
        """Return whether the event corrects the book; an order's own steps do not."""
        return True

    @abstractmethod
    def entry(self, event: E) -> Entry | None:
        """Return the audit entry; None for an event that is never a correction."""

    @abstractmethod
    def lines(self, event: E) -> Iterable[Line]:
        """Return the log lines of a correction."""

    @abstractmethod
    def step(self, event: E, digits: int | None) -> Block:
        """Return the step of a plan; `digits` are the decimals of the account's currency."""

    @abstractmethod
    def difference(self, event: E) -> str:
        """Return the difference that the event would correct, or an empty string."""

    @abstractmethod
    def tickets(self, event: E) -> set[int]:
        """Return the tickets and identifiers in the event; 0 stands for none."""

    def orders(self, event: E) -> Iterable[int]:
        """Return the tickets of the orders behind the event: first that of the position."""
        return self.tickets(event)

    def count(self, event: E) -> str:
        """Return the sentence for the figure that `counts_as` names."""
        return ""


class OrderWords(Words[OE]):
    """The words for one class of event about an order of ours."""

    @abstractmethod
    def told(
        self, event: OE, about: str, before: OrderStatus | None
    ) -> tuple[OrderAction, int | None, str]:
        """Return the entry for this step in the order's own history.

        Args:
            event: the step.
            about: the order's id, with the order's parameters if they are known.
            before: the order's status before the step, None if unknown.
        """


def level(price: float) -> str:
    """Return a stop loss or another price level for a sentence."""
    return format_price(price) if price else "none"


def assumed_by(who: str) -> str:
    """Name the person who made an assumption; '' for a proven outcome."""
    return f", assumed: {who} says so" if who else ""
