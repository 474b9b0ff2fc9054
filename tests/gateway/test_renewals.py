"""One thread renews the claims of all accounts of a process, and waits for no gateway."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial

import pytest

from tests.gateway.test_at_most_once import Gateway
from tests.support.servers import ZmqServer, request_kind, until
from trueup.core.scope import Scope
from trueup.gateway.client import claiming, renewals
from trueup.gateway.client.execution_gateway import ExecutionGateway
from trueup.gateway.client.renewals import Renewals
from trueup.protocol.claims import LEASE_MS

WELL, HUNG = 12, 4
# No test ends before this: whoever waits for a hung gateway shows it.
FOR_EVER_MS = 60_000


@pytest.fixture(autouse=True)
def renewing(monkeypatch: pytest.MonkeyPatch) -> Iterator[Renewals]:
    """Renew every 10 ms, and have nothing to do with what other tests of this process left open."""
    made = Renewals()
    monkeypatch.setattr(claiming, "RENEWALS", made)
    monkeypatch.setattr(claiming, "RENEWALS_IN_A_LEASE", LEASE_MS // 10)
    yield made
    assert made._thread is None


def claimed(port: int, number: int, timeout_ms: int = FOR_EVER_MS) -> ExecutionGateway:
    gateway = ExecutionGateway("127.0.0.1", port, timeout_ms, server_key="")
    gateway.claim(Scope(f"run-{number}", f"stream-{number}", magics=(number,)))
    return gateway


def threads() -> int:
    return sum(thread.name == "claims" for thread in threading.enumerate())


def all_are_renewed(server: ZmqServer, after: int) -> bool:
    """Whether all claims were renewed after so many requests."""
    seen = server.seen[after:]
    return all(any(f'"run-{number}"'.encode() in raw for raw in seen) for number in range(WELL))


class Silent:
    """A gateway that answers until it hangs."""

    def __init__(self) -> None:
        self.world, self.hangs = Gateway(), threading.Event()

    def handle(self, raw: bytes) -> bytes | None:
        return None if self.hangs.is_set() else self.world.desk.handle(raw)


def test_gateways_that_hang_delay_no_renewal_at_others() -> None:
    world, silent = Gateway(), Silent()
    with ExitStack() as open_:
        good = open_.enter_context(ZmqServer(world.desk.handle))
        bad = open_.enter_context(ZmqServer(silent.handle))
        before = threads()
        for number in range(HUNG):
            made = claimed(bad.port, number)
            open_.callback(made.disconnect)
        for number in range(WELL):
            open_.callback(claimed(good.port, number).disconnect)
        assert threads() == before + 1
        silent.hangs.set()
        # The renewals of all of them wait for a reply.
        bad.wait_for(bad.count("CLAIM") + HUNG, "CLAIM")
        for _ in range(3):
            until(partial(all_are_renewed, good, len(good.seen)))
        silent.hangs.clear()


def test_a_gateway_that_comes_back_gets_renewals_again() -> None:
    world = Gateway()
    with ZmqServer(world.desk.handle) as first:
        gateway = claimed(first.port, 1, timeout_ms=200)
        first.wait_for(3, "CLAIM")
    try:
        with ZmqServer(world.desk.handle, first.port) as second:
            second.wait_for(3, "CLAIM")
            gateway.release_claim()
            released = [raw for raw in second.seen if b'"release":true' in raw]
            assert len(released) == 1
    finally:
        gateway.disconnect()


def test_a_claim_is_widened_while_its_renewal_waits_for_a_reply() -> None:
    world = Gateway()
    withheld = threading.Event()

    def handle(raw: bytes) -> bytes | None:
        reply = world.desk.handle(raw)
        return None if withheld.is_set() and b"[1]" in raw else reply

    with ZmqServer(handle) as server:
        gateway = claimed(server.port, 1)
        withheld.set()
        count = server.count("CLAIM")
        server.wait_for(count + 1, "CLAIM")
        gateway.claim(Scope("run-1", "stream-1", magics=(1, 2)))
        assert gateway.claimed is not None
        assert gateway.claimed.magics == (1, 2)
        # The reply to the first claim comes now, and is nobody's.
        server.answer(count, b'{"status":"REJECTED","error":"too late"}')
        server.wait_for(server.count("CLAIM") + 3, "CLAIM")
        assert request_kind(server.seen[-1]) == "CLAIM"
        gateway.disconnect()


# The thread.


class Stepping:
    """Something that is renewed as a test wants it."""

    def __init__(self, step: Callable[[float], float | None]) -> None:
        self._step = step
        self.steps = 0

    def step(self, now: float) -> float | None:
        self.steps += 1
        return self._step(now)


def broken(_: float) -> float:
    raise ZeroDivisionError("a defect")


def test_a_defect_at_one_claim_ends_no_renewal_of_another(
    renewing: Renewals, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(renewals, "RETRY_SEC", 0.0)
    bad, good = Stepping(broken), Stepping(lambda now: now)
    for one in (bad, good):
        renewing.add(one, 0)
    until(lambda: min(bad.steps, good.steps) >= 3)
    assert "could not be renewed" in caplog.text
    renewing.remove(bad)
    renewing.remove(good)


def test_a_claim_that_is_over_is_left_alone_and_the_thread_ends(renewing: Renewals) -> None:
    over = Stepping(lambda _: None)
    renewing.add(over, 0)
    until(lambda: renewing._thread is None)
    assert over.steps == 1
    renewing.remove(over)
    # And begins again with the next one.
    again = Stepping(lambda now: now + 3_600)
    renewing.add(again, 0)
    until(lambda: again.steps == 1)
    renewing.remove(again)


def test_what_is_wanted_at_once_during_its_step_is_done_again(renewing: Renewals) -> None:
    """As a journal that gets its id while the renewal without it is under way."""

    def step(now: float) -> float:
        if stepping.steps == 1:
            renewing.soon(stepping)
        return now + 3_600

    stepping = Stepping(step)
    renewing.add(stepping, 0)
    until(lambda: stepping.steps == 2)
    renewing.soon(Stepping(broken))
    renewing.remove(stepping)


def test_what_is_removed_during_its_step_stays_removed(renewing: Renewals) -> None:
    began, may_end = threading.Event(), threading.Event()

    def step(now: float) -> float:
        began.set()
        may_end.wait(30)
        return now

    stepping, other = Stepping(step), Stepping(lambda now: now + 3_600)
    renewing.add(other, 0)
    renewing.add(stepping, 0)
    assert began.wait(30)
    renewing.remove(stepping)
    may_end.set()
    renewing.soon(other)
    until(lambda: other.steps == 2)
    assert stepping.steps == 1
    renewing.remove(other)
