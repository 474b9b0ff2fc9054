"""The worker is replaced while its gateway runs on: its terminal may have just been started.

The terminal is in this process, the worker that calls it in one of its own; a gateway that answers
as before must not make a bot believe a list that is still being filled.
"""

from __future__ import annotations

import itertools
import json
import os
import threading
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from tests.gateway.busy_gateway import DEADLINE_MS
from tests.support import worker_terminals
from tests.support.desk_world import BUY, HEDGING, OTHER, DeskWorld
from tests.support.processes import KILL
from tests.support.servers import until
from trueup.gateway.desk.desk import Desk
from trueup.gateway.reading.snapshots import CannotRead, Snapshots
from trueup.gateway.terminal.call_wire import Error
from trueup.gateway.terminal.forwarding import ForwardingTerminal
from trueup.gateway.worker.keeper import Timing
from trueup.gateway.worker.worker import WorkerTerminal
from trueup.protocol.snapshot import SnapshotReply, SnapshotRequest
from trueup.sim.process.module_port import ModulePort

ANEW = "or its terminal was away since the last reading, and may not have all positions yet"


class WorkerWorld(DeskWorld):
    """A `DeskWorld` whose desk reaches the terminal through a worker process."""

    def __init__(self) -> None:
        super().__init__()
        self.port = ModulePort(self.terminal, threading.Lock())
        self.worker = WorkerTerminal(
            f"{worker_terminals.HERE}:attached_at_once",
            {"address": self.port.address},
            Timing(deadline_ms=DEADLINE_MS, pauses_ms=(0,)),
        )
        self.worker.keep_initialized()
        until(lambda: self.worker.pid)
        self.desk = Desk(
            self.worker, "boot", self.clock.now_ns, attachments=lambda: self.worker.attachments
        )

    def replace_worker(self) -> None:
        """Kill the worker, and wait until another is in its place."""
        attached, pid = self.worker.attachments, self.worker.pid
        assert pid
        os.kill(pid, KILL)
        until(lambda: self.worker.pid is not None and self.worker.attachments > attached)

    def close(self) -> None:
        self.worker.close()
        self.port.close()


@pytest.fixture
def world() -> Iterator[WorkerWorld]:
    made = WorkerWorld()
    yield made
    made.close()


def ask(desk: Desk, number: int, **more: Any) -> dict[str, Any]:
    """Ask for a snapshot in the name of one session."""
    request = {"action": "SNAPSHOT", "session": "one", "id": number, **more}
    reply = json.loads(desk.handle(json.dumps(request).encode()))
    assert isinstance(reply, dict)
    return reply


def test_a_terminal_that_restarts_with_its_worker_is_not_believed_while_it_loads(
    world: WorkerWorld,
) -> None:
    """No request failed, so nothing but the epoch tells the bot that anything happened."""
    ticket = world.person.open("EURUSD", BUY, 0.1)
    assert world.sync().recovered == 1
    world.terminal.restart()
    # The restart broke the pipe, as a real one does: the first worker finds that out.
    assert world.worker.positions_total() is None
    until(lambda: world.worker.pid)
    assert world.worker.positions_total() == 0
    result = world.sync(after_sec=0)
    assert (result.status.value, world.tickets()) == ("DEGRADED", {ticket})
    assert ANEW in result.errors[0]
    world.wait(10)
    results = [world.sync(), world.sync()]
    assert [result.status.value for result in results] == ["DEGRADED", "SUCCESS"]
    assert (world.tickets(), world.kinds()) == ({ticket}, [])


def test_a_worker_that_is_replaced_gives_every_client_a_new_epoch_and_numbers_from_one(
    world: WorkerWorld,
) -> None:
    first = [ask(world.desk, number) for number in (1, 2)]
    world.replace_worker()
    then = [ask(world.desk, number) for number in (3, 4)]
    assert [reply["sequence"] for reply in (*first, *then)] == [1, 2, 1, 2]
    assert first[0]["epoch"] == first[1]["epoch"] != then[0]["epoch"] == then[1]["epoch"]


def test_that_nothing_changed_is_said_in_the_new_epoch_too(world: WorkerWorld) -> None:
    first = ask(world.desk, 1)
    world.replace_worker()
    again = ask(world.desk, 2, digest=first["digest"])
    assert again["status"] == "UNCHANGED"
    assert again["epoch"] != first["epoch"]


class Counted(ForwardingTerminal):
    """A terminal whose worker was replaced before one of its calls."""

    def __init__(self, world: DeskWorld, first_of_second: int) -> None:
        self._world, self._first_of_second = world, first_of_second
        self.calls = 0

    @property
    def attachments(self) -> int:
        return 1 + (self.calls > self._first_of_second)

    def last_error(self) -> Error:
        return self._world.terminal.last_error()

    def _call(self, function: str, *args: Any, **options: Any) -> Any:
        self.calls += 1
        return getattr(self._world.terminal, function)(*args, **options)


def test_a_reading_that_two_workers_made_together_is_none() -> None:
    """The parts would not belong together, whichever call is the first of the second worker."""
    world = DeskWorld()
    request = SnapshotRequest(
        "one", 1, ("EURUSD",), explain=(1,), explain_orders=(1,), history_age_sec=60
    )
    for number in itertools.count():
        terminal = Counted(world, number)
        snapshots = Snapshots(
            terminal,
            "boot",
            world.clock.now_ns,
            attachments=partial(getattr, terminal, "attachments"),
        )
        try:
            snapshots.make(request)
        except CannotRead as error:
            assert "reconnected to the terminal while reading" in str(error)
        else:
            # Every call was made by the first worker.
            assert terminal.calls == number > 10
            break
        reply = snapshots.make(request)
        assert isinstance(reply, SnapshotReply)
        assert reply.sequence == 1


LOOKS_AT_ACCOUNT = ("the watcher", "another client", "the other dialect")
SEERS: dict[str, dict[str, Any]] = {
    "another client": {"action": "SNAPSHOT", "session": "another", "id": 1},
    "a plain question": {"action": "GET_POSITIONS", "symbol": "*"},
    "a question for deals": {"action": "HISTORY", "id": 1, "since_msc": 0, "until_msc": 0},
    "the other dialect": {"action": "SYNC_ALL", "uuid": "u"},
    "the other dialect's account": {"action": "GET_ACCOUNT", "uuid": "u"},
}


@pytest.mark.parametrize(
    ("what", "seen_by"),
    [
        *(("another account", one) for one in LOOKS_AT_ACCOUNT),
        *(("no trade server", one) for one in ("the watcher", *SEERS)),
    ],
)
def test_what_only_others_saw_of_a_terminal_gives_a_new_epoch_once(what: str, seen_by: str) -> None:
    """Somebody logs in elsewhere and comes back, or the link goes and comes, between two looks."""
    world = DeskWorld(others=(OTHER,))
    watcher = world.desk.watcher(50)
    assert watcher.turn() is not None
    first = [ask(world.desk, number) for number in (1, 2)]

    def look() -> None:
        world.wait(0.1)
        if seen_by == "the watcher":
            watcher.turn()
        else:
            world.desk.handle(json.dumps(SEERS[seen_by]).encode())

    if what == "another account":
        assert world.terminal.login(OTHER.login, OTHER.password, OTHER.server)
        look()
        assert world.terminal.login(HEDGING.login, HEDGING.password, HEDGING.server)
    else:
        world.terminal.disconnect()
        look()
        look()
        world.terminal.reconnect()
    world.wait(10)
    then = [ask(world.desk, number) for number in (3, 4)]
    look()
    then.append(ask(world.desk, 5))
    assert [reply["sequence"] for reply in (*first, *then)] == [1, 2, 1, 2, 3]
    assert len({reply["epoch"] for reply in then}) == 1
    assert first[0]["epoch"] != then[0]["epoch"]


def test_a_terminal_in_the_gateway_s_own_process_has_one_epoch() -> None:
    world = DeskWorld()
    replies = [ask(world.desk, number) for number in (1, 2, 3)]
    assert [reply["sequence"] for reply in replies] == [1, 2, 3]
    assert len({reply["epoch"] for reply in replies}) == 1
