"""`trueup gateway` as a process, on a simulated terminal that this test has in its hands.

Four processes as in the field: the bot (here), the gateway, its worker, and the terminal program
(here too, in a thread, so that the test can do to it whatever befalls a real one).
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.gateway.gateway_field import DEADLINE_MS, Field
from tests.support.marks import needs_interrupt
from tests.support.processes import KILL, is_running
from tests.support.servers import until
from trueup.cli import app
from trueup.gateway.client.execution_gateway import ExecutionGateway
from trueup.sim.terminal.terminal_faults import AnswerLost, Hang

LOGIN = 5_000_001
SECRET = "correct horse battery"


@pytest.fixture
def field(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Field]:
    for name in [name for name in os.environ if name.startswith(("GTW_", "TRUEUP_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("TRUEUP_HOME", str(tmp_path / "state"))
    made = Field(tmp_path)
    yield made
    made.close()


def order(order_id: str, volume: float = 0.1) -> dict[str, Any]:
    return {
        "order_id": order_id,
        "symbol": "EURUSD",
        "action": "BUY",
        "volume": volume,
        "price": 1.0,
    }


def tickets(bot: ExecutionGateway) -> list[int]:
    reply = bot.get_positions()
    assert reply["status"] == "SUCCESS", reply
    return [row["ticket"] for row in reply["positions"]]


@needs_interrupt
def test_a_bot_trades_through_gateway_and_worker_and_ctrl_c_ends_both(field: Field) -> None:
    field.start_gateway()
    worker = field.wait_for_worker()
    with field.bot() as bot:
        filled = bot.send_order(order("A"))
        assert filled["status"] == "FILLED", filled["error"]
        assert tickets(bot) == [filled["ticket"]]
    assert field.end_gateway(signal.SIGINT) == 0
    assert not is_running(worker)
    assert len(field.said("Ended")) == 1
    # The position is the terminal's, and stays.
    assert len(field.terminal.terminal.ledger.positions) == 1


def test_an_order_that_hangs_is_unknown_and_the_next_worker_shows_what_became_of_it(
    field: Field,
) -> None:
    field.start_gateway()
    first = field.wait_for_worker()
    field.terminal.module.faults.next_send(Hang(executed=True))
    with field.bot() as bot:
        reply = bot.send_order(order("A"))
        assert reply["status"] == "UNKNOWN"
        assert (
            f"-10005 IPC timeout, order_send: no answer within {DEADLINE_MS} ms" in reply["error"]
        )
        assert field.wait_for_worker(2) != first
        (ticket,) = tickets(bot)
    assert list(field.terminal.terminal.ledger.positions) == [ticket]


def test_a_lost_answer_is_unknown_and_the_terminal_is_initialised_again(field: Field) -> None:
    field.start_gateway()
    field.wait_for_worker()
    field.terminal.module.faults.next_send(AnswerLost(executed=True))
    with field.bot() as bot:
        reply = bot.send_order(order("A"))
        assert (reply["status"], "-10002 IPC recv failed" in reply["error"]) == ("UNKNOWN", True)
        field.wait_for_worker(2)
        assert len(tickets(bot)) == 1


def test_a_terminal_that_ends_is_lost_and_found_again_when_it_is_back(field: Field) -> None:
    field.start_gateway()
    field.wait_for_worker()
    with field.bot() as bot:
        assert tickets(bot) == []
        field.stop_terminal()
        reply = bot.get_positions()
        assert reply["status"] == "FAILED"
        assert "-10002" in reply["error"] or "-10004" in reply["error"]
        until(lambda: field.said("initialize failed: -10003"))
        sent = bot.send_order(order("A"))
        assert sent["status"] == "REJECTED"
        assert "No IPC connection" in sent["error"]
        field.start_terminal()
        field.wait_for_worker(2)
        assert tickets(bot) == []


def test_a_gateway_that_is_killed_leaves_no_worker_behind(field: Field) -> None:
    field.start_gateway()
    worker = field.wait_for_worker()
    assert is_running(worker)
    field.end_gateway(KILL)
    until(lambda: not is_running(worker))


def test_the_account_that_was_asked_for_is_served(field: Field) -> None:
    password = field.folder / "password"
    password.write_text(f"{SECRET}\n", "utf-8")
    password.chmod(0o600)
    field.start_gateway("--login", str(LOGIN), "--password-file", str(password))
    field.wait_for_worker()
    assert field.said(rf"Initialised: account {LOGIN} at \S+, build \d+")
    with field.bot() as bot:
        assert tickets(bot) == []
    assert SECRET not in field.log.read_text("utf-8")


@needs_interrupt
def test_a_wrong_login_is_refused_and_no_secret_is_told(field: Field) -> None:
    field.start_gateway("--login", "77", TRUEUP_MT5_PASSWORD=SECRET)
    until(lambda: field.said("initialize failed: -6 Terminal: Authorization failed"))
    assert field.said("initialising again in 300 s")
    with field.bot() as bot:
        reply = bot.send_order(order("A"))
        assert reply["status"] == "REJECTED"
        assert "-6 Terminal: Authorization failed" in reply["error"]
        assert bot.get_positions()["status"] == "FAILED"
    assert field.end_gateway() == 0
    assert SECRET not in field.log.read_text("utf-8")


# -- what cannot work is one sentence ----------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TRUEUP_HOME", raising=False)
    return tmp_path


def gateway(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["gateway", *arguments])
    return done.exit_code, done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="the module may be there")
@pytest.mark.usefixtures("folder")
def test_without_windows_the_real_terminal_is_refused_with_what_to_do() -> None:
    code, said = gateway()
    assert code == 2
    assert said.startswith("The MetaTrader5 module exists for Windows only")
    assert "--simulated" in said


def test_a_server_alone_is_no_account() -> None:
    assert gateway("--server", "Demo") == (
        64,
        "--server='Demo' is not valid: give --login with it.\n",
    )


def test_a_password_file_is_judged_before_anything_starts(folder: Path) -> None:
    code, said = gateway("--password-file", "none")
    assert (code, said) == (64, "--password-file='none' is not valid: give --login with it.\n")
    code, said = gateway("--login", "5", "--password-file", "none")
    assert (code, "(no such file or directory)" in said) == (2, True)
    if os.name == "posix":
        (folder / "open").write_text("one", "utf-8")
        (folder / "open").chmod(0o644)
        code, said = gateway("--login", "5", "--password-file", "open")
        assert (code, "chmod 600 open" in said) == (64, True)
    (folder / "two").touch(0o600)
    (folder / "two").write_text("one\ntwo\n", "utf-8")
    code, said = gateway("--login", "5", "--password-file", "two")
    assert (code, "on one line" in said, "one\ntwo" in said) == (64, True, False)
    (folder / "empty").touch(0o600)
    assert gateway("--login", "5", "--password-file", "empty")[0] == 64
