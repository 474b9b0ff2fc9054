"""Two threads that share a client: to give up one exchange never ends another."""

from __future__ import annotations

import threading

from trueup.gateway.client.execution_gateway import ExecutionGateway

ORDER = {"order_id": "A", "symbol": "EURUSD", "action": "BUY", "volume": 0.1, "price": 1.1}


class SilentLink:
    """A connection without an answer, whose reset asks whether somebody else could send now."""

    def __init__(self) -> None:
        self.gateway: ExecutionGateway | None = None
        self.free_at_reset: list[bool] = []

    def send(self, message: bytes, timeout_ms: int) -> None:
        """Take a message."""

    def receive(self, timeout_ms: int) -> bytes | None:
        """Give no answer."""
        return None

    def reset(self) -> None:
        """End the exchange, while another thread looks whether it may begin one."""
        other = threading.Thread(target=self._try_to_send)
        other.start()
        other.join()

    def _try_to_send(self) -> None:
        assert self.gateway is not None
        with self.gateway._orders.turn.if_free() as is_free:
            self.free_at_reset.append(is_free)

    def close(self) -> None:
        """Let go."""


def test_an_exchange_that_is_given_up_ends_before_another_thread_may_send() -> None:
    link = SilentLink()
    link.gateway = ExecutionGateway("127.0.0.1", 5555, 10, link=lambda _: link)
    assert link.gateway.send_order(ORDER)["status"] == "UNKNOWN"
    assert link.free_at_reset == [False]
    link._try_to_send()
    assert link.free_at_reset == [False, True]
