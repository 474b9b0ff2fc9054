"""`trueup sim fleet`: what it prints of good and of broken runs, and what it refuses."""

from __future__ import annotations

import os
import re
import signal
import threading

import pytest
from typer.testing import CliRunner, Result

from tests.fleet.mutants import claim_of_the_living
from tests.support.marks import needs_interrupt
from trueup.cli import app
from trueup.cli.rehearse import sim_fleet as sim_fleet_module
from trueup.lab.facts.facts import Fact
from trueup.lab.fleet.coverage import FleetCoverage
from trueup.lab.fleet.facts import Executed
from trueup.lab.fleet.plan import draw
from trueup.lab.fleet.run import run_many

pytestmark = pytest.mark.timeout(300)


def sim_fleet(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["sim", "fleet", *arguments])


def test_one_seed_is_told_and_repeated() -> None:
    done = sim_fleet("--seed", "7", "--trace")
    assert done.exit_code == 0
    assert "s  All faults have ended, and the owners are quiet." in done.stdout
    for strike in draw(7).strikes[:1]:
        assert f"FAULT {strike.number}: {strike.fault.value}" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("Seed 7: ")
    assert done.stdout.rstrip().endswith("every promise was kept.")
    assert sim_fleet("--seed", "7", "--trace").stdout == done.stdout


def test_broken_promise_is_told_with_the_command_that_has_it_again() -> None:
    with claim_of_the_living():
        done = sim_fleet("--seeds", "0..2")
        again = sim_fleet("--seed", "0", "--only", "none")
    assert done.exit_code == again.exit_code == 1
    assert "which was alive" in done.stdout
    assert "  again: trueup sim fleet --seed 0\n" in done.stdout
    assert done.stdout.rstrip().endswith("2 runs, 2 of them broke a promise.")
    assert "  again: trueup sim fleet --seed 0 --only none\n" in again.stdout


def test_shrunk_run_has_no_fault_that_its_broken_promise_does_not_need() -> None:
    with claim_of_the_living():
        done = sim_fleet("--seed", "0", "--shrink", "--trace")
        again = sim_fleet("--seed", "0", "--only", "none", "--trace")
        both = sim_fleet("--seeds", "0..2", "--shrink")
    # The planted bug needs no fault at all.
    assert done.exit_code == both.exit_code == 1
    assert done.stdout.endswith(f"The fewest faults that break it:\n{again.stdout}")
    assert done.stdout.startswith("Seed 0: ")
    assert both.stdout.count("The fewest faults that break it:") == 2


def test_run_that_kept_its_promises_is_shown_as_it_is_where_it_was_to_be_shrunk() -> None:
    done = sim_fleet("--seed", "7", "--shrink", "--trace")
    assert done.stdout == sim_fleet("--seed", "7", "--trace").stdout + "Nothing to shrink.\n"


def test_many_processes_give_what_one_gives_in_the_same_order() -> None:
    one, many = FleetCoverage(), FleetCoverage()
    alone = list(run_many(range(7), one))
    assert list(run_many(range(7), many, jobs=2)) == alone
    assert many.met == one.met
    done = sim_fleet("--seeds", "0..7", "--jobs", "2")
    assert done.stdout == "7 runs, 0 of them broke a promise.\n"


def test_coverage_names_what_a_single_seed_has_not_met() -> None:
    done = sim_fleet("--seed", "7", "--coverage", "--only", "none")
    assert done.exit_code == 1
    assert "FREEZE+FAILOVER" in done.stdout
    assert "NEVER" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--only", "3"), "Give one seed with --only"),
        (("--trace",), "Give one seed with --trace"),
        (("--seed", "1", "--seeds", "0..3"), "give one of --seed and --seeds"),
        (("--jobs", "-1"), "give a number of processes"),
        (("--seed", "x"), "give a whole number"),
        (("--seeds", "3..1"), "the smaller first"),
        (("--seed", "1", "--only", "99"), "this seed has 1 to"),
    ],
)
def test_what_cannot_work_is_one_sentence(arguments: tuple[str, ...], said: str) -> None:
    done = sim_fleet(*arguments)
    assert done.exit_code == 64
    assert said in done.output + str(done.exception)


@needs_interrupt
def test_interrupt_ends_the_runs_and_tells_what_was_run(monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupted(FleetCoverage):
        def observe(self, fact: Fact) -> None:
            super().observe(fact)
            if self.met["fault"]["MOVE"] and isinstance(fact, Executed):
                # As Ctrl-C does, while a task of the second run or a later one is at work.
                os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(sim_fleet_module, "FleetCoverage", Interrupted)
    done = sim_fleet("--seeds", "0..1000000")
    assert done.exit_code == 130
    assert re.fullmatch(r"Stopped: \d+ runs, 0 of them broke a promise\.\n", done.stdout)
    assert not [one for one in threading.enumerate() if one.name == "simulated"]
