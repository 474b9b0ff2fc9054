"""The official MetaTrader5 module itself, as far as it goes without a terminal.

What it answers then, how it reads arguments, and what the gateway makes of it. That a terminal is
reached has never been seen here.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.module_facts import (
    NO_CONNECTION,
    NOT_FOUND,
    OPENS_NO_PIPE,
    WITHOUT_CONNECTION,
    differences,
)
from tests.support.servers import until
from tests.windows import argument_cases
from tests.windows.argument_cases import Call
from trueup.gateway.terminal.mt5 import OfficialTerminal, official_terminal
from trueup.sim.terminal.terminal import SimulatedTerminal

pytestmark = pytest.mark.skipif(sys.platform != "win32", reason="needs Windows: `make windows`")

ROOT = Path(__file__).resolve().parents[2]
START_SEC = 180.0


@pytest.fixture
def module() -> Any:
    module = pytest.importorskip("MetaTrader5")
    module.shutdown()
    return module


def test_without_a_terminal_it_answers_as_the_simulated_one_does(module: Any) -> None:
    assert differences(module) == []


def test_through_the_gateway_s_adapter_it_answers_the_same(module: Any) -> None:
    """Above all, it takes orders: it refuses a request beside an empty dict of keywords."""
    assert differences(OfficialTerminal(module)) == []


def outcome(module: Any, call: Call) -> tuple[Any, ...]:
    """What a call returns or raises, and what `last_error()` says then."""
    function, arguments, keywords = call
    try:
        # An empty dict of keywords counts as keywords to the module.
        ask = getattr(module, function)
        answer = ask(*arguments, **keywords) if keywords else ask(*arguments)
    except SystemError as error:
        answer = SystemError, str(error)
    return answer, module.last_error()


def test_every_kind_of_argument_is_taken_as_the_simulated_terminal_takes_it(module: Any) -> None:
    simulated = SimulatedTerminal(now_msc=lambda: 1_700_000_000_000)
    different = [
        (call, outcome(module, call), outcome(simulated, call))
        for call in argument_cases.calls()
        if outcome(module, call) != outcome(simulated, call)
    ]
    assert different == []


@pytest.mark.parametrize("fact", WITHOUT_CONNECTION, ids=lambda fact: fact.function)
def test_in_the_gateway_s_worker_it_answers_the_same(fact: Any) -> None:
    terminal = official_terminal()
    assert getattr(terminal, fact.function)(*fact.arguments) == fact.answer
    assert terminal.last_error() == fact.error


def test_where_no_terminal_is_installed_initialize_says_so_at_once(module: Any) -> None:
    if module.initialize():
        pytest.skip("a terminal is installed here")
    assert module.last_error() == NOT_FOUND
    assert module.positions_get() is None
    assert module.last_error() == NO_CONNECTION


def test_a_file_that_is_no_program_is_named(module: Any, tmp_path: Path) -> None:
    missing = tmp_path / "terminal64.exe"
    assert not OfficialTerminal(module).initialize(str(missing))
    code, text = module.last_error()
    assert (code, text) == (
        NOT_FOUND[0],
        f"IPC initialize failed, Process create failed '{missing}'",
    )


def begin_gateway(folder: Path, *options: str) -> subprocess.Popen[bytes]:
    """The gateway of the real module, as a process."""
    return subprocess.Popen(
        [
            *(sys.executable, "-P", "-m", "trueup", "gateway", "--port", "0"),
            *("--log", str(folder / "gateway.log"), *options),
        ],
        cwd=folder,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT / "src"),
            "TRUEUP_HOME": str(folder / "state"),
            "LOCALAPPDATA": str(folder),
        },
        stdin=subprocess.DEVNULL,
    )


def said(folder: Path) -> str:
    """The gateway's log."""
    path = folder / "gateway.log"
    return path.read_text("utf-8") if path.exists() else ""


@pytest.mark.timeout(400)
def test_the_gateway_says_what_is_missing_and_tries_again(tmp_path: Path, module: Any) -> None:
    if module.initialize():
        pytest.skip("a terminal is installed here")
    gateway = begin_gateway(tmp_path)
    try:
        until(lambda: said(tmp_path).count("MetaTrader 5 x64 not found") >= 2, START_SEC)
    finally:
        gateway.kill()
        gateway.wait()
    log = said(tmp_path)
    assert "[TERMINAL] Initialising in process " in log
    assert "minutes where it has to start, and at most 300 s" in log
    assert f"Not there: initialize failed: {NOT_FOUND[0]} {NOT_FOUND[1]}; initialising" in log


@pytest.mark.flood
@pytest.mark.timeout(600)
def test_a_program_that_opens_no_pipe_is_given_up_by_the_module_after_100_s(
    tmp_path: Path, module: Any
) -> None:
    program = Path(os.environ["SYSTEMROOT"]) / "system32" / "notepad.exe"
    gateway = begin_gateway(tmp_path, "--terminal-path", str(program))
    try:
        # Meanwhile it says what it does, and for how long.
        until(lambda: "[TERMINAL] Initialising in process " in said(tmp_path), START_SEC)
        assert "Not there" not in said(tmp_path)
        until(lambda: OPENS_NO_PIPE[1] in said(tmp_path), 300.0)
    finally:
        gateway.kill()
        gateway.wait()
