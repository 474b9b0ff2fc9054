"""The right to an account: at the opening of its journal, and before each order."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.gateway.test_at_most_once import Gateway
from tests.support.servers import ZmqServer
from trueup.core.book.lifecycle import OrderStatus
from trueup.doors.accounts.entry import AccountEntry
from trueup.doors.accounts.file import read_accounts
from trueup.doors.accounts.opened_account import OpenedAccount, StillWaiting
from trueup.errors import JournalConflict
from trueup.journal.database.database import Database
from trueup.runtime.time.clock import SystemClock


class Right:
    """A right as the test has it."""

    def __init__(self, former: str = "") -> None:
        self.former = former
        self.is_given, self.why, self.left_sec = True, "", 9.0 if former else 0.0

    def permit(self, database: Database) -> None:
        assert database.in_transaction()
        if not self.is_given:
            raise JournalConflict("It is another's.")

    def why_not_now(self) -> str:
        return self.why

    def wait_sec(self, deadline_sec: float) -> float:
        assert deadline_sec == 20
        return self.left_sec


def earlier_release(answer: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    """Answer as a gateway that does not know fencing tokens."""

    def handle(raw: bytes) -> bytes:
        asked = json.loads(raw)
        asked.pop("token", None)
        reply = json.loads(answer(json.dumps(asked).encode()))
        if asked["action"] == "CLAIM":
            reply = {name: reply[name] for name in reply if name not in ("token", "refused")}
        return json.dumps(reply).encode()

    return handle


class World:
    """A gateway, and the entry of an account behind it."""

    def __init__(self, folder: Path, port: int, gateway: Gateway) -> None:
        self.gateway, self._clock = gateway, SystemClock()
        path = folder / "accounts.toml"
        path.write_text(
            f'[accounts.a]\ngateway = "tcp://127.0.0.1:{port}"\ntimeout_ms = 20000\n'
            f'journal = "{folder / "books.db"}"\n',
            "utf-8",
        )
        (self.entry,) = read_accounts(path).entries
        assert isinstance(self.entry, AccountEntry)

    @contextmanager
    def opened(self, right: Right | None = None) -> Iterator[OpenedAccount]:
        made = OpenedAccount(self.entry, self._clock, right)
        try:
            made.account.sync()
            yield made
        finally:
            made.close()


@pytest.fixture(params=["this release", "an earlier release"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    gateway = Gateway()
    answer = gateway.desk.handle
    with ZmqServer(
        answer if request.param == "this release" else earlier_release(answer)
    ) as server:
        yield World(tmp_path, server.port, gateway)


def test_only_behind_a_gateway_without_tokens_the_account_of_a_dead_node_waits(
    world: World, request: pytest.FixtureRequest
) -> None:
    with world.opened(Right()) as opened:
        opened.account.submit("buy", 0.1, symbol="EURUSD")
    right = Right("node dead")
    if "this release" in request.node.name:
        with world.opened(right) as opened:
            assert opened.gateway.is_fenced
        return
    with pytest.raises(StillWaiting, match=r"node dead had the account, .* judged in 9 seconds"):
        OpenedAccount(world.entry, SystemClock(), right)
    right.left_sec = -0.1
    with world.opened(right) as opened:
        assert not opened.gateway.is_fenced
        assert len(opened.account.positions) == 1


def test_no_order_leaves_without_the_right(world: World) -> None:
    right = Right()
    with world.opened(right) as opened:
        right.why = "the lease ended"
        order = opened.account.submit("buy", 0.1, symbol="EURUSD")
        assert order.status is OrderStatus.REJECTED
        assert "Not sent: the lease ended" in str(order.error)
        assert world.gateway.executions() == []
        right.why = ""
        assert opened.account.submit("buy", 0.1, symbol="EURUSD").status is OrderStatus.FILLED


def test_who_has_the_right_fences_the_writer_out_and_who_has_not_changes_nothing(
    world: World,
) -> None:
    with world.opened() as former:
        refused = Right()
        refused.is_given = False
        with pytest.raises(JournalConflict, match=r"It is another's\."):
            OpenedAccount(world.entry, SystemClock(), refused)
        former.account.submit("buy", 0.1, symbol="EURUSD")
        with world.opened(Right()) as opened:
            with suppress(JournalConflict):
                former.account.submit("buy", 0.1, symbol="EURUSD")
            assert former.account.manager.is_fenced_out
            assert len(opened.account.positions) == 1
            opened.account.submit("buy", 0.1, symbol="EURUSD")
        assert len(world.gateway.executions()) == 2
