"""A broker that reports the requests of programs and its answers: the truth about executions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from trueup.gateway.terminal import mt5_constants as mt5
from trueup.sim.broker.broker import Broker
from trueup.sim.market.records import Outcome
from trueup.sim.market.structs import TradeRequest

Told = Callable[[int, TradeRequest, Outcome], None]


class TellingBroker(Broker):
    """A `Broker` that reports its answers to programs to `told`, with the account's login.

    Callers that act past the terminal under test set `is_quiet` meanwhile.
    """

    def __init__(self, *, told: Told, **conditions: Any) -> None:
        super().__init__(**conditions)
        self.is_quiet = False
        self._told = told

    def execute(
        self, login: int, request: TradeRequest, reason: int, *, lots_max: float | None = None
    ) -> Outcome:
        """Carry out a request of an account."""
        outcome = super().execute(login, request, reason, lots_max=lots_max)
        self._tell(login, request, reason, outcome)
        return outcome

    def hold(
        self, login: int, request: TradeRequest, reason: int, delay_ms: int, *, fill: bool
    ) -> Outcome:
        """Accept a market order and fill or cancel it after a delay."""
        outcome = super().hold(login, request, reason, delay_ms, fill=fill)
        self._tell(login, request, reason, outcome)
        return outcome

    def _tell(self, login: int, request: TradeRequest, reason: int, outcome: Outcome) -> None:
        if reason == mt5.ORDER_REASON_EXPERT and not self.is_quiet:
            self._told(login, request, outcome)
