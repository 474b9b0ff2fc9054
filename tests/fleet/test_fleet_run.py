"""A short run of `make fleet`: every kind of event once, and the ledgers judge."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fleet.fleet_events import Pauses
from tests.fleet.fleet_run import OF_200, run_fleet
from tests.fleet.postgres_pair import PostgresPair
from tests.support import fleet_gateways
from tests.support.posix_limits import posix_only

pytestmark = [posix_only, pytest.mark.timeout(600)]


def test_every_event_once_loses_and_doubles_nothing(
    tmp_path: Path, postgres_pair: PostgresPair, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As with a thousand accounts, the gateways are in several processes.
    monkeypatch.setattr(fleet_gateways, "IN_A_PROCESS", 4)
    said: list[str] = []
    figures, wrong = run_fleet(
        tmp_path,
        postgres_pair,
        accounts=9,
        events=len(OF_200),
        seed=5,
        lease_sec=2.0,
        interval_sec=0.5,
        timeout_ms=2_000,
        pauses=Pauses(freeze=3.0, cut=1.0, outage=2.0),
        says=said.append,
    )
    story = "\n".join([*said, figures])
    assert wrong == [], story
    assert f"{len(OF_200)} of {len(OF_200)} events" in figures, story
