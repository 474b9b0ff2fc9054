"""A short run of `make fleet`: every kind of event once, and the ledgers judge."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fleet.fleet_run import WEIGHTS, run_fleet
from tests.journal.postgres_server import PostgresServer
from tests.support.posix_limits import posix_only

pytestmark = [posix_only, pytest.mark.timeout(600)]


def test_every_event_once_loses_and_doubles_nothing(
    tmp_path: Path, postgres_server: PostgresServer
) -> None:
    figures, wrong = run_fleet(
        tmp_path,
        postgres_server,
        accounts=9,
        events=len(WEIGHTS) + 2,
        seed=5,
        lease_sec=2.0,
        interval_sec=0.5,
        freeze_sec=4.0,
    )
    assert wrong == [], figures
    assert all(kind in figures for kind in WEIGHTS), figures
