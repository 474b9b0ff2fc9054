"""Somebody's own strategy: found beside the command, and named with its own line where it fails."""

from __future__ import annotations

import importlib
import pickle
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from trueup.errors import SettingsError, StrategyError
from trueup.protocol.ticks import Tick
from trueup.runtime.trading.own_code import own_place
from trueup.runtime.trading.strategy_loading import (
    GUIDES_MODULES,
    load_strategy,
    strategy_maker,
)

TICK = Tick("EURUSD", 1.0, 1.0)
OWN = """
import asyncio
import json

class Idle:
    def on_tick(self, tick):
        return 0

class Silent:
    def on_tick(self, tick):
        pass

class Divides:
    def on_tick(self, tick):
        return 1 / 0

class CallsALibrary:
    def on_tick(self, tick):
        return json.loads("{")

class Text:
    def on_tick(self, tick):
        return "buy"

class Two:
    def on_tick(self, tick):
        return 2

class WithoutTick:
    def on_tick(self):
        return 0

class Quits:
    def on_tick(self, tick):
        raise SystemExit("enough")

class Cancels:
    def on_tick(self, tick):
        raise asyncio.CancelledError("enough")

class Wants:
    def __init__(self, fast):
        self.fast = fast
    def on_tick(self, tick):
        return 0

class OpensAFile:
    def __init__(self):
        open("no such file")
    def on_tick(self, tick):
        return 0

class Wordless:
    def on_tick(self, tick):
        raise ValueError

class Half:
    def on_tick(self, tick):
        return 0.5

class Buys:
    def on_tick(self, tick):
        return 1.0

    def on_sync(self, result, more):
        return result + more

class Interrupted:
    def on_tick(self, tick):
        raise KeyboardInterrupt

idle = Idle()
"""
MODULES = {
    "own_strategies": OWN,
    "own_syntax": "class X:\n    def on_tick(self, tick)\n        return 0\n",
    "own_import": "import json\nimport no_such_library\n",
    "own_raise": "\n\nraise RuntimeError('no key file.')\n",
    "own_exit": "raise SystemExit(3)\n",
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The current folder, with strategies in it, which is nowhere on the path."""
    for name, text in MODULES.items():
        (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    kept = [place for place in sys.path if place and Path(place) != tmp_path]
    monkeypatch.setattr(sys, "path", kept)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield
    for name in MODULES:
        sys.modules.pop(name, None)


def line_of(text: str) -> int:
    return next(n for n, line in enumerate(OWN.splitlines(), 1) if text in line)


def test_a_strategy_in_this_folder_is_found_as_a_script_finds_it() -> None:
    assert load_strategy("own_strategies:Idle").on_tick(TICK) == 0


def test_no_answer_is_no_signal() -> None:
    assert load_strategy("own_strategies:Silent").on_tick(TICK) == 0


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("", "give module:Class"),
        ("json", "give module:Class"),
        ("json:", "give module:Class"),
        (":Idle", "give module:Class"),
        (".own_strategies:Idle", "give module:Class"),
        ("own strategies:Idle", "give module:Class"),
        ("own_strategies.py:Idle", "leave out .py, as own_strategies:Idle"),
        ("no_such_module:Idle", "there is no module no_such_module here"),
        ("json.nothing:Idle", "there is no module json.nothing here"),
        ("own_strategies:Idel", "own_strategies has no Idel"),
        ("json:JSONDecoder", "give a class that has on_tick"),
        ("own_strategies:idle", "give a class that has on_tick"),
        ("own_syntax:X", r"SyntaxError: expected ':' \(own_syntax.py, line 2\)"),
        ("own_import:X", r"No module named 'no_such_library' \(own_import.py, line 2\)"),
        ("own_raise:X", r"RuntimeError: no key file \(own_raise.py, line 3\)"),
        ("own_exit:X", r"SystemExit: 3 \(own_exit.py, line 1\)"),
    ],
)
def test_a_name_that_leads_to_no_strategy_is_one_sentence(name: str, said: str) -> None:
    with pytest.raises(SettingsError, match=f"^--strategy='{name}' is not valid: .*{said}"):
        strategy_maker(name)


@pytest.mark.parametrize(
    ("name", "said", "line"),
    [
        ("Divides", "failed: ZeroDivisionError: division by zero", "1 / 0"),
        ("CallsALibrary", "failed: JSONDecodeError: ", "json.loads"),
        ("Text", "returned 'buy' from on_tick", "class Text"),
        ("Two", "returned 2 from on_tick", "class Two"),
        ("WithoutTick", "failed: TypeError: ", "def on_tick(self):"),
        ("Quits", "failed: SystemExit: enough", "raise SystemExit"),
        ("Cancels", "failed: CancelledError: enough", "raise asyncio"),
        ("Wants", "cannot be made without arguments: TypeError: ", "def __init__(self, fast)"),
        ("OpensAFile", "failed as it was made: FileNotFoundError: ", "open("),
    ],
)
def test_what_goes_wrong_in_a_strategy_names_its_own_line(name: str, said: str, line: str) -> None:
    with pytest.raises(StrategyError) as caught:
        load_strategy(f"own_strategies:{name}").on_tick(TICK)
    number = line_of(line) + (1 if line.startswith("class") else 0)
    assert said in str(caught.value)
    assert f"(own_strategies.py, line {number})" in str(caught.value)


def test_a_failure_is_one_sentence_and_the_log_has_the_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    for name, line, said in (
        ("Divides", "1 / 0", "ZeroDivisionError: division by zero"),
        ("Wordless", "raise ValueError", "ValueError"),
    ):
        caplog.clear()
        with pytest.raises(StrategyError) as failed:
            load_strategy(f"own_strategies:{name}").on_tick(TICK)
        whole = f"strategy own_strategies:{name} failed: {said} (own_strategies.py, line "
        assert str(failed.value) == f"The {whole}{line_of(line)})."
        (record,) = caplog.records
        assert record.getMessage() == f"[STRATEGY] the {whole}{line_of(line)})"
        assert (record.levelname, record.exc_info is not None) == ("ERROR", True)


@pytest.mark.parametrize("name", ["Text", "Two", "Half"])
def test_a_result_that_is_no_signal_is_told_with_what_to_return(name: str) -> None:
    with pytest.raises(StrategyError) as refused:
        load_strategy(f"own_strategies:{name}").on_tick(TICK)
    returned = {"Text": "'buy'", "Two": "2", "Half": "0.5"}[name]
    assert str(refused.value) == (
        f"The strategy own_strategies:{name} returned {returned} from on_tick (own_strategies.py, "
        f"line {line_of('class ' + name) + 1}): return 1 to buy, -1 to sell, 0 to hold."
    )


def test_a_class_that_cannot_be_made_is_told_apart_from_one_that_fails() -> None:
    with pytest.raises(StrategyError) as wants:
        load_strategy("own_strategies:Wants")
    assert str(wants.value).startswith(
        "The strategy own_strategies:Wants cannot be made without arguments: TypeError: "
    )
    with pytest.raises(StrategyError) as opens:
        load_strategy("own_strategies:OpensAFile")
    assert str(opens.value).startswith(
        "The strategy own_strategies:OpensAFile failed as it was made: FileNotFoundError: "
    )


def test_each_strategy_is_an_instance_of_its_own_and_methods_are_optional() -> None:
    make = strategy_maker("own_strategies:Buys")
    first, second = make(), make()
    assert first._strategy is not second._strategy
    assert first.on_tick(TICK) == 1
    assert (first.has("on_sync"), first.has("on_fill")) == (True, False)
    assert first.call("on_sync", 1, 2) == 3
    assert first.call("on_fill", 1) is None


def test_the_option_and_the_methods_that_are_wanted_are_named() -> None:
    with pytest.raises(SettingsError) as refused:
        strategy_maker("json:JSONDecoder", ("on_start", "on_fill"), "the strategy")
    assert str(refused.value) == (
        "the strategy='json:JSONDecoder' is not valid: give a class that has on_start or on_fill."
    )
    strategy_maker("own_strategies:Buys", ("on_start", "on_sync"))()
    with pytest.raises(SettingsError) as unknown:
        strategy_maker("own_strategies:Idel")
    assert str(unknown.value) == (
        "--strategy='own_strategies:Idel' is not valid: own_strategies has no Idel; give "
        "module:Class, importable from this folder, such as my_strategies:Breakout."
    )
    with pytest.raises(SettingsError) as gone:
        strategy_maker("no_such_module:Idle")
    assert str(gone.value) == (
        f"--strategy='no_such_module:Idle' is not valid: there is no module no_such_module here "
        f"({Path.cwd()}); give module:Class, importable from this folder, such as "
        "my_strategies:Breakout."
    )
    with pytest.raises(SettingsError) as broken:
        strategy_maker("own_exit:X", option="TRUEUP_STRATEGY")
    assert str(broken.value) == (
        "TRUEUP_STRATEGY='own_exit:X' is not valid: mend the module, which cannot be imported: "
        "SystemExit: 3 (own_exit.py, line 1)."
    )


def test_an_interrupt_is_left_alone_and_can_be_placed() -> None:
    strategy = load_strategy("own_strategies:Interrupted")
    with pytest.raises(KeyboardInterrupt) as caught:
        strategy.on_tick(TICK)
    line = line_of("raise KeyboardInterrupt")
    place = own_place("own_strategies:Interrupted", caught.value)
    assert place == f"own_strategies.py, line {line}, in on_tick"
    assert own_place("no_such_module:X", caught.value) == ""


def test_an_error_of_a_strategy_travels_between_processes() -> None:
    error = StrategyError("The strategy failed.")
    assert str(pickle.loads(pickle.dumps(error))) == "The strategy failed."


# The guide's modules, which only a checkout has.


@pytest.mark.parametrize("module", list(GUIDES_MODULES))
def test_a_strategy_that_imports_the_guides_modules_is_told_what_to_import(
    module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    name = f"written_for_{module.replace('.', '_')}"
    Path(f"{name}.py").write_text(f"import {module}\n", encoding="utf-8")
    for known in [one for one in sys.modules if one == "src" or one.startswith("src.")]:
        monkeypatch.delitem(sys.modules, known)
    monkeypatch.setattr(sys, "path", [one for one in sys.path if not (Path(one) / "src").is_dir()])
    with pytest.raises(SettingsError) as refused:
        load_strategy(f"{name}:Strategy")
    assert "No module named 'src'" in str(refused.value)
    assert f"{GUIDES_MODULES[module]} for {module}" in str(refused.value)


def test_a_module_of_somebodys_own_package_src_is_none_of_the_guides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("wants_its_own.py").write_text("import src.signals\n", encoding="utf-8")
    with pytest.raises(SettingsError) as refused:
        load_strategy("wants_its_own:Strategy")
    assert "checkout" not in str(refused.value)


def test_what_is_to_be_imported_instead_has_the_guides_classes() -> None:
    for theirs, ours in GUIDES_MODULES.items():
        guides, named = importlib.import_module(theirs), importlib.import_module(ours)
        classes = set(getattr(guides, "__all__", ())) - {"main"}
        assert all(getattr(named, one) is getattr(guides, one) for one in classes)
