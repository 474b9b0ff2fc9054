"""A strategy of one's own under `trueup run`: a process, a person in a second shell, a kill."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from typer.testing import CliRunner

from tests.paper.test_paper_processes import Shell
from tests.support.servers import until as wait_until
from trueup.cli import app

TRADER = """
class Trader:
    def on_start(self, account):
        self.account = account

    def on_tick(self, tick):
        if not self.account.positions:
            stop, target = round(tick.bid - 0.05, 5), round(tick.ask + 0.05, 5)
            self.account.submit("buy", 0.1, symbol=tick.symbol, sl=stop, tp=target, key="only")
"""
SETTINGS = """
trueup_strategy = "trader:Trader"
trueup_symbols = ["EURUSD"]
trueup_magic = 77
trueup_simulated = true
trueup_adopt = "ask"
trueup_journal = "bot.db"

[limits]
positions = 2
"""


@pytest.fixture
def folder(shell: Shell) -> Shell:
    (shell.folder / "trader.py").write_text(TRADER, encoding="utf-8")
    (shell.folder / "trueup.toml").write_text(SETTINGS, encoding="utf-8")
    return shell


def test_a_bot_of_the_settings_trades_is_asked_killed_and_continues(folder: Shell) -> None:
    bot = folder.start("first.log", "run")
    bot.wait_for("[FILL] CONFIRMED")

    # The bot calls the simulated terminal itself; these ask the terminal's own gateway.
    healthy = folder.ask("doctor")
    assert (healthy.returncode, "simulated terminal" in healthy.stdout) == (0, True), healthy
    assert "agree with the broker's history" in folder.ask("reconcile").stdout

    # A second runner of the same scope is refused by name, and the first one trades on.
    second = folder.run("run")
    assert second.returncode == 2
    assert f"process {bot.child.pid}" in second.stderr

    ticket = folder.ask("trade", "open", "buy", "0.05").stdout.split()[2].rstrip(",")
    bot.wait_for(f"zombie on ticket {ticket}")
    (hold,) = json.loads(folder.ask("plan", "--json").stdout)["waiting"]
    done = folder.ask("approve", hold)
    assert (done.returncode, "carried out" in done.stdout) == (0, True), done

    bot.child.kill()
    bot.child.wait()
    again = folder.start("second.log", "run")
    again.wait_for("[STARTUP] No recovery needed")
    (row,) = [
        row
        for row in folder.ask("trade", "list").stdout.splitlines()
        if row.strip().startswith(ticket)
    ]
    assert "0.05" in row
    # The key is known: the strategy asks for the same order, and no second one is sent.
    assert folder.ask("audit", "--json").returncode == 0
    assert "[ORDER] Created" not in again.text()


@pytest.mark.skipif(sys.platform == "win32", reason="a console's Ctrl-C goes to all its programs")
def test_a_second_signal_ends_a_strategy_that_hangs(folder: Shell) -> None:
    hangs = "import time\nclass Hangs:\n    def on_tick(self, tick):\n"
    hangs += "        print('hangs', flush=True)\n        time.sleep(3600)\n"
    (folder.folder / "hangs.py").write_text(hangs, encoding="utf-8")
    bot = folder.start("hangs.log", "run", "hangs:Hangs")
    bot.wait_for("hangs\n")

    def has_ended() -> bool:
        bot.child.send_signal(signal.SIGINT)
        return bot.child.poll() is not None

    # Signals that come together may be one for the process, so they are sent until it has ended.
    wait_until(has_ended, pause_sec=0.5)
    # The last one may come when the process has given up its handlers already.
    assert bot.child.returncode in (130, -signal.SIGINT)


def test_what_is_missing_is_said_before_anything_starts(shell: Shell) -> None:
    module = "trueup.lab.incidents.strategy"
    some, none = f"{module}:Rehearsal", f"{module}:Nothing"
    for give, words, said in [
        (shell.run, ["run"], "name your strategy: trueup run my_bot:Breakout"),
        (shell.ask, ["run", some, "--symbol", "EURUSD"], "give --gateway tcp://HOST:PORT"),
        (shell.ask, ["run", none, "--simulated"], f"TRUEUP_STRATEGY='{none}' is not valid"),
        (shell.ask, ["run", none, "--simulated"], f"{module} has no Nothing"),
        (shell.ask, ["run", some, "--simulated"], "name the symbols whose prices on_tick gets"),
        (shell.ask, ["run", some, "--simulated", "--symbol", " "], "TRUEUP_SYMBOLS"),
        (shell.ask, ["run", some, "--simulated", "--volume", "0"], "TRUEUP_VOLUME='0.0'"),
    ]:
        refused = give(*words)
        assert (refused.returncode, refused.stdout) == (64, ""), words
        assert said in refused.stderr
        assert "Traceback" not in refused.stderr
    assert "No terminal" in shell.ask("trade", "list").stderr


def test_a_unit_of_systemd_starts_the_bot_and_leaves_a_wanted_end_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(
        app, ["run", "install", "--kind", "systemd", "--", "trader:Trader", "--simulated"]
    )
    assert done.exit_code == 0, done.output
    path = tmp_path / "trueup-bot.service"
    unit = path.read_text("utf-8")
    for line in ("Type=notify", "Restart=on-failure", f"WorkingDirectory={tmp_path}"):
        assert line in unit.splitlines()
    command = "-P -m trueup run trader:Trader --simulated --log bot.log"
    assert f"ExecStart={sys.executable} {command}" in unit
    if shutil.which("systemd-analyze"):
        subprocess.run(["systemd-analyze", "verify", str(path)], check=True)


def test_a_task_of_windows_starts_the_bot_in_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    options = ["run", "install", "--kind", "task", "--name", "euro", "--", "trader:Trader"]
    assert CliRunner().invoke(app, options).exit_code == 0
    task = ET.fromstring((tmp_path / "euro.xml").read_bytes())
    said = [element.text or "" for element in task.iter()]
    assert "-P -m trueup run trader:Trader --log bot.log" in said
    assert str(tmp_path) in said


def test_options_that_the_bot_would_refuse_are_refused_at_the_installation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for words in (["trader:Trader", "--sybmol", "EURUSD"], ["trader:Trader", "other:Trader"]):
        done = CliRunner().invoke(app, ["run", "install", "--", *words])
        assert (done.exit_code, words[1] in done.output) == (64, True)
    assert list(tmp_path.iterdir()) == []
