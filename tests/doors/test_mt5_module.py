"""The face of the door: the official module's names, in every way that programs import it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import trueup.mt5 as door
from trueup.gateway.terminal.call_wire import FUNCTIONS
from trueup.gateway.terminal.mt5_constants import MODULE_CONSTANTS

FACTS = json.loads((Path(__file__).parents[1] / "data" / "mt5_api.json").read_text("utf-8"))


def test_the_door_has_every_function_and_constant_of_the_module() -> None:
    assert {*FACTS["functions"]} <= {*dir(door)}
    assert all(callable(getattr(door, name)) for name in (*FUNCTIONS, "last_error"))
    assert {name: getattr(door, name) for name in FACTS["constants"]} == FACTS["constants"]
    assert len(MODULE_CONSTANTS) == 223
    for name, fields in FACTS["namedtuples"].items():
        assert list(getattr(door, name)._fields) == fields


def test_a_star_import_gives_what_the_module_gives_and_no_more() -> None:
    taken: dict[str, object] = {}
    exec("from trueup.mt5 import *", taken)
    own = {"install", "__builtins__"}
    expected = {*FACTS["functions"], *FACTS["constants"], *FACTS["namedtuples"]}
    assert taken.keys() - own == expected


def test_before_initialize_every_function_fails_as_in_the_module(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert door.positions_get() is None
    assert door.last_error() == (-10004, "No IPC connection")
    assert door.order_send({}) is None
    assert door.symbol_select("EURUSD", True) is False
    assert door.version() == (0, 0, "")
    assert door.shutdown() is True
    with pytest.raises(Exception, match="initialize"):
        _ = door.trueup


def test_bad_options_say_what_is_valid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for options, words in (
        ({"gateway": "vps:5555"}, "give tcp://HOST:PORT"),
        ({"read_ms": "2"}, "read_ms='2' is not valid: give milliseconds"),
        ({"on_doubt": "cry"}, "give 'none' or 'raise'"),
        ({"magic": -1}, "magic=-1 is not valid"),
        ({"simulated": True, "gateway": "tcp://127.0.0.1:1"}, "give one of them"),
        ({}, "gateway='tcp://HOST:PORT' (or TRUEUP_GATEWAY)"),
    ):
        assert door.initialize(**options) is False
        assert words in door.last_error()[1]
    assert not list(tmp_path.iterdir())


def run(folder: Path, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, *words], cwd=folder, capture_output=True, text=True, timeout=60
    )
    return done.stdout + done.stderr


SCRIPT = "import MetaTrader5 as mt5, sys; print(mt5.__name__, mt5.ORDER_TYPE_SELL, sys.argv)"


def test_a_script_runs_unchanged_under_the_door(tmp_path: Path) -> None:
    (tmp_path / "bot.py").write_text(f"import helper\n{SCRIPT}\n")
    (tmp_path / "helper.py").write_text("")
    said = run(tmp_path, "-m", "trueup.mt5", "bot.py", "--fast")
    assert said.strip() == "trueup.mt5 1 ['bot.py', '--fast']"


def test_install_puts_the_door_under_the_official_name(tmp_path: Path) -> None:
    said = run(tmp_path, "-c", f"import trueup.mt5; trueup.mt5.install(); {SCRIPT}")
    assert said.startswith("trueup.mt5 1")


@pytest.mark.parametrize("words", [(), ("nothing.py",)])
def test_a_script_that_is_not_there_is_named(tmp_path: Path, words: tuple[str, ...]) -> None:
    said = run(tmp_path, "-m", "trueup.mt5", *words)
    assert "usage: python -m trueup.mt5 SCRIPT.py" in said
    assert "Traceback" not in said
