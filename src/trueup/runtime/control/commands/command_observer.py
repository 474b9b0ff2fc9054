"""Observe the broker for a user's command, beside the bot's own readings, without waiting."""

from __future__ import annotations

from typing import Any

from trueup.core.account.trust import Unknown
from trueup.core.holds import Hold
from trueup.core.look.settle_window import SettleWindow
from trueup.core.model import Account
from trueup.gateway.client.reader import PLAIN, Question, Reading
from trueup.runtime.sync.observation import BrokerObserver, Observation
from trueup.runtime.sync.sources import Source, source_of
from trueup.runtime.trading.loop import TradingLoop


class _KeepsLast:
    """A source that keeps the last reading, also of an account that the book is not bound to."""

    def __init__(self, source: Source) -> None:
        self.waits, self.timeout_ns = source.waits, source.timeout_ns
        self.lists_at_once = source.lists_at_once
        self.last: Reading | None = None
        # Only the bot's own reconciler compares deals with the history.
        self.history = None
        self._source = source
        self.ask, self.give_up, self.hint = source.ask, source.give_up, source.hint

    @property
    def messages_sent(self) -> int:
        """The number of sent messages."""
        return self._source.messages_sent

    def read(self, question: Question = PLAIN) -> Reading:
        """Ask and wait for the answer."""
        self.last = self._source.read(question)
        return self.last

    def poll(self) -> Reading | None:
        """Return the answer to `ask` if the answer has arrived; never waits."""
        reading = self._source.poll()
        self.last = reading or self.last
        return reading


class CommandObserver:
    """Observe the broker for commands: one observation at a time, without waiting or changes.

    Args:
        loop: the loop with the book and the policy.
        gateway: a gateway object, used by nothing else.
    """

    def __init__(self, loop: TradingLoop, gateway: Any) -> None:
        self._loop = loop
        self._source = _KeepsLast(source_of(gateway))
        reconciler = loop.reconciler
        self._observer = BrokerObserver(
            loop.pm, self._source, reconciler.policy, reconciler.intended
        )
        self._begun = self._done = self._wanted = 0
        self._last: Observation | None = None

    def turn(self) -> None:
        """Continue or start an observation; never waits."""
        if self._observer.is_under_way:
            observation = self._observer.poll()
            if observation is not None:
                self._last, self._done = observation, self._begun
        elif self._wanted > self._begun:
            self._begun += 1
            window_ms = self._loop.reconciler.get_status()["settle_window_ms"]
            self._observer.settling = SettleWindow(window_ms)
            # A person decides by the prices of now.
            self._observer.begin(with_prices=True)

    def observation(self, number: int) -> Observation | int:
        """Return a finished observation, or the number to ask for again.

        `number` is the result of an earlier call, or 0 for a new observation. A new observation
        begins after the call, so its reading is not older than the command.
        """
        if self._last is not None and 0 < number <= self._done:
            return self._last
        if not 0 < number <= self._wanted:
            self._wanted = number = self._begun + 1
        return number

    @property
    def holds(self) -> tuple[Hold, ...]:
        """The differences that the last observation would leave alone."""
        return self._last.plan.holds if self._last is not None else ()

    @property
    def account(self) -> Account | None:
        """The terminal's account in the last observation, trusted or not."""
        reading = self._source.last
        if reading is None or isinstance(reading, Unknown) or reading.evidence is None:
            return None
        return reading.evidence.account
