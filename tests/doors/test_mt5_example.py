"""The example of a bot for the official module: what its variant with trueup changes, and runs."""

from __future__ import annotations

import ast
import difflib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.crash.door_kills import ACCOUNT, EXAMPLES, JOURNAL, Bot
from tests.support.crash_world import environment
from tests.support.hosted_terminal import HostedTerminal
from tests.support.servers import until
from trueup.gateway.terminal.call_wire import FUNCTIONS
from trueup.journal import open_reader

OFFICIAL = (EXAMPLES / "trailing_bot.py").read_text("utf-8")
WITH_TRUEUP = (EXAMPLES / "trailing_bot_with_trueup.py").read_text("utf-8")
START_SEC = 90.0


def test_the_variant_changes_the_import_and_initialize_alone() -> None:
    lines = difflib.ndiff(OFFICIAL.splitlines(), WITH_TRUEUP.splitlines())
    assert [line for line in lines if line[0] in "+-"] == [
        "- import MetaTrader5 as mt5",
        "+ import trueup.mt5 as mt5",
        "- if not mt5.initialize():",
        '+ if not mt5.initialize(journal="bot.db"):',
    ]


def test_the_bot_is_written_as_such_bots_are() -> None:
    code = [line for line in OFFICIAL.splitlines() if line.strip()]
    assert len(code) < 80
    assert "__main__" not in OFFICIAL
    assert "while result is None or result.retcode != mt5.TRADE_RETCODE_DONE:" in OFFICIAL
    for word in ("MAGIC", '"sl"', '"tp"', "TRADE_ACTION_SLTP", "position.ticket"):
        assert word in OFFICIAL
    # Nothing of trueup: each function that it calls is the official module's.
    calls = {
        node.attr
        for node in ast.walk(ast.parse(OFFICIAL))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "mt5"
    }
    assert {name for name in calls if name.islower()} <= {*FUNCTIONS, "last_error"}


@pytest.mark.parametrize("module", ["door", "unchanged"])
def test_the_bot_trades_behind_the_door(module: str, tmp_path: Path) -> None:
    with HostedTerminal(tmp_path / "home", seed=5) as terminal:
        bot = Bot(tmp_path, 7, module, 0)
        bot.start()
        try:
            until(lambda: bot.opened or bot.has_ended, START_SEC)
        finally:
            bot.kill()
            bot.wait()
        ((order, price),) = bot.opened
        assert (order, price) == (
            terminal.orders()[order].ticket,
            terminal.orders()[order].price_done,
        )
        assert terminal.watch.faults == []
    with open_reader(tmp_path / JOURNAL, f"{ACCOUNT}/magic=7") as reader:
        assert "OrderCreated" in {type(event).__name__ for event in reader.read()}


def test_without_a_terminal_the_bot_says_why_it_ends(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "trailing_bot_with_trueup.py")],
        cwd=tmp_path,
        env={"PYTHONPATH": str(EXAMPLES.parent / "src"), "PATH": "", "PYTHONUTF8": "1"},
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=START_SEC,
    )
    assert done.stdout.startswith("initialize() failed: (-10003, ")
    assert "gateway='tcp://HOST:PORT'" in done.stdout


def test_bars_without_numpy_are_an_error_that_says_so_and_nothing_else_ends(tmp_path: Path) -> None:
    (tmp_path / "numpy.py").write_text("raise ImportError('none here')", encoding="utf-8")
    program = """
import trueup.mt5 as mt5
assert mt5.initialize(), mt5.last_error()
for _ in range(2):
    try:
        mt5.copy_rates_from_pos("EURUSD", mt5.TIMEFRAME_H1, 0, 3)
    except ImportError as error:
        print(error)
print(mt5.positions_get())
"""
    with HostedTerminal(tmp_path / "home", seed=5) as terminal:
        env = environment(terminal.home)
        env["PYTHONPATH"] = os.pathsep.join([str(tmp_path), env["PYTHONPATH"]])
        done = subprocess.run(
            [sys.executable, "-c", program],
            cwd=tmp_path,
            env={**env, "TRUEUP_SIMULATED": "1"},
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=START_SEC,
        )
    assert done.stdout == "none here\nnone here\n()\n", done.stderr
    assert "Lost" not in done.stderr
