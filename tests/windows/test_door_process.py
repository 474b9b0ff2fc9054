"""The door in programs of their own: unguarded, killed, and in folders with every kind of name.

The terminal is the simulated one, in the process of the test; the door calls it through a worker,
as it calls the official module. These hold on every system.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.door_kills import run
from tests.support.crash_world import environment
from tests.support.hosted_terminal import HostedTerminal
from tests.support.servers import until
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.journal.overview import overview
from trueup.sim.process.whereabouts import ask, find_terminal
from trueup.sim.terminal.terminal_faults import TimedOut

pytestmark = pytest.mark.timeout(900)

FOLDER = "Prüfung eins, Счёт"
JOURNAL = "Köln über alles.db"
LONG_SEC = 400.0
KILLS = 4

# No `if __name__ == "__main__"`, and nothing that keeps it from running twice.
UNGUARDED = f"""
import sys
with open("runs", "a", encoding="utf-8") as runs:
    runs.write("ran\\n")
import trueup.mt5 as mt5
if not mt5.initialize(journal={JOURNAL!r}):
    print(mt5.last_error())
    raise SystemExit(1)
tick = mt5.symbol_info_tick("EURUSD")
result = mt5.order_send({{
    "action": mt5.TRADE_ACTION_DEAL, "symbol": "EURUSD", "volume": 0.1, "magic": 7,
    "type": mt5.ORDER_TYPE_BUY, "price": tick.ask, "sl": 1.0, "tp": 1.2, "comment": "wide",
    "type_filling": mt5.ORDER_FILLING_IOC,
}})
if result is None or result.retcode != mt5.TRADE_RETCODE_DONE:
    print(result, mt5.last_error())
print(result and result.retcode, [p.comment for p in mt5.positions_get()])
"""


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[HostedTerminal]:
    (tmp_path / FOLDER).mkdir()
    with HostedTerminal(tmp_path / FOLDER / "home", seed=1) as hosted:
        yield hosted


def python(terminal: HostedTerminal, *words: str, given: str | None = None) -> str:
    """Run Python beside a terminal, and return what it printed."""
    done = subprocess.run(
        [sys.executable, *words],
        input=given,
        cwd=terminal.home.parent,
        env={**environment(terminal.home), "TRUEUP_SIMULATED": "1"},
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=LONG_SEC,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout


@pytest.mark.parametrize("how", ["a file", "-c", "its input", "unchanged"])
def test_an_unguarded_program_runs_once_and_trades(terminal: HostedTerminal, how: str) -> None:
    folder = terminal.home.parent
    program = folder / "мой bot.py"
    if how == "a file":
        program.write_text(UNGUARDED, encoding="utf-8")
        said = python(terminal, program.name)
    elif how == "-c":
        said = python(terminal, "-c", UNGUARDED)
    elif how == "its input":
        said = python(terminal, "-", given=UNGUARDED)
    else:
        official = UNGUARDED.replace("import trueup.mt5 as mt5", "import MetaTrader5 as mt5")
        program.write_text(official, encoding="utf-8")
        said = python(terminal, "-m", "trueup.mt5", program.name)
    assert said == f"{mt5.TRADE_RETCODE_DONE} ['wide']\n"
    assert (folder / "runs").read_text("utf-8") == "ran\n"
    assert terminal.watch.faults == []
    streams = [stream.name for stream in overview(folder / JOURNAL).streams]
    assert streams == ["5000001@Simulated-Demo/magic=7"]


def test_a_program_that_is_killed_gets_the_outcome_of_its_order_first(
    terminal: HostedTerminal,
) -> None:
    with terminal.faults() as faults:
        faults.next_send(TimedOut(fill_after_ms=500))
    with subprocess.Popen(
        [sys.executable, "-c", UNGUARDED],
        cwd=terminal.home.parent,
        env={**environment(terminal.home), "TRUEUP_SIMULATED": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as killed:
        until(lambda: terminal.sends, LONG_SEC)
        killed.kill()
    said = python(terminal, "-c", UNGUARDED)
    assert said == f"{mt5.TRADE_RETCODE_DONE} ['wide']\n"
    assert (terminal.watch.entries, terminal.sends) == ({7: 1}, 1)


def test_a_bot_that_is_killed_a_few_times_doubles_and_forgets_nothing(tmp_path: Path) -> None:
    (tmp_path / FOLDER).mkdir()
    figures, wrong = run(tmp_path / FOLDER, KILLS, seed=12)
    assert wrong == [], figures


def test_a_simulated_terminal_is_started_where_none_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    monkeypatch.setenv("TRUEUP_HOME", str(home))
    program = (
        "import trueup.mt5 as mt5; "
        f"print(mt5.initialize(simulated=True, journal={JOURNAL!r}), mt5.positions_get())"
    )
    try:
        done = subprocess.run(
            [sys.executable, "-c", program],
            cwd=tmp_path,
            env=environment(home),
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=LONG_SEC,
        )
        assert done.stdout == "True ()\n", done.stderr
    finally:
        running = find_terminal()
        if running is not None:
            ask(running, {"command": "stop"})
            until(lambda: find_terminal() is None, LONG_SEC, pause_sec=0.1)


@pytest.mark.skipif(sys.platform != "win32", reason="elsewhere there is no official module")
def test_without_a_terminal_program_initialize_says_so(tmp_path: Path) -> None:
    program = "import trueup.mt5 as mt5; print(mt5.initialize(timeout=1000), mt5.last_error())"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=environment(tmp_path / "home"),
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=LONG_SEC,
    )
    assert done.stdout.startswith("False (-1000"), done.stdout + done.stderr
    assert os.listdir(tmp_path / "home") == [] if (tmp_path / "home").exists() else True
