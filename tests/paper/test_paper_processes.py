"""The guide's scenarios with real processes: a strategy, a terminal, and a person's hand.

Each test waits for what it expects to see, with a deadline, and never for a while.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path
from typing import Any
from unittest import mock

import msgspec
import pytest
from typer.testing import CliRunner

from scripts.support import GuideGateway, listing, row
from tests.gateway.test_service import Served
from tests.paper.deadline import ROOT, wait_for
from tests.support import forked
from tests.support.forked import Child
from tests.support.locks import modules_for_tests_only
from tests.support.logs import logs_as_before
from trueup.cli import app
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.runtime.time.clock import SystemClock
from trueup.sim.market.symbols import AccountSetup
from trueup.sim.terminal.terminal import SimulatedTerminal

# A test here starts up to ten processes, and has a deadline for each of them.
pytestmark = pytest.mark.timeout(300)

# Buys at the first prices it sees, then holds: a position is there within a second. `Hold` leaves
# everything to the person: a signal against a position of theirs would close it.
STRATEGIES = """
class BuyOnce:
    signals = 4

    def on_tick(self, tick):
        self.signals -= 1
        return int(self.signals > 0)


class Hold:
    def on_tick(self, tick):
        return 0
"""
INTERVAL_SEC = "0.3"
# Processes start slowly under Wine where others are busy.
COMMAND_SEC = 280.0 if sys.platform == "win32" else 110.0
NOT_TOLD = (
    "The gateway does not say whether its account is a demo, so it counts as REAL: nothing was "
    "traded there."
)
GIVE = " Give --real-money if you want that."


class Shell:
    """A folder with its own state, and the commands given in it on a console of some encoding."""

    def __init__(self, folder: Path, encoding: str = "utf-8") -> None:
        self.folder, self.encoding = folder, encoding
        self.children: list[Child] = []
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("GTW_", "TRUEUP_"))},
            "PYTHONPATH": str(ROOT / "src"),
            "PYTHONUTF8": str(int(encoding == "utf-8")),
            "PYTHONIOENCODING": encoding,
            "SYNC_INTERVAL_SEC": INTERVAL_SEC,
            "GTW_TIMEOUT_MS": "2000",
        }
        (folder / "once.py").write_text(STRATEGIES, encoding="utf-8")

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Give a command and wait for its end."""
        return forked.run(
            ("-m", "trueup", *arguments),
            cwd=self.folder,
            env=self.environment,
            timeout=COMMAND_SEC,
            encoding=self.encoding,
        )

    def ask(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Give a command in this process: for what asks or tells another process, and ends."""
        with (
            logs_as_before(),
            mock.patch.dict(os.environ, self.environment, clear=True),
            mock.patch.object(sys, "path", [*sys.path]),
            chdir(self.folder),
        ):
            done = CliRunner(charset=self.encoding).invoke(app, arguments)
        assert done.exception is None or isinstance(done.exception, SystemExit), done.output
        return subprocess.CompletedProcess(arguments, done.exit_code, done.stdout, done.stderr)

    def start(self, name: str, *arguments: str) -> Running:
        """Give a command and go on; what it writes goes to the file `name`."""
        path = self.folder / name
        with path.open("wb") as out:
            child = forked.start(
                ("-m", "trueup", *arguments),
                cwd=self.folder,
                env=self.environment,
                stdout=out,
                stderr=out,
            )
        self.children.append(child)
        return Running(child, path, self.encoding)

    def terminal_pid(self) -> int:
        """The process of the terminal that this folder's state file names."""
        state = msgspec.json.decode((self.folder / ".trueup" / "terminal.json").read_bytes())
        return int(state["pid"])

    def clean(self) -> None:
        """End every process that was started here."""
        for child in self.children:
            if child.poll() is None:
                child.kill()
            child.wait()
        if (self.folder / ".trueup" / "terminal.json").exists():
            self.ask("terminal", "--stop")


class Running:
    """A command under way."""

    def __init__(self, child: Child, path: Path, encoding: str = "utf-8") -> None:
        self.child, self.path, self.encoding = child, path, encoding

    def text(self) -> str:
        """What it has written so far."""
        return self.path.read_text(encoding=self.encoding)

    def wait_for(self, line: str, times: int = 1) -> None:
        """Wait until it has written this; fail at once when it has ended without."""

        def is_there() -> bool:
            ended = self.child.poll() is not None
            found = self.text().count(line) >= times
            assert found or not ended, f"ended without {line!r} in\n{self.text()}"
            return found

        wait_for(is_there, lambda: f"{line!r} in\n{self.text()}")

    def ticket(self) -> int:
        """Wait for its first fill and return the ticket."""
        self.wait_for("[FILL] CONFIRMED")
        return int(self.text().partition("Ticket=")[2].partition(",")[0])


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    made = Shell(tmp_path)
    try:
        yield made
    finally:
        made.clean()


def start_paper(shell: Shell, name: str, *options: str, strategy: str = "once:BuyOnce") -> Running:
    return shell.start(name, "paper", "--strategy", strategy, "--volume", "0.02", *options)


def test_a_killed_strategy_finds_its_position_again_and_notices_what_a_person_does(
    shell: Shell,
) -> None:
    # Scenario 2 of the guide: the position outlives the process that opened it, and its state is
    # lost. With a journal it would not be; see tests/cli.
    first = start_paper(shell, "first.log", "--no-journal")
    ticket = first.ticket()
    terminal_pid = shell.terminal_pid()
    first.child.kill()
    first.child.wait()
    assert str(ticket) in shell.ask("trade", "list").stdout

    second = start_paper(shell, "second.log", "--no-journal", strategy="once:Hold")
    second.wait_for(f"[RECOVERY] Zombie position recovered: Ticket {ticket}, LONG 0.02L")
    assert f"Found the simulated terminal, process {terminal_pid}" in second.text()
    assert shell.terminal_pid() == terminal_pid

    # Half of it closed by hand: a drift.
    assert shell.ask("trade", "partial", str(ticket), "0.01").returncode == 0
    second.wait_for("[DRIFT_FIX] Volume 0.02L → 0.01L")
    second.wait_for(f"[DRIFT_FIX] Ticket {ticket}: volume mismatch corrected")

    # A stop loss set by hand.
    assert shell.ask("trade", "modify", str(ticket), "--sl", "0.9").returncode == 0
    second.wait_for(f"[DRIFT_FIX] Ticket {ticket}: stop loss")

    # Opened by hand: a zombie.
    opened = shell.ask("trade", "open", "sell", "0.05").stdout
    stranger = int(opened.split()[2].rstrip(","))
    second.wait_for(f"[RECOVERY] Zombie position recovered: Ticket {stranger}, SHORT 0.05L")

    # Scenario 3: closed by hand, a ghost.
    assert shell.ask("trade", "close", str(ticket)).returncode == 0
    second.wait_for(f"[CLOSED] Ghost position removed (Ticket {ticket})")
    assert shell.ask("trade", "close", "all").stdout == "Closed 1 position.\n"
    second.wait_for(f"[CLOSED] Ghost position removed (Ticket {stranger})")
    assert second.child.poll() is None


def test_paper_trades_with_nothing_but_the_lock_for_running(shell: Shell) -> None:
    hidden = modules_for_tests_only()
    assert {"numpy", "psycopg", "pytest"} <= hidden
    (shell.folder / "sitecustomize.py").write_text(
        f"import sys\nsys.modules.update(dict.fromkeys({sorted(hidden)}))\n", encoding="utf-8"
    )
    shell.environment["PYTHONPATH"] += os.pathsep + str(shell.folder)
    asked = [sys.executable, "-c", "import numpy"]
    assert subprocess.run(asked, env=shell.environment, capture_output=True, check=False).returncode
    paper = start_paper(shell, "paper.log")
    ticket = paper.ticket()
    assert str(ticket) in shell.ask("trade", "list").stdout


def test_a_terminal_that_dies_and_comes_back_is_waited_for(shell: Shell) -> None:
    terminal = shell.start("terminal.log", "terminal", "--speed", "600")
    terminal.wait_for("[TERMINAL] Simulated terminal")
    port = terminal.text().strip().rpartition(":")[2]
    paper = start_paper(shell, "paper.log")
    ticket = paper.ticket()
    terminal.child.kill()
    terminal.child.wait()
    paper.wait_for("Gateway offline")
    assert "[CLOSED]" not in paper.text()

    # The state file is a dead process's now, and nobody takes it for a terminal.
    done = shell.ask("trade", "list")
    assert (done.returncode, "No terminal runs" in done.stderr) == (2, True), done

    again = shell.start("again.log", "terminal", "--port", port)
    again.wait_for("[TERMINAL] Simulated terminal")
    # It is seen again. It has no deals of the position, so nothing proves that it was closed: the
    # book keeps it, and says what it waits for.
    paper.wait_for(f"[HOLD] EURUSD: 0.02 lots (ticket {ticket}) left the broker's list")
    assert "[CLOSED]" not in paper.text()
    assert paper.child.poll() is None


def test_after_its_duration_it_leaves_terminal_and_position_and_says_so(shell: Shell) -> None:
    done = shell.run("paper", "--duration", "1", "--strategy", "once:BuyOnce")
    assert done.returncode == 0, done
    pid = shell.terminal_pid()
    assert f"Started a simulated terminal, process {pid}" in done.stdout
    assert "[STARTUP] No recovery needed, clean state" in done.stdout
    assert f"The simulated terminal goes on, process {pid}" in done.stdout
    assert "trueup terminal --stop" in done.stdout
    status = shell.ask("status").stdout
    assert f"process {pid}" in status
    assert "LONG" in status
    stopped = shell.run("terminal", "--stop")
    assert f"Stopped the terminal, process {pid}; its 1 open position went with it." in (
        stopped.stdout
    )
    log = (shell.folder / ".trueup" / "terminal.log").read_text(encoding="utf-8")
    assert "[TERMINAL] Ends, with 1 open position" in log


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for one process")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_both_in_order(shell: Shell, number: int) -> None:
    terminal = shell.start("terminal.log", "terminal")
    terminal.wait_for("[TERMINAL] Simulated terminal")
    paper = start_paper(shell, "paper.log")
    paper.ticket()
    paper.child.send_signal(number)
    assert paper.child.wait(60) == 0
    assert "Ended. The simulated terminal goes on" in paper.text()
    terminal.child.send_signal(number)
    assert terminal.child.wait(60) == 0
    assert "[TERMINAL] Ends, with 1 open position" in terminal.text()
    assert not (shell.folder / ".trueup" / "terminal.json").exists()


def test_with_a_gateway_given_it_trades_there_and_starts_nothing(shell: Shell) -> None:
    shell.environment["TRUEUP_HOME"] = str(shell.folder / "elsewhere")
    terminal = shell.start("terminal.log", "terminal")
    terminal.wait_for("[TERMINAL] Simulated terminal")
    endpoint = terminal.text().split("gateway at ")[1].strip()
    shell.environment["TRUEUP_HOME"] = str(shell.folder / "here")
    arguments = ("paper", "--strategy", "once:BuyOnce", "--duration", "0.6", "--no-journal")
    done = shell.run(*arguments, "--gateway", endpoint)
    assert "[FILL] CONFIRMED" in done.stdout, done
    done = shell.run(*arguments, "--gateway", endpoint)
    assert "[RECOVERY] Zombie position recovered" in done.stdout, done
    # The state file is gone, and a note says when the bot ended.
    assert [path.name for path in (shell.folder / "here").iterdir()] == ["ended-bot.json"]


def test_a_gateway_of_the_guide_s_kind_is_traded_with_by_local_prices(shell: Shell) -> None:
    held: list[Any] = []

    def answer(request: dict[str, Any]) -> Any:
        if request["action"] == "GET_POSITIONS":
            return listing(*held)
        if request["action"] in ("BUY", "SELL"):
            held.append(row(7, price=1.07))
            filled = {"ticket": 7, "filled_price": 1.07, "filled_volume": request["volume"]}
            return {"order_id": request["order_id"], "status": "FILLED", **filled, "error": None}
        return {"status": "error", "message": f"unknown action {request['action']}"}

    with GuideGateway(answer) as gateway:
        endpoint = f"tcp://127.0.0.1:{gateway.port}"
        arguments = ("--strategy", "once:BuyOnce", "--duration", "1", "--gateway", endpoint)
        refused = shell.run("paper", *arguments)
        assert (refused.returncode, refused.stderr) == (2, f"{NOT_TOLD}{GIVE}\n")
        assert not [one for one in gateway.requests if one["action"] != "GET_POSITIONS"]
        done = shell.run("paper", *arguments, "--real-money")
    assert done.returncode == 0, done
    assert done.stdout.count("[PRICES]") == 1
    assert "Signals come from the local feed from now on" in done.stdout
    assert "[FILL] CONFIRMED" in done.stdout
    orders = [one for one in gateway.requests if one["action"] == "BUY"]
    assert [(one["symbol"], one["volume"]) for one in orders] == [("EURUSD", 0.01)]
    assert f"What is open at tcp://127.0.0.1:{gateway.port} stays open." in done.stdout


def test_without_a_terminal_the_command_says_how_to_start_one(shell: Shell) -> None:
    done = shell.ask("trade", "close", "123456")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "No terminal runs in this folder: start one with `trueup terminal`, or with "
        "`trueup paper`.\n"
    )


def test_a_bad_setting_is_one_sentence_and_exit_code_64(shell: Shell) -> None:
    (shell.folder / ".env").write_text("GTW_PORT=abc\n", encoding="utf-8")
    done = shell.ask("paper")
    assert done.returncode == 64
    assert done.stderr.startswith("GTW_PORT='abc' is not valid: give a whole number")


def test_a_second_terminal_in_one_folder_is_refused_beside_one_that_hangs_too(
    shell: Shell,
) -> None:
    terminal = shell.start("terminal.log", "terminal")
    terminal.wait_for("[TERMINAL] Simulated terminal")
    done = shell.run("terminal")
    assert done.returncode == 2
    assert f"process {terminal.child.pid}" in done.stderr
    unknown = shell.ask("trade", "close", "5")
    assert (unknown.returncode, unknown.stderr) == (
        2,
        "There is no open position with ticket 5: nothing is open.\n",
    )
    if sys.platform == "win32":
        return  # Windows stops no process.
    os.kill(terminal.child.pid, signal.SIGSTOP)
    try:
        done = shell.run("terminal")
    finally:
        os.kill(terminal.child.pid, signal.SIGCONT)
    assert done.returncode == 2
    assert f"The terminal of this folder, process {terminal.child.pid}, does" in done.stderr
    assert shell.terminal_pid() == terminal.child.pid


def test_bots_that_start_at_one_moment_share_one_terminal(shell: Shell) -> None:
    paper = ("paper", "--plain", "--no-journal", "--strategy", "once:Hold")
    bots = [shell.start(f"{number}.log", *paper) for number in range(3)]
    for bot in bots:
        bot.wait_for("[STARTUP] No recovery needed")
        assert f"process {shell.terminal_pid()} at" in bot.text()
    said = (shell.folder / ".trueup" / "terminal.log").read_text("utf-8")
    assert said.count("[TERMINAL] Simulated terminal") == 1


def test_the_guide_s_module_runs_the_same_command(shell: Shell) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "src.main_paper_trading", "--duration", "0.2"],
        cwd=ROOT,
        env={**shell.environment, "TRUEUP_HOME": str(shell.folder / ".trueup")},
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )
    assert "[STARTUP] Starting recovery process" in done.stdout, done


# Whose positions they are, and where it trades.


@pytest.mark.parametrize("adopt", ["ours", "ask"])
def test_a_killed_bot_without_a_journal_knows_its_own_position_by_its_magic_number(
    shell: Shell, adopt: str
) -> None:
    """It would call its own position foreign, and open another one beside it."""
    options = ("--no-journal", "--adopt", adopt)
    first = start_paper(shell, "first.log", *options)
    ticket = first.ticket()
    first.child.kill()
    first.child.wait()
    by_hand = shell.ask("trade", "open", "sell", "0.05").stdout.split()[2].rstrip(",")

    second = start_paper(shell, "second.log", *options)
    second.wait_for(f"[RECOVERY] Zombie position recovered: Ticket {ticket}, LONG 0.02L")
    (status,) = msgspec.json.decode(shell.ask("status", "--json").stdout)["bots"]
    assert [row["ticket"] for row in status["books"] if row["ours"]] == [ticket]
    assert by_hand not in second.text() or adopt == "ask"
    # It is long by what it knows, so that it buys no second time.
    second.wait_for("[RISK] BLOCKED: BUY while LONG 0.02L")
    listed = shell.ask("trade", "list").stdout
    assert listed.count("LONG") == 1


def test_the_environment_alone_leads_no_bot_out_of_the_simulated_terminal(shell: Shell) -> None:
    """A GTW_HOST that is left over from another day must not be traded at."""
    with GuideGateway(lambda _: listing()) as gateway:
        shell.environment["GTW_HOST"] = "127.0.0.1"
        shell.environment["GTW_PORT"] = str(gateway.port)
        done = shell.run("paper", "--strategy", "once:BuyOnce", "--duration", "1")
        assert gateway.requests == []
    assert "Started a simulated terminal" in done.stdout
    assert "[FILL] CONFIRMED" in done.stdout
    url = f"tcp://127.0.0.1:{gateway.port}"
    assert f"GTW_HOST and GTW_PORT are not used: --gateway {url} trades there." in done.stdout


@pytest.mark.parametrize("mode", [mt5.ACCOUNT_TRADE_MODE_REAL, mt5.ACCOUNT_TRADE_MODE_CONTEST])
def test_a_real_account_is_traded_on_only_with_real_money_said(shell: Shell, mode: int) -> None:
    account = AccountSetup(trade_mode=mode)
    terminal = SimulatedTerminal(account=account, now_msc=lambda: SystemClock().now_ns() // 10**6)
    assert terminal.initialize()
    terminal.quote("EURUSD", 1.1, 1.1001)
    with Served(terminal) as served:
        url = f"tcp://127.0.0.1:{served.port}"
        arguments = ("paper", "--strategy", "once:BuyOnce", "--gateway", url, "--duration", "2")
        done = shell.run(*arguments)
        if mode == mt5.ACCOUNT_TRADE_MODE_REAL:
            said = "5000001@Simulated-Demo is a REAL account: nothing was traded there."
            assert (done.returncode, done.stderr) == (2, f"{said}{GIVE}\n")
            assert terminal.positions_total() == 0
            done = shell.run(*arguments, "--real-money")
            assert "[ACCOUNT] 5000001@Simulated-Demo: REAL" in done.stdout
        assert done.returncode == 0, done
        shell.environment["TRUEUP_ACCOUNT"] = "7@Elsewhere"
        other = shell.run(*arguments, "--real-money", "--stream", "another")
        assert "5000001@Simulated-Demo, and TRUEUP_ACCOUNT says 7@Elsewhere" in other.stdout
        assert "[ORDER] Created" not in other.stdout
    if mode == mt5.ACCOUNT_TRADE_MODE_REAL:
        # The simulated terminal is nobody's account.
        own = shell.run("paper", "--strategy", "once:BuyOnce", "--duration", "1")
        assert "[ACCOUNT] 5000001@Simulated-Demo: demo" in own.stdout
