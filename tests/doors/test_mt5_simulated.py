"""Simulated terminals of several folders have the same account name, and are different accounts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support.crash_world import environment
from tests.support.hosted_terminal import HostedTerminal
from trueup.gateway.terminal.mt5_constants import TRADE_RETCODE_DONE
from trueup.mt5 import ORDER_FILLING_IOC, ORDER_TYPE_BUY, TRADE_ACTION_DEAL

PROGRAM = f"""
import sys
import trueup.mt5 as mt5
assert mt5.initialize(simulated=True), mt5.last_error()
result = mt5.order_send({{
    "action": {TRADE_ACTION_DEAL}, "symbol": "EURUSD", "volume": 0.1, "magic": 7,
    "type": {ORDER_TYPE_BUY}, "sl": 1.0, "tp": 1.2, "type_filling": {ORDER_FILLING_IOC},
}})
print(result.retcode, result.comment, flush=True)
sys.stdin.read()
"""


def test_the_same_magic_number_is_claimed_in_each_folder_by_itself(tmp_path: Path) -> None:
    programs = []
    for name in ("one", "two"):
        # A terminal's state file is read by the programs alone, so one after the other is fine.
        with HostedTerminal(tmp_path / name, seed=1) as terminal:
            program = subprocess.Popen(
                [sys.executable, "-c", PROGRAM],
                cwd=tmp_path,
                env=environment(terminal.home),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            programs.append(program)
            assert program.stdout is not None
            assert program.stdout.readline().startswith(f"{TRADE_RETCODE_DONE} ")
    for program in programs:
        with program:
            program.kill()
