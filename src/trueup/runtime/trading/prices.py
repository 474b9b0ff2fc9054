"""The prices of the trading loop: from the gateway, or from a local feed instead."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from trueup.core.account.trust import Reason, Unknown
from trueup.logs import Logger, logger
from trueup.protocol.ticks import Tick

log: Logger = logger("trueup.loop")


class Prices(Protocol):
    """A source of the latest price of a symbol."""

    def latest(self, wait_ms: int) -> Tick | Unknown | None:
        """Return the latest price, or None if no reply has come within `wait_ms`."""


class TickSource(Protocol):
    """The part of a gateway that tells prices."""

    def get_tick(self, symbol: str, wait_ms: int | None = None) -> Tick | Unknown | None:
        """Return the latest price of a symbol; see `ExecutionGateway.get_tick`."""


class GatewayPrices:
    """The gateway's own prices.

    A gateway of the guide's kind may not know TICK. If the gateway answers otherwise, prices come
    from the feed that `local` makes, after a single warning.
    """

    def __init__(
        self, gateway: TickSource, symbol: str, local: Callable[[], Prices] | None = None
    ) -> None:
        self._gateway, self._symbol, self._make_local = gateway, symbol, local
        self._local: Prices | None = None

    @property
    def is_local(self) -> bool:
        """Whether prices come from the local feed."""
        return self._local is not None

    def latest(self, wait_ms: int) -> Tick | Unknown | None:
        """Return the latest price, or None if no reply has come within `wait_ms`."""
        if self._local is not None:
            return self._local.latest(wait_ms)
        answer = self._gateway.get_tick(self._symbol, wait_ms)
        # Only an unreadable answer means that TICK is unknown; a silent gateway may come back.
        if (
            isinstance(answer, Unknown)
            and answer.reason is Reason.UNREADABLE
            and self._make_local is not None
        ):
            log.warning(
                "[PRICES] %s. Signals come from the local feed from now on; the broker's prices "
                "may differ",
                answer.sentence,
            )
            self._local = self._make_local()
            return self._local.latest(wait_ms)
        return answer
