"""Count the exchanges with a worker: each costs two changes of the process."""

from __future__ import annotations

import pytest

from trueup.gateway.worker.process import Worker


def exchanges(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Note every exchange with a worker, as its length in bytes."""
    seen: list[int] = []
    exchange = Worker.exchange

    def noted(self: Worker, call: bytes, deadline_ms: int) -> bytes:
        seen.append(len(call))
        return exchange(self, call, deadline_ms)

    monkeypatch.setattr(Worker, "exchange", noted)
    return seen
