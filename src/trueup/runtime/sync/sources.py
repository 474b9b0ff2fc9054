"""Where a reconciler's readings come from: a gateway that can be asked without waiting, or not."""

from __future__ import annotations

from typing import Any, Protocol

from trueup.core.account.trust import Reason, Unknown
from trueup.gateway.client.execution_gateway import ExecutionGateway
from trueup.gateway.client.reader import PLAIN, Question, Reading
from trueup.protocol.guide import read_positions
from trueup.protocol.history import PastDeals, Span


class HistorySource(Protocol):
    """A gateway that can be asked for all deals of a span."""

    @property
    def serves_history(self) -> bool:
        """Whether the gateway said that it serves its deals page by page."""

    @property
    def time_offset_sec(self) -> int | None:
        """The trade server's clock less UTC, where it is known."""

    def read_history(self, span: Span, symbols: tuple[str, ...] = ()) -> PastDeals | Unknown:
        """Return all deals of positions in a span; waits for each page."""

    def ask_history(self, span: Span, symbols: tuple[str, ...] = ()) -> None:
        """Begin to ask for all deals of a span; never waits."""

    def poll_history(self, now_ns: int) -> PastDeals | Unknown | None:
        """Go on with `ask_history`, and return the deals when all are there; never waits."""


class Source(Protocol):
    """Something that can be asked for a reading of the broker."""

    waits: bool
    timeout_ns: int
    lists_at_once: bool
    """Whether its list shows what we did ourselves the moment that we did it."""

    @property
    def messages_sent(self) -> int:
        """How many messages have left: each of one question has `timeout_ns` to be answered."""

    def read(self, question: Question = PLAIN) -> Reading:
        """Ask and wait for the answer."""

    def ask(self, question: Question = PLAIN) -> None:
        """Begin to ask; never waits."""

    def poll(self) -> Reading | None:
        """Return the answer to `ask` if it is there; never waits."""

    def give_up(self) -> Reading:
        """Leave the question under way and say what that leaves unknown."""

    def hint(self, now_ns: int) -> str:
        """Return the reason that the broker's side gives to ask now, empty for none."""

    @property
    def history(self) -> HistorySource | None:
        """What can be asked for all deals, None where nobody has any."""


class GatewaySource:
    """An `ExecutionGateway`, which never makes the strategy wait."""

    waits = False
    lists_at_once = False

    def __init__(self, gateway: ExecutionGateway) -> None:
        self.timeout_ns: int = gateway.timeout_ms * 1_000_000
        self.history: ExecutionGateway = gateway

    @property
    def messages_sent(self) -> int:
        """How many messages have left."""
        return self.history.messages_sent

    def read(self, question: Question = PLAIN) -> Reading:
        """Ask and wait for the answer."""
        return self.history.read(question)

    def ask(self, question: Question = PLAIN) -> None:
        """Begin to ask; never waits."""
        self.history.ask(question)

    def poll(self) -> Reading | None:
        """Return the answer to `ask` if the gateway has sent the answer; never waits."""
        return self.history.poll()

    def give_up(self) -> Reading:
        """Leave the question under way and say which parts stay unknown."""
        return self.history.give_up()

    def hint(self, now_ns: int) -> str:
        """Return the reason that the gateway's hints give to ask now; empty without a reason."""
        return self.history.hint(now_ns)


class CallSource:
    """Any object with `get_positions()`, such as the guide's Mock: called, and waited for."""

    waits = True
    timeout_ns = 0
    messages_sent = 0
    history = None

    def __init__(self, gateway: Any) -> None:
        self._gateway = gateway
        # An object of the guide's that has a list and takes no orders plays the broker itself.
        self.lists_at_once: bool = not callable(getattr(type(gateway), "send_order", None))

    def read(self, question: Question = PLAIN) -> Reading:
        """Call `get_positions()`; whatever it raises or returns becomes a reading."""
        try:
            reply = self._gateway.get_positions()
        except Exception as error:  # noqa: BLE001 - a stranger's gateway may raise anything
            what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            return Unknown(Reason.OFFLINE, f"Gateway offline - {what}")
        return read_positions(reply)

    def ask(self, question: Question = PLAIN) -> None:
        """Do nothing: this source is asked by `read`."""

    def poll(self) -> Reading | None:
        """Call and wait."""
        return self.read()

    def give_up(self) -> Reading:
        """Say that nothing is known."""
        return Unknown(Reason.OFFLINE, "Gateway offline")

    def hint(self, now_ns: int) -> str:
        """Return no reason: nobody says anything unasked."""
        return ""


def source_of(gateway: Any) -> Source:
    """Return the source for a gateway object.

    An `ExecutionGateway` is recognised by its real class and its own `get_positions`: a Mock made
    from its spec, and a gateway whose `get_positions` somebody replaced, are called as they are.
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
