"""The adapter of the official module, over a module made from the facts about the official one."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import json
import platform
import sys
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.gateway.terminal_contract import TerminalContract
from tests.support.stub_module import FACTS, make_module
from tests.support.worker_terminals import SteppingClock
from trueup.gateway.desk.desk import Desk
from trueup.gateway.terminal.call_wire import FUNCTIONS, SUCCESS
from trueup.gateway.terminal.mt5 import (
    ModuleMissing,
    OfficialTerminal,
    official_terminal,
    require_module,
)
from trueup.gateway.terminal.one_account import ACCOUNT_FUNCTIONS, READY_POLLS, OneAccount
from trueup.gateway.terminal.terminal import Terminal
from trueup.sim.market.symbols import AccountSetup
from trueup.sim.terminal.terminal import SimulatedTerminal
from trueup.sim.terminal.terminal_faults import Fails

ROOT = Path(__file__).resolve().parents[2]
HOME = AccountSetup(password="right", server="Demo")
OTHER = AccountSetup(login=5_000_002, password="other", server="Demo")
NOW_NS = 1_700_000_000_000_000_000
AUTH_FAILED = (-6, "Terminal: Authorization failed")


class Stubbed:
    """The adapter, the module under it, and the simulated terminal under that."""

    def __init__(self) -> None:
        self.clock = SteppingClock()
        self.simulated = SimulatedTerminal(
            account=HOME, other_accounts=(OTHER,), now_msc=self.clock
        )
        self.module, self.called = make_module(self.simulated)
        self.terminal = OfficialTerminal(self.module)


@pytest.fixture
def stubbed() -> Stubbed:
    return Stubbed()


# -- what is used of the module ----------------------------------------------------------------


def test_the_protocol_has_functions_and_arguments_of_the_module_only() -> None:
    for name in FUNCTIONS:
        details = FACTS["function_details"][name]
        for parameter in inspect.signature(getattr(Terminal, name)).parameters.values():
            if parameter.name == "self" or parameter.kind is inspect.Parameter.VAR_POSITIONAL:
                continue
            if parameter.kind is inspect.Parameter.POSITIONAL_ONLY:
                assert parameter.name in details["positional"], name
            else:
                assert parameter.name in details["keywords"], name


def calls_of_a_terminal() -> Iterator[tuple[str, ast.Call]]:
    """Every place in the gateway that calls a function of the module by its name."""
    for path in (ROOT / "src/trueup/gateway").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                whose = ast.unparse(node.func.value)
                if whose.endswith(("terminal", "_module")):
                    yield f"{path.name}: {ast.unparse(node)}", node


def test_every_call_in_the_gateway_has_arguments_that_the_module_has() -> None:
    """The module ignores a keyword that it does not know, and returns everything."""
    seen = set()
    for where, node in calls_of_a_terminal():
        assert isinstance(node.func, ast.Attribute)
        name = node.func.attr
        if name == "last_error" or name not in FACTS["functions"]:
            continue
        seen.add(name)
        details = FACTS["function_details"][name]
        keywords = {keyword.arg for keyword in node.keywords if keyword.arg is not None}
        assert keywords <= set(details["keywords"]), where
        positional = [arg for arg in node.args if not isinstance(arg, ast.Starred)]
        assert len(positional) <= len(details["positional"]), where
    assert {"positions_get", "order_send", "history_deals_get", "symbol_select"} <= seen


def test_every_function_that_is_called_is_one_of_the_module() -> None:
    own = {"keep_initialized"}
    for where, node in calls_of_a_terminal():
        assert isinstance(node.func, ast.Attribute)
        assert node.func.attr in {*FACTS["functions"], *own}, where


class TestThroughTheAdapter(TerminalContract):
    """Nothing is lost or changed on the way to the module, wrong arguments included."""

    @pytest.fixture
    def terminal(self) -> Terminal:
        simulated = SimulatedTerminal(account=HOME, now_msc=SteppingClock())
        terminal = OneAccount(OfficialTerminal(simulated))
        assert terminal.initialize(login=HOME.login)
        return terminal


REQUESTS: list[dict[str, Any]] = [
    {"action": "GET_POSITIONS", "symbol": "*"},
    {"action": "GET_POSITIONS", "symbol": "EURUSD"},
    {"action": "TICK", "symbol": "EURUSD"},
    {"action": "TICK", "symbol": "NO.SUCH"},
    {"action": "SNAPSHOT", "session": "s", "id": 1, "symbols": ["EURUSD"], "history_age_sec": 3600},
    {"action": "SNAPSHOT", "session": "s", "explain": [0, 1, 2**63], "explain_orders": [0, 7]},
    {"action": "BUY", "order_id": "A", "symbol": "EURUSD", "volume": 1, "sl": 1, "magic": 7},
    {"action": "SELL", "order_id": "B", "symbol": "EURUSD", "volume": 0.1, "comment": "x" * 90},
    {
        "action": "BUY",
        "order_id": "C",
        "symbol": "EURUSD",
        "volume": 0.1,
        "type": "limit",
        "price": 1,
    },
    {"action": "SNAPSHOT", "session": "s", "explain": [-1]},
    {"action": "SNAPSHOT", "session": "s", "explain_orders": [2**64]},
    {"action": "MODIFY", "order_id": "D", "symbol": "EURUSD", "position": 1, "sl": 1, "tp": 2},
    {"action": "CANCEL", "order_id": "E", "order": 9},
    {"action": "CLOSE", "uuid": "u", "ticket": 1},
    {"action": "GET_ACCOUNT", "uuid": "u"},
    {"action": "SYNC_ALL", "uuid": "u", "magic_number": 7},
]


def test_no_request_of_a_bot_makes_the_desk_call_the_module_wrongly(stubbed: Stubbed) -> None:
    """The stub fails on an unknown field, an int for a float, None, a long comment, a bad date."""
    assert stubbed.terminal.initialize()
    stubbed.simulated.person.open("EURUSD", 0, 0.1)
    desk = Desk(OneAccount(stubbed.terminal), "boot", lambda: NOW_NS)
    for request in REQUESTS:
        assert desk.handle(json.dumps(request).encode())
    assert {"positions_get", "order_send", "history_deals_get", "history_orders_get"} <= set(
        stubbed.called
    )


# -- attaching and logging in ------------------------------------------------------------------


def test_the_account_that_is_logged_in_is_attached_to_and_not_logged_in_again(
    stubbed: Stubbed,
) -> None:
    assert stubbed.terminal.initialize("t.exe", login=HOME.login, password="right", server="Demo")
    assert stubbed.called == ["initialize", "account_info"]
    assert stubbed.terminal.last_error() == SUCCESS


def test_another_account_is_logged_in_by_login(stubbed: Stubbed) -> None:
    assert stubbed.terminal.initialize(login=OTHER.login, password="other", timeout=9_000)
    assert stubbed.called == ["initialize", "account_info", "login"]
    assert stubbed.simulated.current_login == OTHER.login


def test_a_refused_login_closes_the_connection_and_keeps_its_error(stubbed: Stubbed) -> None:
    assert not stubbed.terminal.initialize(login=OTHER.login, password="wrong")
    assert stubbed.terminal.last_error() == AUTH_FAILED
    assert stubbed.called == ["initialize", "account_info", "login", "last_error", "shutdown"]
    assert stubbed.terminal.positions_get() is None
    assert stubbed.terminal.last_error()[0] == -10004


def test_where_nobody_is_logged_in_the_credentials_go_with_initialize(stubbed: Stubbed) -> None:
    stubbed.simulated.faults.next_call("initialize", Fails(-10005, "IPC timeout"))
    assert stubbed.terminal.initialize(login=HOME.login, password="right")
    assert stubbed.called == ["initialize", "last_error", "initialize"]


def test_a_terminal_that_is_not_found_is_not_tried_twice(stubbed: Stubbed) -> None:
    stubbed.simulated.faults.next_call("initialize", Fails(-10003, "IPC initialize failed"))
    assert not stubbed.terminal.initialize(login=HOME.login, password="right")
    assert stubbed.terminal.last_error()[0] == -10003
    assert stubbed.called.count("initialize") == 1


# -- one account alone -------------------------------------------------------------------------


@pytest.fixture
def bound(stubbed: Stubbed) -> OneAccount:
    terminal = OneAccount(stubbed.terminal)
    assert terminal.initialize(login=HOME.login, password="right")
    return terminal


@pytest.mark.parametrize("function", sorted(ACCOUNT_FUNCTIONS))
def test_with_another_account_logged_in_nothing_of_it_is_read_or_traded(
    stubbed: Stubbed, bound: OneAccount, function: str
) -> None:
    stubbed.simulated.switch_account(OTHER.login)
    stubbed.called.clear()
    assert getattr(bound, function)() is None
    code, text = bound.last_error()
    assert code == -6
    assert text == (
        "Terminal: Authorization failed, account 5000002 is logged in, "
        "and this gateway serves 5000001 alone"
    )
    assert stubbed.called == ["account_info"]


def test_the_same_number_at_another_server_is_another_account(
    stubbed: Stubbed, bound: OneAccount
) -> None:
    real = stubbed.simulated.account_info
    here = real()
    assert here is not None
    row: Any = here
    elsewhere = type(row)(["Another-Live" if value == row.server else value for value in row])
    stubbed.simulated.account_info = lambda: elsewhere  # type: ignore[method-assign]
    assert bound.order_send({}) is None
    assert "order_send" not in stubbed.called
    assert bound.last_error()[1].endswith(
        f"account {HOME.login}@Another-Live is logged in, and this gateway serves "
        f"{HOME.login}@{here.server} alone"
    )
    stubbed.simulated.account_info = real  # type: ignore[method-assign]
    assert bound.positions_get() == ()


def test_which_account_is_there_is_never_withheld_and_the_right_one_works_again(
    stubbed: Stubbed, bound: OneAccount
) -> None:
    stubbed.simulated.switch_account(OTHER.login)
    account = bound.account_info()
    assert account.login == OTHER.login
    stubbed.simulated.switch_account(HOME.login)
    assert bound.positions_get() == ()
    assert bound.last_error() == SUCCESS


def test_an_account_that_cannot_be_looked_at_is_not_traded(
    stubbed: Stubbed, bound: OneAccount
) -> None:
    stubbed.simulated.faults.next_call("account_info", Fails())
    assert bound.order_send({}) is None
    assert bound.last_error() == (-1, "Terminal: Call failed")
    assert "order_send" not in stubbed.called


def test_a_terminal_that_was_just_started_is_waited_for_until_it_has_its_positions(
    stubbed: Stubbed,
) -> None:
    simulated, waits = stubbed.simulated, list[int]()
    simulated.person.open("EURUSD", 0, 0.1)
    simulated.restart()

    def wait() -> None:
        waits.append(len(simulated.positions_get() or ()))
        stubbed.clock.now_msc += 300

    terminal = OneAccount(stubbed.terminal, wait)
    assert terminal.initialize()
    assert len(terminal.positions_get()) == 1
    # It would have looked flat.
    assert waits
    assert set(waits) == {0}


def test_a_read_only_login_is_served_after_the_time_for_it(stubbed: Stubbed) -> None:
    stubbed.simulated.investor = True
    waits = list[None]()
    terminal = OneAccount(stubbed.terminal, lambda: waits.append(None))
    assert terminal.initialize()
    assert len(waits) == READY_POLLS
    assert terminal.positions_get() == ()


def test_login_moves_to_another_account_on_purpose(bound: OneAccount) -> None:
    assert bound.login(OTHER.login, password="other")
    assert bound.positions_get() == ()


# -- the import --------------------------------------------------------------------------------


def test_the_module_is_imported_by_whoever_asks_and_not_before(
    stubbed: Stubbed, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "MetaTrader5" not in sys.modules
    monkeypatch.setattr(platform, "system", lambda: "Windows")
    stubbed.module.__spec__ = ModuleSpec("MetaTrader5", None)
    monkeypatch.setitem(sys.modules, "MetaTrader5", stubbed.module)
    terminal = official_terminal()
    assert terminal.initialize()
    assert terminal.positions_get() == ()


def test_on_windows_a_missing_module_is_told_with_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(platform, "system", lambda: "Windows")
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ModuleMissing, match="pip install MetaTrader5"):
        require_module()


def test_a_module_that_does_not_load_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "MetaTrader5.py").write_text("raise ImportError('DLL load failed')", "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(platform, "system", lambda: "Windows")
    with pytest.raises(ModuleMissing, match="DLL load failed"):
        official_terminal()


@pytest.mark.skipif(platform.system() == "Windows", reason="it may be there")
def test_elsewhere_the_module_is_refused_without_looking_for_it() -> None:
    with pytest.raises(ModuleMissing, match="exists for Windows only, and this is"):
        require_module()


@pytest.mark.mt5
def test_the_installed_module_is_what_the_facts_say() -> None:
    module: ModuleType = __import__("MetaTrader5")
    for name, value in FACTS["constants"].items():
        assert getattr(module, name) == value
    for name in FACTS["functions"]:
        assert callable(getattr(module, name))
    for name, fields in FACTS["namedtuples"].items():
        assert getattr(module, name).n_fields == len(fields)
