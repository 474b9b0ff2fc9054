"""Processes that fork while they have a gateway, at either end: what is forked holds none of it."""

from __future__ import annotations

import socket
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import zmq

from tests.support.forking import needs_fork, program
from tests.support.processes import is_running
from tests.support.servers import RepServer, ZmqServer, free_port, until
from trueup.errors import JournalConflict
from trueup.gateway.record.account_lock import AccountLock
from trueup.gateway.record.store import RequestStore, StoreRefused
from trueup.gateway.server.sockets import Server, anybody
from trueup.runtime.bot.portfolio import PortfolioManager

pytestmark = needs_fork

LIST = b'{"status":"SUCCESS","positions":[]}'
BOT = """
from trueup.gateway.client.execution_gateway import ExecutionGateway
gateway = ExecutionGateway("127.0.0.1", int(sys.argv[1]), 5_000, server_key="")
"""


# -- a bot -------------------------------------------------------------------------------------


def test_a_killed_bots_connections_end_although_its_helper_lives(tmp_path: Path) -> None:
    code = """
assert gateway.connect()
assert gateway.get_positions()["status"] == "SUCCESS"
helper = fork(signal.pause)
say(helper)
signal.pause()
"""
    with zmq.Context() as context, context.socket(zmq.ROUTER) as router:
        router.linger = 0
        ends = router.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        port = router.bind_to_random_port("tcp://127.0.0.1")

        def answer() -> bool:
            if router.poll(5):
                *way, _ = router.recv_multipart()
                router.send_multipart([*way, LIST])
            return said.done()

        with (
            ThreadPoolExecutor(1) as pool,
            program(BOT + code, port, cwd=tmp_path) as bot,
        ):
            said = pool.submit(bot.line)
            until(answer)
            assert not ends.poll(0)
            bot.kill()
            # One asked what connect() asks, and one for the positions.
            for _ in range(2):
                assert ends.poll(60_000)
                ends.recv_multipart()
            assert is_running(int(said.result()))
        router.disable_monitor()
        ends.close()


def test_a_helper_is_refused_the_bots_connection_by_name_and_makes_its_own(tmp_path: Path) -> None:
    code = """
assert gateway.connect()
gateway.ask()
def child():
    say(gateway.get_positions()["error"])
    order = {"order_id": "A", "symbol": "EURUSD", "action": "BUY", "volume": 0.01, "price": 1.0}
    sent = gateway.send_order(order)
    say(sent["status"], sent["error"])
    say(gateway.poll().sentence)
    gateway.ask()
    say(gateway.give_up().sentence)
    own = ExecutionGateway("127.0.0.1", int(sys.argv[1]), 5_000, server_key="")
    say(own.get_positions()["status"])
    own.disconnect()
    gateway.disconnect()
say(wait(fork(child)))
say(gateway.get_positions()["status"])
"""
    with ZmqServer(lambda _: LIST) as server:
        with program(BOT + code, server.port, cwd=tmp_path) as bot:
            pid = bot.pid
            positions, order, *asked, own, ended, after = bot.lines()
        why = (
            f"process {pid} made the connection to tcp://127.0.0.1:{server.port}; a process forked "
            "from it needs an ExecutionGateway of its own"
        )
        assert positions == why
        assert order == f"REJECTED Not sent: {why}"
        assert asked == [f"Gateway offline - {why}"] * 2
        assert (own, ended, after) == ("SUCCESS", "0", "SUCCESS")
        assert server.count("BUY") == 0


def test_another_programs_connections_are_left_to_the_helper(tmp_path: Path) -> None:
    """Those to another port, and to another machine's same port."""
    code = """
import socket
one = socket.create_connection(("127.0.0.1", int(sys.argv[2])))
two = socket.create_connection(("127.0.0.2", int(sys.argv[1])))
assert gateway.connect()
def child():
    for line in (one, two):
        line.sendall(b"x")
        say(line.getpeername()[1])
say(wait(fork(child)))
"""
    with (
        RepServer(lambda _: LIST) as other,
        ZmqServer(lambda _: LIST) as server,
        socket.create_server(("127.0.0.2", server.port)),
        program(BOT + code, server.port, other.port, cwd=tmp_path) as bot,
    ):
        assert bot.lines() == [str(other.port), str(server.port), "0"]


def test_a_bot_with_everything_starts_again_though_its_helper_lives(tmp_path: Path) -> None:
    code = """
from trueup.runtime.bot.portfolio import PortfolioManager
from trueup.runtime.sync.reconciler import StateReconciler
import multiprocessing
pm = PortfolioManager("EURUSD", journal="bot.db")
reconciler = StateReconciler(pm, gateway, 60)
reconciler.startup_recovery()
helper = multiprocessing.get_context("fork").Process(target=signal.pause)
helper.start()
say(helper.pid)
signal.pause()
"""
    with (
        ZmqServer(lambda _: LIST) as server,
        program(BOT + code, server.port, cwd=tmp_path) as bot,
    ):
        helper = int(bot.line())
        with pytest.raises(JournalConflict, match=rf"\(process {bot.pid} on "):
            PortfolioManager("EURUSD", journal=tmp_path / "bot.db")
        bot.kill()
        again = PortfolioManager("EURUSD", journal=tmp_path / "bot.db")
        again.close_journal()
        assert is_running(helper)


# -- a gateway ---------------------------------------------------------------------------------


def test_a_killed_gateways_ports_are_free_although_its_helper_lives(tmp_path: Path) -> None:
    code = """
from trueup.gateway.server.sockets import Server, anybody
server = Server(sys.argv[1], anybody(bytes), hints=sys.argv[2])
say(fork(signal.pause))
while True:
    server.serve_once(100)
"""
    port = free_port()
    endpoints = [f"tcp://127.0.0.1:{port}", f"tcp://127.0.0.1:{port + 1}"]
    with program(code, *endpoints, cwd=tmp_path) as gateway:
        helper = int(gateway.line())
        gateway.kill()

        def started() -> bool:
            try:
                Server(endpoints[0], anybody(bytes), hints=endpoints[1]).close()
            except OSError:
                return False
            return True

        until(started)
        assert is_running(helper)


def test_a_helper_that_leaves_a_gateways_block_ends_nothing_of_it(tmp_path: Path) -> None:
    code = """
from trueup.gateway.server.sockets import Server, anybody
with Server("tcp://127.0.0.1:0", anybody(bytes), hints="tcp://127.0.0.1:0") as server:
    if not (helper := os.fork()):
        say(refusal(lambda: server.serve_once(0)))
        server.close()
        sys.exit()
    say(wait(helper))
    say(server.endpoint)
    while True:
        server.serve_once(100)
"""
    with program(code, cwd=tmp_path) as gateway:
        assert gateway.line().endswith("is served by the process this one was forked from.")
        assert gateway.line() == "0"
        endpoint = gateway.line()
        with zmq.Context() as context, context.socket(zmq.REQ) as asks:
            asks.linger = 0
            asks.connect(endpoint)
            asks.send(b"there?")
            assert asks.poll(60_000)
            assert asks.recv() == b"there?"


RECORD = """
from pathlib import Path
from trueup.gateway.record.store import Entry, RequestStore
from trueup.gateway.record.account_lock import AccountLock
folder = Path(sys.argv[1])
store = RequestStore(folder / "record.db", "boot", time.time_ns)
lock = AccountLock(folder / "account.lock", "5000001@s")
def add(order_id):
    known = (1, "s", b"{}", b"{}", b"{}", "boot", time.time_ns(), "prepared")
    return store.add(Entry(order_id, *known))
add("A")
"""


def test_a_record_of_requests_is_whole_after_a_helper_of_the_gateway_ended(tmp_path: Path) -> None:
    """SQLite holds the file alone, and would take its log away at the helper's end."""
    code = """
def child():
    say(refusal(lambda: store.find("A")))
    store.close()
    lock.release()
say(wait(fork(child)))
add("B")
say("added")
signal.pause()
"""
    with program(RECORD + code, tmp_path, cwd=tmp_path) as gateway:
        pid = gateway.pid
        said = gateway.line()
        assert said.startswith(f"StoreTrouble: Process {pid} opened ")
        assert said.endswith("record.db; a process forked from it cannot use it.")
        assert gateway.line() == "0"
        assert gateway.line() == "added"
        with pytest.raises(
            StoreRefused, match=f"by another gateway on this machine, process {pid}:"
        ):
            AccountLock(tmp_path / "account.lock", "5000001@s")
        gateway.kill()
    store = RequestStore(tmp_path / "record.db", "again", time.time_ns)
    assert [entry.order_id for entry in store.unsettled()] == ["A", "B"]
    store.close()
    with sqlite3.connect(tmp_path / "record.db") as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


def test_a_gateway_starts_again_when_it_was_killed_and_its_helper_lives(tmp_path: Path) -> None:
    code = "say(fork(signal.pause)); signal.pause()"
    with program(RECORD + code, tmp_path, cwd=tmp_path) as gateway:
        helper = int(gateway.line())
        gateway.kill()
        AccountLock(tmp_path / "account.lock", "5000001@s").release()
        RequestStore(tmp_path / "record.db", "again", time.time_ns).close()
        assert is_running(helper)


def test_whoever_holds_an_account_now_is_named_and_no_dead_process(tmp_path: Path) -> None:
    code = """
import ctypes
heir = ctypes.PyDLL(None).fork()
if not heir:
    ctypes.CDLL(None).pause()
say(heir)
signal.pause()
"""
    with program(RECORD + code, tmp_path, cwd=tmp_path) as gateway:
        heir = int(gateway.line())
        gateway.kill()
        who = f"process {heir}" if Path("/proc").exists() else "a process"
        left = f"{who} that process {gateway.pid} left behind when it ended: end that one"
        with pytest.raises(StoreRefused, match=f"on this machine, {left}"):
            AccountLock(tmp_path / "account.lock", "5000001@s")
    AccountLock(tmp_path / "account.lock", "5000001@s").release()


# -- a worker ----------------------------------------------------------------------------------


def test_a_fork_during_a_call_waits_for_no_thread_that_is_not_there(tmp_path: Path) -> None:
    """The thread that keeps the worker has its state for moments, and a call its turn for long."""
    code = """
from trueup.gateway.worker.worker import WorkerTerminal
terminal = WorkerTerminal("tests.support.worker_terminals:simulated")
assert terminal.initialize()
held, goes_on = threading.Event(), threading.Event()
def hold():
    with terminal._keeper._state, terminal._turn:
        held.set()
        goes_on.wait()
holder = threading.Thread(target=hold)
holder.start()
held.wait()
def child():
    say(terminal.account_info(), terminal.last_error()[0], terminal.last_error()[1])
    terminal.close()
helper = fork(child)
say(wait(helper))
goes_on.set()
holder.join()
say(os.getpid(), terminal.account_info().login)
terminal.close()
"""
    with program(code, cwd=tmp_path) as gateway:
        refused, ended, own = gateway.lines()
    pid = own.removesuffix(" 5000001")
    assert refused.startswith("None -10004 ")
    assert refused.endswith(
        f"process {pid} started the worker; a process forked from it needs a WorkerTerminal of "
        "its own"
    )
    assert ended == "0"


def test_a_worker_ends_with_its_gateway_although_a_helper_of_that_lives(tmp_path: Path) -> None:
    code = """
from trueup.gateway.worker.worker import WorkerTerminal
terminal = WorkerTerminal("tests.support.worker_terminals:simulated")
assert terminal.initialize()
done, does = os.pipe()
def child():
    terminal.close()
    os.write(does, b"closed")
    signal.pause()
say(fork(child))
say(terminal.pid)
# What the helper did to its copy did nothing to the worker.
os.read(done, 6)
say(terminal.account_info().login)
signal.pause()
"""
    with program(code, cwd=tmp_path) as gateway:
        helper, worker = int(gateway.line()), int(gateway.line())
        assert gateway.line() == "5000001"
        gateway.kill()
        until(lambda: not is_running(worker))
        assert is_running(helper)
