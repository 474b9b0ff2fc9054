"""`trueup sim`: what cannot work is one sentence, and an interrupt ends all of it at once."""

from __future__ import annotations

import itertools
import os
import random
import re
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner, Result

from tests.support.processes import is_running
from tests.world.mutants import outcome_before_send, timeout_as_rejected
from trueup.cli import app
from trueup.errors import StrategyError, TrueupError
from trueup.gateway.worker.module_process import ModuleProcess
from trueup.lab.facts.facts import Fact, Sent
from trueup.lab.plan.plan import draw
from trueup.lab.runs.coverage import CHANCY, WANTED, Coverage
from trueup.lab.runs.reports import Report
from trueup.lab.runs.run import run, run_many

# Whole runs, some in processes of their own: seconds, and minutes where others are busy.
pytestmark = pytest.mark.timeout(300)

BUYS = "class Buys:\n    def on_tick(self, tick):\n        return 1\n"
FAILS = "class Fails:\n    def on_tick(self, tick):\n        raise ValueError('too low')\n"
DIES = "import os\nclass Dies:\n    def on_tick(self, tick):\n        os._exit(9)\n"
# It sleeps: an interrupt just after `Event.wait` has given its lock up is an error of that lock.
WAITS = """import sys, time
class Waits:
    def on_tick(self, tick):
        print("waiting", file=sys.stderr, flush=True); time.sleep(600)
"""
CHANCE = """import random
class Chance:
    def on_tick(self, tick):
        return random.choice((1, -1, 0))
"""
HUGE = "9" * 60


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    for name, text in (
        ("buys", BUYS),
        ("fails", FAILS),
        ("dies", DIES),
        ("waits", WAITS),
        ("chance", CHANCE),
    ):
        (tmp_path / f"sim_{name}.py").write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if name.startswith("sim_"):
            del sys.modules[name]


def sim(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["sim", *arguments])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--seed", "abc"], "--seed='abc' is not valid: give a whole number, as 7."),
        (["--seed", "1e3"], "--seed='1e3' is not valid"),
        (["--seed", ""], "--seed='' is not valid"),
        (["--seed", HUGE], f"--seed='{HUGE}' is not valid"),
        (["--seeds", "5..1"], "--seeds='5..1' is not valid: give two whole numbers"),
        (["--seeds", "5..5"], "--seeds='5..5' is not valid"),
        (["--seeds", "1.."], "--seeds='1..' is not valid"),
        (["--seeds", "²..5"], "--seeds='²..5' is not valid"),
        (["--seeds", f"1..{HUGE}"], f"--seeds='1..{HUGE}' is not valid"),
        (["--jobs", "-1"], "--jobs='-1' is not valid: give a number of processes, as 4, or 0"),
        (["--jobs", "all"], "--jobs='all' is not valid"),
        (["--seed", "1", "--seeds", "0..3"], "give one of --seed and --seeds"),
        (["--trace"], "Give one seed with --trace, as --seed 7."),
        (["--seeds", "0..3", "--trace"], "Give one seed with --trace, as --seed 7."),
        (
            ["--seeds", "0..3", "--html", "x.html", "--only", "1"],
            "Give one seed with --html and --only, as --seed 7.",
        ),
        (["--seed", "1", "--only", "99"], "--only='99' is not valid: give numbers of faults"),
        (["--seed", "1", "--only", "x"], "--only='x' is not valid"),
        (["--seed", "1", "--only", "1,"], "--only='1,' is not valid"),
        (["--strategy", "no_such_module:X"], "there is no module no_such_module here"),
    ],
)
def test_wrong_usage_is_one_sentence(arguments: list[str], said: str) -> None:
    done = sim(*arguments)
    assert done.exit_code == 64
    assert said in done.output
    assert len(done.output.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--seed", "1", "--html", "no/such/x.html"], "--html='no/such/x.html' is not valid"),
        (["--seed", "1", "--html", "."], "--html='.' is not valid: give a file to write"),
        (["--strategy", "sim_fails:Fails"], "ValueError: too low (sim_fails.py, line 3)."),
    ],
)
def test_what_cannot_work_is_one_sentence(arguments: list[str], said: str) -> None:
    done = sim(*arguments)
    assert done.exit_code == 2
    assert said.replace("no/such/x.html", str(Path("no/such/x.html"))) in done.output
    assert len(done.output.splitlines()) == 1


def test_any_whole_number_is_a_seed() -> None:
    for seed in ("-3", "99999999999999999999999999"):
        done = sim("--seed", seed)
        assert done.exit_code == 0
        assert done.output.startswith(f"Seed {seed}: ")
    assert "3 runs, 0 of them" in sim("--seeds", "-2..1").output


@pytest.mark.parametrize(
    ("arguments", "seeds"),
    [
        ([], range(100)),
        (["--coverage"], range(300)),
        (["--coverage", "--seeds", "2..4"], range(2, 4)),
    ],
)
def test_coverage_takes_the_seeds_that_meet_everything_unless_it_is_told(
    arguments: list[str], seeds: range, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def note(chosen: range, **_: object) -> list[Report]:
        asked.append(chosen)
        return []

    monkeypatch.setattr("trueup.cli.rehearse.sim.run_many", note)
    sim(*arguments)
    assert asked == [seeds]


def test_a_run_says_how_many_faults_were_planned_and_how_often_they_struck() -> None:
    done = sim("--seed", "1", "--trace")
    planned = len(draw(1).strikes)
    struck = len(re.findall(r"(?m)^ +[0-9.]+  fault ", done.output))
    assert f", {planned} faults planned, which struck {struck} times, " in done.output
    none = sim("--seed", "1", "--only", "none").output
    assert ", 0 faults planned, which struck 0 times, " in none


def test_there_is_nothing_to_shrink_in_a_run_that_kept_its_promises() -> None:
    done = sim("--seed", "1", "--shrink")
    assert done.exit_code == 0
    assert done.output.splitlines()[-1] == "Nothing to shrink."


def test_what_is_shown_of_a_shrunk_run_is_the_shortest_that_is_broken(folder: Path) -> None:
    with timeout_as_rejected():
        done = sim("--seed", "1", "--shrink", "--trace", "--html", "x.html")
        verdict, *lines = done.output.splitlines()
        again = lines[-1].removeprefix("  again: ")
        shortest = CliRunner().invoke(app, [*again.split()[1:], "--trace"])
    assert verdict == f"Seed 1: {verdict.split(': ')[1]}: broken."
    assert "--only" in again
    # After the list of the faults, the same to the letter as the command that repeats it.
    assert done.output.endswith(shortest.output)
    faults = int(re.findall(r"(\d+) faults? planned,", shortest.output)[-1])
    assert lines[0] == "The fewest faults that break it:"
    assert len(lines) == 1 + faults + len(shortest.output.splitlines())
    assert f"<title>{again}</title>" in (folder / "x.html").read_text(encoding="utf-8")
    assert done.exit_code == 1


def test_a_run_that_kept_its_promises_is_shown_as_it_is_where_it_was_to_be_shrunk(
    folder: Path,
) -> None:
    done = sim("--seed", "4", "--shrink", "--trace", "--html", "x.html")
    assert done.output == sim("--seed", "4", "--trace").output + "Nothing to shrink.\n"
    assert "<title>trueup sim --seed 4</title>" in (folder / "x.html").read_text(encoding="utf-8")
    assert done.exit_code == 0


def test_of_many_seeds_each_broken_run_is_shrunk_to_a_command() -> None:
    with outcome_before_send():
        done = sim("--seeds", "0..2", "--shrink")
    commands = re.findall(r"(?m)^  again: trueup sim (.*)$", done.output)
    assert commands == ["--seed 0", "--seed 1", "--seed 0 --only none", "--seed 1 --only none"]


def test_many_processes_give_what_one_gives_in_the_same_order() -> None:
    # A process takes five seeds at a time, so these are for two.
    one = [report.digest for report in run_many(range(6))]
    assert [report.digest for report in run_many(range(6), jobs=99_999)] == one


def test_a_strategy_trades_in_most_runs_and_one_that_does_not_is_told_so(folder: Path) -> None:
    assert all(run(draw(seed), strategy="sim_buys:Buys").orders for seed in (4, 12, 15))
    (folder / "sim_idle.py").write_text(BUYS.replace("return 1", "return 0"), encoding="utf-8")
    done = sim("--strategy", "sim_idle:Buys", "--seeds", "4..6")
    assert done.exit_code == 0
    assert done.output.splitlines()[-1].startswith("No order was sent")


def test_a_strategy_that_uses_random_is_replayed_and_leaves_random_as_it_was() -> None:
    digests = set()
    for number in range(2):
        random.seed(number)
        before = random.getstate()
        digests.add(run(draw(12), strategy="sim_chance:Chance").digest)
        assert random.getstate() == before
    assert len(digests) == 1
    # Another seed has other chances.
    assert run(draw(15), strategy="sim_chance:Chance").digest not in digests


def test_a_strategy_trades_more_than_the_least_there_is() -> None:
    sent = []

    class Notes:
        def observe(self, fact: Fact) -> None:
            if isinstance(fact, Sent):
                sent.append(msgspec.json.decode(fact.message)["volume"])

    run(draw(3), strategy="sim_buys:Buys", watchers=[Notes()])
    assert set(sent) == {0.03}


def test_less_is_asked_of_the_coverage_of_a_strategy(monkeypatch: pytest.MonkeyPatch) -> None:
    hard = {(kind, name) for kind, names in CHANCY.items() for name in names}

    def meet(_: range, *, coverage: Coverage, **__: object) -> list[Report]:
        for kind, names in WANTED.items():
            coverage.met[kind].update(name for name in names if (kind, name) not in hard)
        return []

    monkeypatch.setattr("trueup.cli.rehearse.sim.run_many", meet)
    assert sim("--coverage").exit_code == 1
    done = sim("--coverage", "--strategy", "sim_buys:Buys")
    assert done.exit_code == 0
    assert "Not asked of a strategy, " in done.output
    hard.add(("fault", "REPLY_LOST"))
    assert sim("--coverage", "--strategy", "sim_buys:Buys").exit_code == 1


def test_the_command_that_repeats_a_run_names_the_strategy(tmp_path: Path) -> None:
    with outcome_before_send():
        done = sim("--strategy", "sim_buys:Buys", "--seed", "4", "--html", "x.html")
        again = "trueup sim --strategy sim_buys:Buys --seed 4"
        assert done.output.splitlines()[-1] == f"  again: {again}"
        assert f"<title>{again}</title>" in (tmp_path / "x.html").read_text(encoding="utf-8")
        short = sim("--strategy", "sim_buys:Buys", "--seed", "4", "--shrink")
        found = re.search(r"again: trueup (.*--only .*)", short.output)
        assert found is not None
        assert CliRunner().invoke(app, found[1].split()).exit_code == 1


def test_the_story_up_to_a_failing_strategy_is_told() -> None:
    done = sim("--strategy", "sim_fails:Fails", "--seed", "7", "--trace")
    assert done.exit_code == 2
    assert "looks at the broker" in done.output
    assert done.output.splitlines()[-1].startswith("Seed 7, at 0.")


def test_a_strategy_that_fails_in_another_process_is_the_same_sentence() -> None:
    with pytest.raises(StrategyError, match=r"^Seed 0, at .*too low \(sim_fails.py, line 3\)"):
        list(run_many(range(20), strategy="sim_fails:Fails", jobs=2))


def test_a_strategy_that_ends_its_process_is_one_sentence() -> None:
    with pytest.raises(TrueupError, match="one of the seeds 0 and up"):
        list(run_many(range(20), strategy="sim_dies:Dies", jobs=2))


def test_other_processes_end_where_no_more_runs_are_wanted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started: list[int] = []
    real = ModuleProcess.__init__

    def noted(process: ModuleProcess, module: str) -> None:
        real(process, module)
        started.append(process.pid)

    monkeypatch.setattr(ModuleProcess, "__init__", noted)
    # Endless, and each of them short.
    runs = run_many(itertools.repeat(4), jobs=2)
    next(runs)
    assert all(map(is_running, started))
    assert len(started) == 2
    runs.close()  # type: ignore[attr-defined]
    assert not any(map(is_running, started))


def test_an_unguarded_program_has_its_runs_and_runs_once(folder: Path) -> None:
    """No process that lives through seeds begins by running the program that asked."""
    (folder / "asks.py").write_text(
        "from trueup.lab.runs.run import run_many\n"
        "print('asked')\n"
        "print(sum(report.is_good for report in run_many(range(6), jobs=2)))\n",
        encoding="utf-8",
    )
    done = subprocess.run(
        [sys.executable, "asks.py"], cwd=folder, capture_output=True, text=True, timeout=100
    )
    assert (done.stdout, done.stderr) == ("asked\n6\n", "")


@pytest.mark.skipif(os.name == "nt", reason="sends the signal of Ctrl-C to a process group")
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--seeds", "0..3", "--jobs", "1"], "Stopped at sim_waits.py, line 4, in on_tick: 0 runs"),
        (["--seeds", "0..90", "--jobs", "2"], "Stopped: 0 runs, 0 of them broke a promise."),
        (["--seed", "0"], "Stopped at sim_waits.py, line 4, in on_tick: seed 0 did not run to its"),
    ],
)
def test_an_interrupt_ends_every_process_at_once(arguments: list[str], says: str) -> None:
    # The command as it is installed: nothing puts this folder on its path but itself.
    program = Path(sysconfig.get_path("scripts")) / "trueup"
    with subprocess.Popen(
        [program, "sim", "--strategy", "sim_waits:Waits", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            # It says so on the first price; none of them goes on by itself.
            assert process.stderr.readline().startswith("waiting")
            os.killpg(process.pid, signal.SIGINT)
            said, troubles = process.communicate(timeout=120)
        finally:
            # One that was started with SIGINT ignored would wait for ever, and this test with it.
            process.kill()
    assert process.returncode == 130
    assert says in said
    assert len(said.splitlines()) == 1
    assert "Traceback" not in troubles
