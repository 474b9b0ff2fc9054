"""The fence at a gateway: once a newer writer is known, no order of the former is executed."""

from __future__ import annotations

import dataclasses
import itertools
import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.gateway.test_at_most_once import HEDGING, OTHER, Gateway
from tests.support.servers import ZmqServer, until
from trueup.core.account.trust import Unknown
from trueup.core.book.events import LossFound
from trueup.core.model import Snapshot
from trueup.core.scope import Scope
from trueup.doors.account import Account
from trueup.errors import FormerWriter, JournalConflict
from trueup.gateway.access.allow_file import FULL_ACCESS
from trueup.gateway.client.execution_gateway import ExecutionGateway
from trueup.gateway.record import fences
from trueup.gateway.record.at_most_once import GatewayPoint
from trueup.gateway.record.store import FenceRow, RequestStore
from trueup.journal import open_journal
from trueup.protocol.claims import LEASE_MS
from trueup.runtime.time.clock import ManualClock

ORDER_IDS = itertools.count()
HERE = HEDGING.login, HEDGING.server


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    made = Gateway(tmp_path / "requests.db")
    yield made
    made.store.close()


def order(gateway: Gateway, token: int, journal: str = "j", **more: Any) -> dict[str, Any]:
    wanted = {"action": "BUY", "symbol": "EURUSD", "volume": 0.1, "journal": journal}
    order_id = f"order-{next(ORDER_IDS)}"
    return gateway.ask(**{**wanted, "order_id": order_id, "token": token, **more})


def question(gateway: Gateway, token: int, journal: str = "j", **more: Any) -> dict[str, Any]:
    asked = {"action": "SNAPSHOT", "session": "s", "id": 1, "journal": journal, "token": token}
    return gateway.ask(**{**asked, **more})


def claim(gateway: Gateway, token: int, run: str = "a", journal: str = "j") -> dict[str, Any]:
    scope = {"run": run, "stream": "s", "process": 1, "host": "vps"}
    return gateway.ask(action="CLAIM", scope=scope, journal=journal, token=token)


NEWER_WRITER: dict[str, Callable[[Gateway, int], dict[str, Any]]] = {
    "an order": order,
    "a question": question,
    "a claim": claim,
}


@pytest.mark.parametrize("first", NEWER_WRITER)
def test_first_request_of_a_newer_writer_bars_the_orders_of_the_former(
    gateway: Gateway, first: str
) -> None:
    assert order(gateway, 5)["status"] == "FILLED"
    assert NEWER_WRITER[first](gateway, 6)["status"] in ("SUCCESS", "FILLED")
    count = len(gateway.executions())
    former = order(gateway, 5)
    assert former["status"] == "REJECTED"
    assert former["error"] == (
        "not sent: another program writes its journal now: this gateway knows token 6 of journal "
        "'j', and the token here is 5"
    )
    changes: tuple[dict[str, Any], ...] = (
        {"action": "MODIFY", "position": 1, "sl": 1.0},
        {"action": "CANCEL", "order": 1},
    )
    for action in changes:
        assert "knows token 6" in order(gateway, 5, **action)["error"]
    assert len(gateway.executions()) == count
    assert order(gateway, 6)["status"] == "FILLED"


@pytest.mark.parametrize("first", NEWER_WRITER)
def test_newer_token_is_on_disk_before_the_reply(gateway: Gateway, first: str) -> None:
    NEWER_WRITER[first](gateway, 6)
    gateway.start()
    assert order(gateway, 5)["status"] == "REJECTED"
    assert question(gateway, 5)["status"] == "FAILED"
    assert claim(gateway, 5, "b")["status"] == "REJECTED"
    assert len(gateway.executions()) == (first == "an order")


def test_former_writer_gets_neither_its_claim_nor_a_reading(gateway: Gateway) -> None:
    assert claim(gateway, 5)["token"] == 5
    assert claim(gateway, 6, "b") == {
        "status": "SUCCESS",
        "account": f"{HERE[0]}@{HERE[1]}",
        "lease_ms": LEASE_MS,
        "token": 6,
    }
    refused = claim(gateway, 5)
    assert (refused["status"], refused["token"]) == ("REJECTED", 6)
    # A program of the former writer that was frozen before its claim has a name that is new here.
    assert claim(gateway, 5, "c")["status"] == "REJECTED"
    read = question(gateway, 5)
    assert (read["status"], "knows token 6" in read["error"]) == ("FAILED", True)
    assert order(gateway, 6, claim="b")["status"] == "FILLED"


def test_refused_orders_are_counted_over_a_restart(
    gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    claim(gateway, 6)
    order(gateway, 5)
    order(gateway, 4)
    assert [text for text in caplog.messages if "former" in text] == [
        f"[RECORD] Refused an order of a former writer of journal j ({number} so far)"
        for number in (1, 2)
    ]
    assert claim(gateway, 6)["refused"] == 2
    gateway.start()
    order(gateway, 5)
    assert claim(gateway, 6)["refused"] == 3


def test_tokens_that_are_forgotten_in_memory_are_known_from_the_disk(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fences, "KNOWN_MOST", 2)
    for journal in ("j", "k", "l"):
        assert order(gateway, 6, journal=journal)["status"] == "FILLED"
    for journal in ("j", "k", "l"):
        assert "knows token 6" in order(gateway, 5, journal=journal)["error"]
    assert len(gateway.desk._fences._known) == 2


def test_order_that_the_new_writer_has_withdrawn_is_counted_when_it_arrives(
    gateway: Gateway,
) -> None:
    order(gateway, 5, order_id="A")
    doubt = [{"id": "B"}]
    assert question(gateway, 6, in_doubt=doubt)["requests"][0]["state"] == "withdrawn"
    assert "it was withdrawn" in order(gateway, 5, order_id="B")["error"]
    # The new writer's own copy is no order of a former writer.
    assert "it was withdrawn" in order(gateway, 6, order_id="B")["error"]
    assert claim(gateway, 6)["refused"] == 1


def test_repeated_order_of_a_former_writer_is_answered_from_the_record(gateway: Gateway) -> None:
    first = order(gateway, 5, order_id="A")
    claim(gateway, 6)
    again = order(gateway, 5, order_id="A")
    assert again == {**first, "repeated": True}
    # The new writer may repeat it as well: the token is no parameter of an order.
    assert order(gateway, 6, order_id="A") == again


def test_tokens_of_other_journals_and_accounts_bar_nothing(gateway: Gateway) -> None:
    claim(gateway, 6)
    assert order(gateway, 1, journal="other")["status"] == "FILLED"
    assert gateway.terminal.login(OTHER.login, OTHER.password, OTHER.server)
    gateway.terminal.quote("EURUSD", 1.1, 1.1001)
    assert order(gateway, 1)["status"] != "REJECTED"
    assert gateway.terminal.login(HEDGING.login, HEDGING.password, HEDGING.server)
    assert order(gateway, 1)["status"] == "REJECTED"


def test_client_without_a_token_goes_on_as_before(gateway: Gateway) -> None:
    claim(gateway, 6)
    assert order(gateway, 0)["status"] == "FILLED"
    assert order(gateway, 6, journal="")["status"] == "FILLED"
    assert question(gateway, 0)["status"] == "SUCCESS"


@pytest.mark.parametrize("token", [-1, 2**63])
def test_token_that_is_none_is_refused_by_name(gateway: Gateway, token: int) -> None:
    assert f"token={token} is not valid" in order(gateway, token)["error"]


def test_who_may_only_read_fences_nobody_out(gateway: Gateway) -> None:
    asked = {"action": "SNAPSHOT", "session": "s", "id": 1, "journal": "j", "token": 9}
    request = gateway.desk.read(json.dumps(asked).encode())
    assert not isinstance(request, bytes)
    reader = dataclasses.replace(FULL_ACCESS, may_trade=False)
    gateway.desk.answer(request, access=reader)
    assert order(gateway, 5)["status"] == "FILLED"


def test_record_that_takes_no_token_gives_no_reading_and_sends_nothing(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    def keep(self: RequestStore, *_: object) -> None:
        with self._explained():
            full()

    monkeypatch.setattr(RequestStore, "keep_fence", keep)
    assert question(gateway, 6)["status"] == "FAILED"
    assert order(gateway, 6)["status"] == "REJECTED"
    assert claim(gateway, 6)["status"] == "FAILED"
    monkeypatch.undo()
    # Nothing was recorded.
    assert order(gateway, 5)["status"] == "FILLED"


def test_record_of_an_earlier_release_gets_the_table(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path / "requests.db")
    gateway.store.close()
    with sqlite3.connect(tmp_path / "requests.db") as connection:
        connection.execute("DROP TABLE fences")
    connection.close()
    gateway.start()
    claim(gateway, 6)
    assert gateway.store.fence(*HERE, "j") == FenceRow(6)
    gateway.store.close()


# Two owners, frozen and woken in any order.

OWNERS = 3
steps = st.lists(
    st.one_of(
        st.tuples(st.just("send"), st.integers(0, OWNERS - 1)),
        st.tuples(st.just("claim"), st.integers(0, OWNERS - 1)),
        st.tuples(st.just("ask"), st.integers(0, OWNERS - 1)),
        st.tuples(st.just("restart"), st.just(0)),
        st.tuples(st.just("killed while sending"), st.integers(0, OWNERS - 1)),
    ),
    max_size=30,
)


@given(steps=steps)
def test_nothing_under_an_older_token_is_executed_after_the_newer_was_recorded(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]]
) -> None:
    gateway = Gateway(tmp_path_factory.mktemp("fence") / "requests.db")
    # The highest token that a reply or an execution has shown to be recorded.
    recorded, sent = 0, itertools.count()
    refused = 0
    for what, owner in steps:
        token = owner + 1
        known = len(gateway.executions())
        if what == "restart":
            gateway.start()
        elif what == "claim":
            granted = claim(gateway, token, f"run-{owner}")["status"] == "SUCCESS"
            assert granted == (token >= recorded)
        elif what == "ask":
            assert (question(gateway, token)["status"] == "SUCCESS") == (token >= recorded)
        else:
            fields = {"order_id": f"id-{next(sent)}", "comment": f"token {token}"}
            if what == "send":
                order(gateway, token, **fields)
            else:
                gateway.dies_at = GatewayPoint.AFTER_SEND
                with suppress(BaseException):
                    order(gateway, token, **fields)
                gateway.dies_at = None
                gateway.start()
            assert len(gateway.executions()) == known + (token >= recorded)
            refused += token < recorded
        recorded = max(recorded, token) if what != "restart" else recorded
    if recorded:
        assert gateway.store.fence(*HERE, "j") == FenceRow(recorded, refused)
    gateway.store.close()


# The client, and the account.


def scope(run: str) -> Scope:
    return Scope(run, "stream")


@contextmanager
def client(port: int) -> Iterator[ExecutionGateway]:
    with ExecutionGateway("127.0.0.1", port, 20_000, server_key="") as made:
        yield made


def test_client_carries_the_token_in_its_orders_and_questions() -> None:
    world = Gateway()
    with ZmqServer(world.desk.handle) as server, ExitStack() as clients:
        first, second = (clients.enter_context(client(server.port)) for _ in range(2))
        first.claim(scope("a"), "j", 5)
        assert first.is_fenced
        # The first question is the guide's, and finds out what the gateway serves.
        until(lambda: isinstance(first.read(), Snapshot))
        second.claim(scope("b"), "j", 6)
        sent = {"order_id": "A", "symbol": "EURUSD", "action": "BUY", "volume": 0.1, "price": 1.1}
        assert "knows token 6" in first.send_order({**sent, "journal": "j"})["error"]
        read = first.read()
        assert isinstance(read, Unknown)
        assert "knows token 6" in read.sentence
        with pytest.raises(FormerWriter) as error:
            first.claim(scope("c"), "j", 5)
        assert error.value.token == 6
        second.claim(scope("b"), "j", 6)
        assert (second.is_fenced, second.refused_orders) == (True, 1)


def test_account_of_a_journal_that_was_put_back_raises_its_token(tmp_path: Path) -> None:
    world = Gateway()
    place, copy = tmp_path / "bot.db", tmp_path / "backup.db"
    with ZmqServer(world.desk.handle) as server:

        def opened(path: Path) -> Account:
            gateway = ExecutionGateway("127.0.0.1", server.port, 20_000, server_key="")
            return Account(gateway, journal=path, magics=[7], clock=world.clock)

        account = opened(place)
        account.sync()
        account.submit("BUY", 0.1, symbol="EURUSD")
        account.shut()
        copy.write_bytes(place.read_bytes())
        for _ in range(3):
            account = opened(place)
            account.shut()
        newest = account.manager.journal_token
        # The lock files beside a journal know the newest token as well: a copy elsewhere does not.
        account = opened(copy)
        assert account.manager.journal_token > newest
        assert account.gateway.is_fenced
        account.sync()
        account.submit("BUY", 0.1, symbol="EURUSD")
        assert len(world.executions()) == 2
        account.shut()


def test_only_the_present_writer_raises_the_token_of_its_journal(tmp_path: Path) -> None:
    now_ns = ManualClock(1).now_ns
    event = LossFound(at_ns=1, because="a test")
    former = open_journal(tmp_path / "bot.db", "s", now_ns=now_ns)
    former.append([event])
    writer = open_journal(tmp_path / "bot.db", "s", take_over=True, now_ns=now_ns)
    with pytest.raises(JournalConflict):
        former.raise_token(100)
    writer.raise_token(50)
    assert writer.token == 50
    writer.raise_token(3)
    assert writer.token == 50
    writer.append([event])
    former.close()
    writer.close()
    again = open_journal(tmp_path / "bot.db", "s", now_ns=now_ns)
    assert again.token == 51
    again.close()
