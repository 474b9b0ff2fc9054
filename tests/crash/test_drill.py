"""`trueup drill`, as a person runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.support.crash_world import ROOT
from trueup.cli import app
from trueup.core.recovery import CASES
from trueup.lab.drill.drill import Drill, Round

ROUND_FACTS = {
    "number",
    "killed_at",
    "behind_its_back",
    "seconds",
    "syncs",
    "kept",
    "adopted",
    "closed",
    "corrected",
    "order",
    "agrees",
    "health",
}


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A folder with a short name: the path of a Unix socket has at most 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="d") as folder:
        yield Path(folder)


def drill(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "trueup", "drill", *options],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "TMPDIR": str(folder)},
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=110,
        check=False,
    )


def test_drill_kills_restarts_and_says_what_became_of_everything(short_path: Path) -> None:
    done = drill(short_path, "--rounds", "2", "--seed", "3", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    facts = json.loads(done.stdout)
    assert (facts["seed"], facts["agrees"]) == (3, True)
    assert [one["number"] for one in facts["rounds"]] == [1, 2]
    labels = {case.label for case in CASES}
    for one in facts["rounds"]:
        assert set(one) == ROUND_FACTS
        assert one["agrees"]
        assert one["kept"] > 0
        assert one["behind_its_back"]
        assert any("closed by hand" in text for text in one["closed"])
        assert one["order"]["case"] in labels
        assert f"case {one['order']['case']}: " in one["order"]["because"]
        assert one["health"].startswith("Everything agrees")
    # It leaves nothing behind.
    assert list(short_path.iterdir()) == []


ORDER = {
    "order_id": "ORD_5_1e62a087",
    "what": "SELL 0.05L EURUSD",
    "status": "CANCELED",
    "case": "B",
    "because": "case B: it never left",
}
AGREES = Round(
    1, "after intent", ["Closed one."], 1.0, 2, 3, ["A"], ["C"], ["D"], ORDER, True, "Ok."
)
DIFFERS = Round(2, "before intent", [], 2.0, 1, 0, [], [], [], None, False, "Degraded.")


@pytest.mark.parametrize(("rounds", "code"), [([AGREES], 0), ([AGREES, DIFFERS], 1)])
def test_drill_says_it_in_words_and_by_its_exit_code(
    rounds: list[Round], code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Drill, "run", lambda self, count: iter(rounds))
    done = CliRunner().invoke(app, ["drill", "--rounds", str(len(rounds))])
    assert done.exit_code == code
    said = done.output
    assert "Round 1: killed after intent" in said
    assert "agreement   after 1.00 s, 2 syncs" in said
    assert "SELL 0.05L EURUSD (ORD_5_1e62a087): CANCELED" in said
    assert f"Books agree after 1 of {len(rounds)} kills (seed 0); time to agreement 1.00" in said
    assert "cases B." in said
    if code:
        assert "agreement   NOT after 2.00 s, 1 sync\n" in said
        assert "never sent" in said


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(10))
def test_drill_agrees_whatever_the_seed(seed: int, short_path: Path) -> None:
    done = drill(short_path, "--rounds", "6", "--seed", str(seed), "--json")
    assert done.returncode == 0, done.stdout
