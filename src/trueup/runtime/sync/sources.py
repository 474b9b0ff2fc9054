"""Read the broker through any gateway object, with or without waiting for the answer."""

from __future__ import annotations

from typing import Any, Protocol

from trueup.core.account.trust import Reason, Unknown
from trueup.gateway.client.execution_gateway import ExecutionGateway
from trueup.gateway.client.reader import PLAIN, Question, Reading
from trueup.protocol.guide import read_positions
from trueup.protocol.history import PastDeals, Span


class HistorySource(Protocol):
    """A gateway that serves all deals of a span."""

    @property
    def serves_history(self) -> bool:
        """Whether the gateway reports that it serves deals page by page."""

    @property
    def time_offset_sec(self) -> int | None:
        """The trade server's clock less UTC, None if unknown."""

    def read_history(self, span: Span, symbols: tuple[str, ...] = ()) -> PastDeals | Unknown:
        """Return all deals of positions in a span; waits for each page."""

    def ask_history(self, span: Span, symbols: tuple[str, ...] = ()) -> None:
        """Begin to ask for all deals of a span; never waits."""

    def poll_history(self, now_ns: int) -> PastDeals | Unknown | None:
        """Continue `ask_history`; return the deals after the last page; never waits."""


class Source(Protocol):
    """A source of readings of the broker."""

    waits: bool
    timeout_ns: int
    lists_at_once: bool
    """Whether the list shows our own orders as soon as they are executed."""

    @property
    def messages_sent(self) -> int:
        """The number of messages sent; each message of a question may take `timeout_ns`."""

    def read(self, question: Question = PLAIN) -> Reading:
        """Ask and wait for the answer."""

    def ask(self, question: Question = PLAIN) -> None:
        """Begin to ask; never waits."""

    def poll(self) -> Reading | None:
        """Return the answer to `ask`, or None before the answer is there; never waits."""

    def give_up(self) -> Reading:
        """Abandon the current question; return an unknown reading with the reason."""

    def hint(self, now_ns: int) -> str:
        """Return the gateway's reason to ask now, or an empty string."""

    @property
    def history(self) -> HistorySource | None:
        """The source of all deals of a span, or None."""


class GatewaySource:
    """Reads through an `ExecutionGateway`, without making the strategy wait."""

    waits = False
    lists_at_once = False

    def __init__(self, gateway: ExecutionGateway) -> None:
        self.timeout_ns: int = gateway.timeout_ms * 1_000_000
        self.history: ExecutionGateway = gateway

    @property
    def messages_sent(self) -> int:
        """The number of messages sent."""
        return self.history.messages_sent

    def read(self, question: Question = PLAIN) -> Reading:
        """Ask and wait for the answer."""
        return self.history.read(question)

    def ask(self, question: Question = PLAIN) -> None:
        """Begin to ask; never waits."""
        self.history.ask(question)

    def poll(self) -> Reading | None:
        """Return the answer to `ask`, or None before the answer is there; never waits."""
        return self.history.poll()

    def give_up(self) -> Reading:
        """Abandon the current question; return an unknown reading with the reason."""
        return self.history.give_up()

    def hint(self, now_ns: int) -> str:
        """Return the reason of the gateway's latest hint, or an empty string."""
        return self.history.hint(now_ns)


class CallSource:
    """Reads through any object with `get_positions()`, such as the guide's Mock, and waits."""

    waits = True
    timeout_ns = 0
    messages_sent = 0
    history = None

    def __init__(self, gateway: Any) -> None:
        self._gateway = gateway
        # An object with a list and without `send_order` plays the broker itself, as the guide's
        # Mock does: its list is never behind.
        self.lists_at_once: bool = not callable(getattr(type(gateway), "send_order", None))

    def read(self, question: Question = PLAIN) -> Reading:
        """Call `get_positions()`; any exception or value becomes a reading."""
        try:
            reply = self._gateway.get_positions()
        except Exception as error:  # noqa: BLE001 - a user's gateway object may raise anything
            raised = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            return Unknown(Reason.OFFLINE, f"Gateway offline - {raised}")
        return read_positions(reply)

    def ask(self, question: Question = PLAIN) -> None:
        """Do nothing: `read` and `poll` ask."""

    def poll(self) -> Reading | None:
        """Call `get_positions()` and wait."""
        return self.read()

    def give_up(self) -> Reading:
        """Return an unknown reading."""
        return Unknown(Reason.OFFLINE, "Gateway offline")

    def hint(self, now_ns: int) -> str:
        """Return an empty string: such an object sends no hints."""
        return ""


def source_of(gateway: Any) -> Source:
    """Return the source for a gateway object.

    An `ExecutionGateway` is recognised by its real class and its own `get_positions`. A Mock made
    from its spec, and a gateway with a replaced `get_positions`, are called instead.
    """
    if (
        issubclass(type(gateway), ExecutionGateway)
        and type(gateway).get_positions is ExecutionGateway.get_positions
        and "get_positions" not in vars(gateway)
    ):
        return GatewaySource(gateway)
    if not callable(getattr(gateway, "get_positions", None)):
        raise TypeError(f"{type(gateway).__name__} is no gateway: it has no get_positions().")
    return CallSource(gateway)
