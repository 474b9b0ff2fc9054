"""The commands of a folder find the journals of the programs that call `trueup.mt5` there."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner, Result

from tests.support.door_world import DoorWorld, deal
from trueup.cli import app
from trueup.journal import open_journal
from trueup.runtime.control.programs import (
    JOURNAL_FILE,
    journal_of_programs,
    note_program,
    noted_programs,
)

STREAM = "5000001@Simulated-Demo/magic=7"
NO_PROCESS = 2**22 + 1


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DoorWorld:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TRUEUP_JOURNAL", raising=False)
    return DoorWorld(tmp_path)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def traded(world: DoorWorld) -> None:
    assert world.door.order_send(deal(magic=7)) is not None
    world.door.positions_get()


def make_paper_journal(world: DoorWorld) -> None:
    place = world.folder / "state" / "paper.db"
    open_journal(place, "EURUSD", holder="trueup paper", now_ns=world.clock.now_ns).close()


def read_by_info() -> list[str]:
    seen = json.loads(run("journal", "info", "--json").stdout)
    return [Path(seen["journal"]).name, *(row["name"] for row in seen["streams"])]


@pytest.mark.parametrize("runs", [True, False], ids=["running", "ended"])
def test_each_reading_command_reads_the_journal_of_the_program(
    world: DoorWorld, runs: bool
) -> None:
    traded(world)
    if not runs:
        world.door.shutdown()
    assert read_by_info() == ["bot.db", STREAM]
    assert "BUY 0.10L @ 1.1001" in run("audit").stdout
    assert "100001" in run("replay", "--at", "2024-01-01").stdout
    assert "bot.db" in run("status").stdout
    assert "bot.db" in run("doctor", "--json").stdout


def test_the_status_of_a_running_script_is_no_alarm_and_no_agreement(world: DoorWorld) -> None:
    traded(world)
    done = run("status", "--json")
    left = json.loads(done.stdout)["journal"]
    assert (done.exit_code, left["state"], left["needs"]) == (2, "degraded", [])
    (program,) = noted_programs()
    assert left["sentence"] == (
        f"{program.name} runs, and its book has one position. No command can ask a script."
    )
    (link,) = [link for link in left["links"] if link["name"] == "bot"]
    assert (link["works"], link["words"]) == (
        None,
        f"process {program.pid} runs, and takes no commands",
    )
    assert "takes no commands of another shell" in " ".join(run("status").stdout.split())
    # A script that was killed leaves its book to a person.
    note_program(msgspec.structs.replace(program, pid=NO_PROCESS))
    done = run("status", "--json")
    assert (done.exit_code, json.loads(done.stdout)["journal"]["state"]) == (1, "needs_person")


def test_a_program_is_noted_with_its_book_when_its_first_order_opens_that(
    world: DoorWorld,
) -> None:
    assert noted_programs() == []
    traded(world)
    (program,) = noted_programs()
    assert (program.stream, program.account) == (STREAM, "5000001@Simulated-Demo")
    assert program.journal_file == str(world.folder / "bot.db")
    assert program.is_running
    # A restart of the program is the same book, and no second file.
    world.restart(magic=7)
    assert [program.stream for program in noted_programs()] == [STREAM]


def test_a_running_program_comes_before_the_demonstration_and_an_ended_one_after_it(
    world: DoorWorld,
) -> None:
    traded(world)
    make_paper_journal(world)
    assert read_by_info()[0] == "bot.db"
    (program,) = noted_programs()
    note_program(msgspec.structs.replace(program, pid=NO_PROCESS))
    assert read_by_info() == ["paper.db", "EURUSD"]


def test_the_setting_comes_first(world: DoorWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    traded(world)
    open_journal("other.db", "GBPUSD", now_ns=world.clock.now_ns).close()
    monkeypatch.setenv("TRUEUP_JOURNAL", "other.db")
    assert read_by_info() == ["other.db", "GBPUSD"]


def test_a_journal_that_no_file_names_is_found_in_the_state_folder(world: DoorWorld) -> None:
    world.door.shutdown()
    place = world.folder / "state" / JOURNAL_FILE
    place.parent.mkdir()
    open_journal(place, "EURUSD", now_ns=world.clock.now_ns).close()
    assert journal_of_programs() == place
    assert journal_of_programs(running=True) is None
    assert read_by_info() == [JOURNAL_FILE, "EURUSD"]


def test_a_folder_that_cannot_be_written_stops_no_program(world: DoorWorld) -> None:
    (world.folder / "state").write_text("in the way", encoding="utf-8")
    traded(world)
    assert world.open_lots == 0.1
