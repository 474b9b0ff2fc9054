"""Bots in processes of their own: a symbol that there is not, and two that count the same."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner

from scripts.support import GuideGateway, listing, row
from tests.cli.bot_world import BotWorld
from tests.gateway.test_service import Served
from tests.paper.deadline import wait_for
from tests.paper.test_paper_processes import Running, Shell
from tests.support.desk_world import DeskWorld
from tests.support.servers import ZmqServer
from trueup.cli import app
from trueup.core.scope import Scope
from trueup.observe.status.status import Status
from trueup.observe.status_text import write_status
from trueup.runtime.control.bots import Bot
from trueup.runtime.time.clock import SystemClock
from trueup.sim.market.symbols import EURUSD
from trueup.sim.terminal.terminal import SimulatedTerminal


def start(shell: Shell, name: str, *options: str) -> Running:
    kept = ("--journal", f"{name}.db")
    return shell.start(f"{name}.log", "paper", "--strategy", "idle:Idle", *kept, *options)


def doctor(shell: Shell, monkeypatch: pytest.MonkeyPatch, *options: str) -> dict[str, Any]:
    """The rows that the doctor prints in the shell's folder, by check."""
    monkeypatch.chdir(shell.folder)
    monkeypatch.delenv("TRUEUP_HOME", raising=False)
    said = CliRunner().invoke(app, ["doctor", "--json", *options])
    return {row["check"]: row for row in json.loads(said.stdout)["rows"]}


def status(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> list[Status]:
    monkeypatch.chdir(shell.folder)
    monkeypatch.delenv("TRUEUP_HOME", raising=False)
    said = CliRunner().invoke(app, ["status", "--json"])
    return msgspec.convert(json.loads(said.stdout)["bots"], list[Status])


def terminal_with(*names: str) -> SimulatedTerminal:
    """A terminal of a broker that writes its symbols so."""
    specs = tuple(dataclasses.replace(EURUSD, name=name) for name in names)
    terminal = SimulatedTerminal(symbols=specs, now_msc=lambda: SystemClock().now_ns() // 1_000_000)
    assert terminal.initialize()
    for name in names:
        terminal.quote(name, 1.1, 1.1001)
    return terminal


# A symbol that the broker does not have.


def test_paper_says_it_at_startup_and_status_and_doctor_say_it_too(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = "The broker does not have the symbol EURUSD; similar names there: EURUSD.m"
    with Served(terminal_with("EURUSD.m")) as served:
        where = ("--gateway", f"tcp://127.0.0.1:{served.port}")
        bot = start(shell, "one", *where)
        bot.wait_for(f"[HOLD] EURUSD: {said} (until")
        (found,) = status(shell, monkeypatch)
        assert found.sentence == (
            "The broker does not have the symbol EURUSD. One action is yours."
        )
        assert [(row.symbol, row.reason) for row in found.refused] == [("EURUSD", said)]
        assert found.needs[0].startswith("End this bot, and start it with the symbol as the broker")
        # The cause is told once, beside what a person has to do.
        assert said in " ".join(write_status(found).split())
        assert found.works == "Entries in EURUSD wait; exits and stops work."
        rows = doctor(shell, monkeypatch, *where)
        assert rows["symbols"]["mark"] == "FAIL"
        assert said in rows["symbols"]["found"]
        assert "asked for by stream EURUSD (process " in rows["symbols"]["found"]
        assert "--symbol" in rows["symbols"]["remedy"]
        assert rows["bot"]["mark"] == "FAIL"
        assert rows["neighbours"]["mark"] == "ok"
    assert bot.text().count(said) == 1
    assert bot.text().count("[STATUS] The broker does not have the symbol EURUSD. One action") == 1


def test_the_doctor_is_asked_about_a_symbol_before_a_bot_is_started(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Served(terminal_with("EURUSD.m", "GBPUSD.m")) as served:
        where = ("--gateway", f"tcp://127.0.0.1:{served.port}")
        rows = doctor(shell, monkeypatch, *where)
        assert (rows["symbols"]["mark"], "--symbol" in rows["symbols"]["found"]) == ("-", True)
        rows = doctor(shell, monkeypatch, *where, "--symbol", "EURUSD.m", "--symbol", "GBPUSD")
        assert rows["symbols"]["mark"] == "FAIL"
        assert "GBPUSD; similar names there: GBPUSD.m" in rows["symbols"]["found"]
        rows = doctor(shell, monkeypatch, *where, "--symbol", "EURUSD.m")
        assert rows["symbols"]["found"] == "the broker has EURUSD.m"


def test_the_doctor_claims_nothing_that_the_gateway_does_not_tell(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = DeskWorld()

    def of_before(message: bytes) -> bytes:
        reply = json.loads(world.desk.handle(message))
        reply.pop("unknown_symbols", None)
        return json.dumps(reply).encode()

    with ZmqServer(of_before) as server:
        where = ("--gateway", f"tcp://127.0.0.1:{server.port}")
        rows = doctor(shell, monkeypatch, *where, "--symbol", "NOSUCH", "--symbol", "EURUSD")
    assert rows["symbols"]["mark"] == "-"
    assert rows["symbols"]["found"] == "whether the broker has NOSUCH is not told"


# Two bots that count the same positions.


def test_two_bots_at_a_gateway_of_the_guide_find_each_other_in_their_folder(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    with GuideGateway(lambda _: listing(row(7))) as gateway:
        where = ("--gateway", f"tcp://127.0.0.1:{gateway.port}", "--real-money")
        bots = [start(shell, name, *where, "--stream", name) for name in ("one", "two")]
        first, second = bots
        first.wait_for("[NEIGHBOUR] Another bot on this account: stream two")
        second.wait_for("[NEIGHBOUR] Another bot on this account: stream one")
        assert f"(process {second.child.pid} on " in first.text()
        assert all(bot.text().count("[NEIGHBOUR]") == 1 for bot in bots)
        found = {bot.stream: bot for bot in status(shell, monkeypatch)}
        assert [said.split()[1] for said in found["one"].neighbours] == ["two"]
        assert "Neighbour  stream two" in write_status(found["one"])
        assert found["one"].entries_refused == ""
        assert found["one"].needs == []
        assert doctor(shell, monkeypatch)["bot"]["mark"] == "warn"
        # The state file of a bot that is killed stays behind, and is nobody's.
        second.child.kill()
        second.child.wait()
        wait_for(
            lambda: status(shell, monkeypatch)[0].neighbours == [], lambda: "no neighbour any more"
        )


def test_two_bots_with_magic_numbers_of_their_own_are_told_nothing(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Served(terminal_with("EURUSD")) as served:
        where = ("--gateway", f"tcp://127.0.0.1:{served.port}")
        one = start(shell, "one", *where, "--stream", "one", "--magic", "7")
        two = start(shell, "two", *where, "--stream", "two", "--magic", "8")
        three = start(shell, "three", *where, "--stream", "three", "--magic", "8")
        two.wait_for("[NEIGHBOUR] Another bot on this account: stream three")
        three.wait_for("[NEIGHBOUR] Another bot on this account: stream two")
        one.wait_for("[STARTUP] No recovery needed")
        wait_for(lambda: len(status(shell, monkeypatch)) == 3, one.text)
        found = {bot.stream: bot.neighbours for bot in status(shell, monkeypatch)}
        assert found["one"] == []
        assert len(found["two"]) == len(found["three"]) == 1
        # The gateway knows a book from the book's own questions; the folder is faster.
        rows: list[dict[str, Any]] = []

        def is_told() -> bool:
            rows.append(doctor(shell, monkeypatch, *where)["neighbours"])
            return bool(rows[-1]["mark"] == "warn")

        wait_for(is_told, lambda: str(rows[-1]))
        row = rows[-1]
        assert {"two", "three"} == {part.split()[0] for part in row["found"].split("stream ")[1:]}
        assert "magic 8" in row["found"]
    assert "[NEIGHBOUR]" not in one.text()


def test_a_state_file_of_before_has_no_scope() -> None:
    old = b'{"pid":7,"control":"tcp://127.0.0.1:9","symbol":"EURUSD","started":""}'
    assert msgspec.json.decode(old, type=Bot).scope is None
    bot = Bot(7, "c", "EURUSD", "", scope=Scope("r", magics=(7,), symbols=("EURUSD",)))
    assert msgspec.json.decode(msgspec.json.encode(bot), type=Bot) == bot


def test_a_bot_of_before_says_nothing_of_neighbours() -> None:
    row = msgspec.to_builtins(BotWorld().status())
    assert row.pop("neighbours") == []
    assert msgspec.convert(row, Status).neighbours == []
