"""A fleet of real processes: killed, frozen, cut off from its database; the ledgers judge."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.fleet.fleet_world import DEADLINE_SEC, FleetWorld
from tests.fleet.postgres_pair import PostgresPair
from tests.journal.postgres_server import PostgresServer
from tests.support.faulty_proxy import FaultyProxy, NetFault, When
from tests.support.posix_limits import posix_only
from tests.support.servers import until
from trueup.doors.fleet.fleet import Fleet

pytestmark = [posix_only, pytest.mark.timeout(600)]


def test_killed_and_frozen_nodes_lose_their_accounts_and_nothing_else_is_lost(
    tmp_path: Path, postgres_server: PostgresServer
) -> None:
    with FleetWorld(tmp_path, postgres_server, accounts=9) as world:
        world.when_run_by("n0", "n1", "n2")
        world.trade(2)
        world.nodes["n0"].kill()
        world.when_run_by("n1", "n2")
        frozen = world.nodes["n1"]
        frozen.signal(signal.SIGSTOP)
        world.when_run_by("n2")
        pid = frozen.process.child.pid
        assert not [who for who in world.holders().values() if f"(process {pid} on" in who]
        world.trade(2)
        # It must not have its accounts back by the rebalancing of the fleet: then it might write.
        with Fleet(world.url) as fleet:
            fleet.drain("n1", "a test", "")
        stops = world.stopped_by("node n1")
        frozen.signal(signal.SIGCONT)
        until(
            lambda: world.status()["nodes"]["n1"]["state"] == "drained",
            DEADLINE_SEC,
            pause_sec=0.05,
        )
        world.trade(3)
        assert not [who for who in world.holders().values() if f"(process {pid} on" in who]
        # It has not even written that it lets go.
        assert world.stopped_by("node n1") == stops
        assert set(world.where().values()) == {"n2"}
        assert frozen.end() == 0
        assert world.nodes["n2"].end() == 0
        assert world.faults() == []


def test_database_that_is_away_stops_orders_and_no_reading(
    tmp_path: Path, postgres_server: PostgresServer
) -> None:
    with FleetWorld(tmp_path, postgres_server, accounts=6, nodes=2) as world:
        world.when_run_by("n0", "n1")
        world.trade(1)
        epochs = [row["epoch"] for row in world.status()["owners"]]
        postgres_server.stop()
        # No node is dead when the database is back, though none could send a heartbeat.
        try:
            for node in world.nodes.values():
                node.process.wait_for("The database cannot be reached: accounts are read, and no")
            count = world.orders()
            # An account that has something to write asks less and less often.
            world.read(3)
            # What was sent before the database went has come to its end long since.
            assert world.orders() == count
            done = world.nodes["n0"].shell.run("fleet", "status", "--journal", world.url)
            assert (done.returncode, "cannot be reached" in done.stderr) == (2, True)
            told = world.nodes["n0"].shell.run("status").stdout
            assert "journal" in told.lower()
        finally:
            postgres_server.start()
        world.trade(2)
        assert [row["epoch"] for row in world.status()["owners"]] == epochs
        assert [node.end() for node in world.nodes.values()] == [0, 0]
        assert world.faults() == []


def test_person_drains_moves_and_pauses(tmp_path: Path, postgres_server: PostgresServer) -> None:
    with FleetWorld(tmp_path, postgres_server, accounts=6, nodes=2) as world:
        shell = world.nodes["n0"].shell

        def give(*words: str) -> subprocess.CompletedProcess[str]:
            return shell.run("fleet", *words, "--journal", world.url)

        world.when_run_by("n0", "n1")
        done = give("status")
        assert done.returncode == 0, done.stdout + done.stderr
        assert "2 of 2 nodes are alive, and run 6 accounts" in done.stdout
        # Each account is told, and its gateway's end is.
        until(lambda: world.counts() == {"runs": 6}, DEADLINE_SEC, pause_sec=0.1)
        world.gateways.tell("hang", 0)
        until(lambda: world.counts() == {"retries": 1, "runs": 5}, DEADLINE_SEC, pause_sec=0.1)
        world.gateways.tell("heal", 0)
        until(lambda: world.counts() == {"runs": 6}, DEADLINE_SEC, pause_sec=0.1)

        assert give("drain", "n1", "--who", "anna", "--why", "new disk").returncode == 0
        world.when_run_by("n0")
        done = give("status")
        assert done.returncode == 0, done.stdout
        assert "drained by anna (new disk)" in " ".join(done.stdout.split())
        assert give("drain", "n1", "--undo").returncode == 0
        # Given back step by step, until both have as many.
        world.when_run_by("n0", "n1")

        name = next(name for name, node in world.where().items() if node == "n0")
        assert f"{name} goes to node n1" in " ".join(give("move", name, "n1").stdout.split())
        until(lambda: world.where()[name] == "n1", DEADLINE_SEC, pause_sec=0.1)
        assert give("move", name).returncode == 0
        assert "the nodes are n0, n1" in give("move", name, "n7").stderr

        assert "The whole fleet is paused" in give("pause", "--who", "bert").stdout
        assert "nothing was changed" in give("pause").stdout
        until(lambda: world.paused() == {"bert": 6}, DEADLINE_SEC, pause_sec=0.1)
        count = world.orders()
        world.when_synced(2)
        assert world.orders() == count
        world.nodes["n1"].kill()
        until(
            lambda: world.status()["nodes"]["n1"]["state"] == "lost", DEADLINE_SEC, pause_sec=0.05
        )
        assert give("status").returncode == 1
        world.nodes["n1"].start()
        assert give("resume", "--who", "carl", "--why", "over").returncode == 0
        until(lambda: world.resumed_by("carl"), DEADLINE_SEC, pause_sec=0.1)
        world.when_run_by("n0", "n1")
        world.trade(1)
        # A node that ends in order gives its accounts back: nobody waits for its lease.
        assert world.nodes["n1"].end() == 0
        assert "n1" not in world.status()["nodes"]
        world.when_run_by("n0")
        assert world.nodes["n0"].end() == 0
        assert world.faults() == []


def test_promoted_standbys_lose_nothing_that_was_acknowledged(
    tmp_path: Path, postgres_pair: PostgresPair
) -> None:
    with FleetWorld(tmp_path, postgres_pair, accounts=6, nodes=2) as world:
        world.when_run_by("n0", "n1")
        world.trade(2)
        epochs = [row["epoch"] for row in world.status()["owners"]]
        postgres_pair.fail_over()
        world.trade(3)
        # Each node goes on with what it has: all were away from the database alike.
        assert [row["epoch"] for row in world.status()["owners"]] == epochs
        postgres_pair.rebuild()
        world.trade(1)
        postgres_pair.fail_over()
        world.trade(1)
        assert [row["epoch"] for row in world.status()["owners"]] == epochs
        assert [node.end() for node in world.nodes.values()] == [0, 0]
        assert world.faults() == []


def test_order_that_left_before_the_freeze_and_arrives_after_the_takeover_is_refused_and_counted(
    tmp_path: Path, postgres_server: PostgresServer
) -> None:
    with FleetWorld(tmp_path, postgres_server, accounts=2, nodes=2) as world:
        first, port = world.nodes["n0"], world.gateways.ports[0]
        with FaultyProxy(port) as proxy, Fleet(world.url) as fleet:
            # The way of the first node to the first account is another than that of the second.
            path = first.shell.folder / "accounts.toml"
            draft = path.with_suffix(".new")
            text = path.read_text("utf-8").replace(f":{port}", f":{proxy.port}")
            draft.write_text(text, "utf-8")
            os.replace(draft, path)
            world.when_run_by("n0", "n1")
            fleet.move("a0", "n0", "a test")
            proxy.arm(b'"action":"BUY"', When.REQUEST, NetFault.STALL)
            until(lambda: proxy.struck, DEADLINE_SEC)
            first.signal(signal.SIGSTOP)
            fleet.move("a0", "", "a test")
            until(lambda: world.believed(["n1"]), DEADLINE_SEC, pause_sec=0.05)
            assert world.judged(0)["refused"] == 0
            proxy.heal()
            until(lambda: world.judged(0)["refused"], DEADLINE_SEC, pause_sec=0.05)
            # The new owner hears the number when it renews its claim.
            until(lambda: world.status()["refused_orders"], DEADLINE_SEC, pause_sec=0.2)
            world.trade(2)
            first.signal(signal.SIGCONT)
            assert [node.end() for node in world.nodes.values()] == [0, 0]
        assert world.faults() == []


def test_stop_that_comes_at_once_gives_the_membership_back(
    tmp_path: Path, postgres_server: PostgresServer
) -> None:
    with FleetWorld(tmp_path, postgres_server, accounts=1, nodes=1) as world:
        node = world.nodes["n0"]
        for number in range(2):
            if number:
                node.start()
            # From then on a stop has something to give back.
            until(lambda: world.status()["nodes"].get("n0"), DEADLINE_SEC, pause_sec=0.02)
            assert node.end() == 0
            assert world.status()["nodes"] == {}


def test_node_without_its_gateways_keeps_its_accounts_until_a_person_drains_it(
    tmp_path: Path, postgres_server: PostgresServer
) -> None:
    lined = FleetWorld(
        tmp_path, postgres_server, accounts=4, nodes=2, timeout_ms=2_000, has_lines=True
    )
    with lined as world:
        world.when_run_by("n0", "n1")
        world.trade(1)
        where, node = world.where(), world.nodes["n0"]
        world.lines.tell("cut", node.number)

        def is_told() -> bool:
            return "Gateway offline" in str(world.status()["nodes"]["n0"]["troubles"])

        until(is_told, DEADLINE_SEC, pause_sec=0.1)
        done = world.nodes["n1"].shell.run("fleet", "status", "--journal", world.url)
        assert (done.returncode, "Gateway offline" in " ".join(done.stdout.split())) == (1, True)
        # What reaches the database is alive, and nobody else takes what it has.
        assert world.where() == where
        assert world.status()["nodes"]["n0"]["state"] == "alive"
        with Fleet(world.url) as fleet:
            fleet.drain("n0", "a test", "")
            until(lambda: world.believed(["n1"]), DEADLINE_SEC, pause_sec=0.1)
            world.trade(1)
            world.lines.tell("heal", node.number)
            fleet.undrain("n0", "a test")
        world.when_run_by("n0", "n1")
        world.trade(1)
        assert [one.end() for one in world.nodes.values()] == [0, 0]
        assert world.faults() == []
