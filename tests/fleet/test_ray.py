"""Ray as what starts the nodes: the example in `ops/`, where Ray is installed."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fleet.fleet_events import Pauses
from tests.fleet.fleet_run import OF_200, run_fleet
from tests.fleet.fleet_world import DEADLINE_SEC, FleetWorld
from tests.fleet.postgres_pair import PostgresPair
from tests.fleet.ray_nodes import EXAMPLE, RayCluster, RayNode
from tests.journal.postgres_server import PostgresServer
from tests.support.posix_limits import posix_only
from tests.support.servers import until

pytest.importorskip("ray", reason="the example needs Ray: pip install ray")
pytestmark = [posix_only, pytest.mark.timeout(600)]


def test_nodes_that_ray_started_share_the_accounts_and_give_them_back(
    tmp_path: Path, postgres_server: PostgresServer
) -> None:
    with FleetWorld(tmp_path, postgres_server, accounts=4, nodes=1) as world:
        # The first node makes the tables, and ends: the accounts are Ray's nodes' then.
        first = world.nodes["n0"]
        assert first.end() == 0
        accounts = str(first.shell.folder / "accounts.toml")
        command = [sys.executable, str(EXAMPLE), "2", "--accounts", accounts, "--lease", "2"]
        environment = {
            **first.shell.environment,
            "TRUEUP_JOURNAL": world.url,
            "PYTHONPATH": ":".join([*sys.path, str(first.shell.folder)]),
            "RAY_USAGE_STATS_ENABLED": "0",
        }
        with (tmp_path / "ray.log").open("wb") as log:
            ray = subprocess.Popen(
                command, cwd=first.shell.folder, env=environment, stdout=log, stderr=log
            )
        try:
            until(lambda: world.run_by("ray0", "ray1"), DEADLINE_SEC, pause_sec=0.1)
            world.trade(1)
            ray.send_signal(signal.SIGTERM)
            assert ray.wait(DEADLINE_SEC) == 0
            until(lambda: world.status()["nodes"] == {}, DEADLINE_SEC, pause_sec=0.1)
            assert world.faults() == []
        finally:
            if ray.poll() is None:
                ray.kill()
                ray.wait()


def test_every_event_once_loses_and_doubles_nothing_where_ray_starts_the_nodes(
    tmp_path: Path, postgres_pair: PostgresPair
) -> None:
    nodes = 3
    with RayCluster(tmp_path, nodes):
        figures, wrong = run_fleet(
            tmp_path,
            postgres_pair,
            accounts=9,
            events=len(OF_200),
            seed=5,
            nodes=nodes,
            interval_sec=0.5,
            timeout_ms=2_000,
            pauses=Pauses(freeze=8.0, cut=1.0, outage=2.0),
            kind=RayNode,
        )
    assert wrong == [], figures
    assert f"{len(OF_200)} of {len(OF_200)} events" in figures
