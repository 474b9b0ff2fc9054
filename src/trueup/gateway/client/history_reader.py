"""Ask a gateway for an account's deals, page by page, with or without waiting.

The next question is sent only after the last page has arrived. So even a history of years blocks
the gateway's terminal, and the bot, for no longer than a page.
"""

from __future__ import annotations

from trueup.core.account.trust import Reason, Unknown
from trueup.errors import NotSent, OutcomeUnknown
from trueup.gateway.client.link import Link
from trueup.protocol.history import PastDeals, Span, Steps, ask_for_history


class HistoryReader:
    """Reads the deals of one gateway's account.

    Args:
        link: a connection for this reader alone.
        name: the gateway's name in error texts.
        timeout_ms: how long to wait for a connection, and for each page.
    """

    def __init__(self, link: Link, name: str, timeout_ms: int) -> None:
        self._link, self._name, self._timeout_ms = link, name, timeout_ms
        self._steps: Steps | None = None
        self._message = b""
        self._has_left = False
        self._id = 0
        self._waiting_since_ns = 0

    @property
    def is_under_way(self) -> bool:
        """Whether a history was asked for and is not complete yet."""
        return self._steps is not None

    def read(self, span: Span, symbols: tuple[str, ...] = ()) -> PastDeals | Unknown:
        """Ask for all deals of a span, and wait for each page."""
        self.ask(span, symbols)
        while True:
            # `_taken` replaces the message by the question for the next page.
            try:
                self._link.send(self._message, self._timeout_ms)
                self._has_left = True
                page = self._link.receive(self._timeout_ms)
            except (NotSent, OutcomeUnknown) as error:
                return self._give_up(str(error))
            if page is None:
                return self._give_up(f"{self._name} gave no reply within {self._timeout_ms} ms")
            self._has_left = False
            answer = self._taken(page)
            if answer is not None:
                return answer

    def ask(self, span: Span, symbols: tuple[str, ...] = ()) -> None:
        """Begin to ask for all deals of a span; sends nothing yet."""
        self.forget()
        self._steps = ask_for_history(span, symbols, self._id + 1)
        self._message = next(self._steps)

    def poll(self, now_ns: int) -> PastDeals | Unknown | None:
        """Continue the question under way; return the history once complete; never waits.

        Args:
            now_ns: the clock for waiting, which measures the timeout of a page.
        """
        if self._steps is None:
            return None
        try:
            # A question that found no connection yet is tried again at every call.
            if not self._has_left:
                return self._send(now_ns)
            page = self._link.receive(0)
        except OutcomeUnknown as error:
            return self._give_up(str(error))
        if page is None:
            return self._check_timeout(now_ns, "gave no reply")
        self._has_left, self._waiting_since_ns = False, now_ns
        return self._taken(page)

    def forget(self) -> None:
        """Give up the question under way; its answer cannot be taken for a later one's."""
        if self._has_left:
            self._link.reset()
        self._steps, self._has_left, self._waiting_since_ns = None, False, 0

    def close(self) -> None:
        """Close the connection; the next question opens it again."""
        self._steps, self._has_left = None, False
        self._link.close()

    def _send(self, now_ns: int) -> Unknown | None:
        self._waiting_since_ns = self._waiting_since_ns or now_ns
        try:
            self._link.send(self._message, 0)
        except NotSent:
            return self._check_timeout(now_ns, "took no connection")
        self._has_left, self._waiting_since_ns = True, now_ns
        return None

    def _check_timeout(self, now_ns: int, problem: str) -> Unknown | None:
        if now_ns - self._waiting_since_ns < self._timeout_ms * 1_000_000:
            return None
        return self._give_up(f"{self._name} {problem} within {self._timeout_ms} ms")

    def _taken(self, page: bytes) -> PastDeals | Unknown | None:
        assert self._steps is not None
        self._id += 1
        try:
            self._message = self._steps.send(page)
        except StopIteration as end:
            answer: PastDeals | Unknown = end.value
            self._steps = None
            return answer
        return None

    def _give_up(self, why: str) -> Unknown:
        self.forget()
        return Unknown(Reason.OFFLINE, f"The broker's history could not be read: {why}")
