"""Fifty clients at one gateway, over real sockets: nobody is forgotten, and orders go first."""

from __future__ import annotations

from collections import Counter

import pytest
import zmq
from hypothesis import given
from hypothesis import strategies as st

from tests.gateway.busy_gateway import SYMBOL, Asker, BusyGateway
from tests.support.servers import until
from trueup.gateway.access.door import Client
from trueup.gateway.server.hint_socket import MESSAGES_PER_CONNECTION
from trueup.gateway.server.queue import Task, TaskQueue
from trueup.protocol.requests import Request

CLIENTS = 50
QUERY, ORDER = "GET_POSITIONS", "BUY"


def blocked(gateway: BusyGateway) -> Asker:
    """A client whose question keeps the terminal busy until `let_go`."""
    first = gateway.client()
    gateway.terminal.block_in("positions_get")
    first.send(QUERY)
    assert gateway.terminal.is_blocked.wait(60)
    return first


def test_fifty_clients_that_ask_at_once_are_all_answered() -> None:
    with BusyGateway() as gateway:
        first = blocked(gateway)
        clients = [gateway.client() for _ in range(CLIENTS)]
        for client in clients:
            client.send(QUERY)
        until(lambda: gateway.front.waits_for_terminal == CLIENTS)
        gateway.terminal.let_go()
        for client in (first, *clients):
            assert client.receive()["status"] == "SUCCESS"


def test_fifty_clients_that_poll_and_poll_keep_no_order_waiting() -> None:
    """An order waits for the one query that was begun before it, and for no other."""
    with BusyGateway() as gateway:
        clients = [gateway.client() for _ in range(CLIENTS)]
        trader = gateway.client()
        for number in range(20):
            first = blocked(gateway)
            for client in clients:
                client.send(QUERY)
            trader.send_order(f"order {number}")
            until(lambda: gateway.front.waits_for_terminal == CLIENTS + 1)
            gateway.terminal.calls.clear()
            gateway.terminal.let_go()
            assert trader.receive()["status"] == "FILLED"
            for client in (first, *clients):
                assert client.receive()["status"] == "SUCCESS"
            calls = gateway.terminal.calls
            assert "positions_get" not in calls[: calls.index("order_send")]


def test_orders_are_begun_as_they_came() -> None:
    with BusyGateway() as gateway:
        blocked(gateway)
        traders = [gateway.client() for _ in range(CLIENTS)]
        for number, trader in enumerate(traders):
            trader.send_order(f"order {number}")
            until(lambda: gateway.front.waits_for_terminal == number + 1)  # noqa: B023
        gateway.terminal.let_go()
        for trader in traders:
            assert trader.receive()["status"] == "FILLED"
        wanted = [f"order {number}" for number in range(CLIENTS)]
        assert gateway.terminal.order_comments == wanted


def test_one_that_asks_and_asks_holds_nobody_up_and_gets_no_more_than_a_share() -> None:
    # No more at once than a connection may leave in the gateway's memory.
    share, asked = 8, MESSAGES_PER_CONNECTION
    with BusyGateway(queue=TaskQueue(share=share)) as gateway:
        blocked(gateway)
        greedy, modest = gateway.client(zmq.DEALER), gateway.client()
        for number in range(asked):
            greedy.send("TICK", symbol=SYMBOL, uuid=number)
        refused = [greedy.receive() for _ in range(asked - share)]
        assert {reply["status"] for reply in refused} == {"FAILED"}
        assert refused[0]["error"] == "8 of your queries wait for the terminal already"
        modest.send(QUERY)
        until(lambda: gateway.front.waits_for_terminal == share + 1)
        gateway.terminal.calls.clear()
        gateway.terminal.let_go()
        assert modest.receive()["status"] == "SUCCESS"
        before = gateway.terminal.calls[: gateway.terminal.calls.index("positions_get")]
        # What was begun before it: at most one of the other's.
        assert before.count("symbol_info_tick") <= 1
        assert [greedy.receive()["status"] for _ in range(share)] == ["SUCCESS"] * share


def test_a_client_that_never_takes_its_replies_does_no_harm() -> None:
    with BusyGateway() as gateway:
        deaf = gateway.client(zmq.DEALER)
        deaf.socket.rcvhwm = 1
        for _ in range(5_000):
            deaf.send("PING")
        assert gateway.client().ask(QUERY)["status"] == "SUCCESS"


def test_a_client_that_goes_away_while_its_query_waits_does_no_harm() -> None:
    with BusyGateway() as gateway:
        blocked(gateway)
        gone = gateway.client()
        gone.send(QUERY)
        until(lambda: gateway.front.waits_for_terminal)
        gone.socket.close()
        gateway.terminal.let_go()
        assert gateway.client().ask(QUERY)["status"] == "SUCCESS"


# The places themselves.


def task(party: str, action: str = QUERY, at_ns: int = 0) -> Task:
    return Task(Client((party.encode(),), party), Request(action), at_ns)


def taken(queue: TaskQueue) -> list[Task]:
    out = []
    while (one := queue.take(0.0)) is not None:
        out.append(one)
    return out


def test_there_are_so_many_places_and_queries_keep_no_order_out() -> None:
    queue = TaskQueue(places=3, share=2)
    assert [queue.put(task(name)) for name in "aab"] == [None] * 3
    assert queue.put(task("c")) == "3 queries wait for the terminal already"
    assert queue.put(task("c", ORDER)) is None


@pytest.mark.parametrize("action", [QUERY, ORDER])
def test_a_place_is_free_again_when_its_task_is_begun_or_taken_back(action: str) -> None:
    queue = TaskQueue(places=1, share=1)
    assert queue.put(task("a", action)) is None
    assert queue.put(task("a", action)) is not None
    assert queue.take(0.0) is not None
    assert queue.put(task("a", action)) is None
    assert len(queue.take_back(before_ns=1)) == (2 if action == QUERY else 1)
    assert queue.put(task("a", action)) is None


@given(st.lists(st.tuples(st.sampled_from("abcde"), st.booleans()), max_size=40))
def test_orders_first_as_they_came_then_one_query_of_each_in_turn(
    asked: list[tuple[str, bool]],
) -> None:
    queue = TaskQueue()
    tasks = [task(name, ORDER if is_order else QUERY) for name, is_order in asked]
    for one in tasks:
        assert queue.put(one) is None
    out = taken(queue)
    orders = [one for one in tasks if one.is_order]
    assert out[: len(orders)] == orders
    queries = out[len(orders) :]
    # Each one's own in order, and nobody's second before everybody's first.
    for name in "abcde":
        own = [one for one in tasks if not one.is_order and one.client.user == name]
        assert [one for one in queries if one.client.user == name] == own
    rounds: Counter[str] = Counter()
    turns = []
    for one in queries:
        rounds[one.client.user] += 1
        turns.append(rounds[one.client.user])
    assert turns == sorted(turns)


@given(st.data())
def test_a_task_is_begun_or_taken_back_and_never_both(data: st.DataObject) -> None:
    """Any course of arrivals, beginnings, answers and lost patience."""
    queue = TaskQueue(places=10, share=4)
    put: list[Task] = []
    begun: list[Task] = []
    back: list[Task] = []
    answered: list[Task] = []
    steps = st.lists(st.sampled_from(["put", "take", "answer", "lose"]), max_size=60)
    for now_ns, step in enumerate(data.draw(steps), start=1):
        if step == "put":
            who = data.draw(st.sampled_from("abc"))
            one = task(who, data.draw(st.sampled_from([QUERY, ORDER])), now_ns)
            if queue.put(one) is None:
                put.append(one)
        elif step == "take":
            taken_one = queue.take(0.0)
            if taken_one is not None:
                begun.append(taken_one)
        elif step == "answer" and len(answered) < len(begun):
            one = begun[len(answered)]
            answered.append(one)
            assert queue.answered(one) == (one not in back)
        elif step == "lose":
            back += queue.take_back(now_ns - data.draw(st.integers(0, 5)))
    assert len(set(back)) == len(back)
    assert not [one for one in back if one.is_order and one in begun]
    rest = taken(queue)
    # A query may be begun and then given up on; nothing is ever begun after it was taken back.
    assert not [one for one in rest if one in back]
    assert sorted(map(id, {*begun, *back, *rest})) == sorted(map(id, put))
    assert queue.count == 0


def test_requests_of_one_connection_are_told_apart_by_their_uuid() -> None:
    with BusyGateway() as gateway:
        asker = gateway.client(zmq.DEALER)
        for number in range(10):
            asker.send("TICK", symbol=SYMBOL, uuid=number)
        assert [asker.receive()["uuid"] for _ in range(10)] == list(range(10))
