"""What a person finds in the gateway's log: each change of the terminal, once."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest

from tests.support.desk_world import HEDGING, OTHER, DeskWorld
from trueup.gateway.terminal.one_account import OneAccount
from trueup.gateway.terminal.terminal_log import TerminalLog


class Logged:
    """A terminal whose answers a log watches."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO, "trueup")
        self._caplog = caplog
        self.world = DeskWorld(others=(OTHER,))
        self.terminal = OneAccount(self.world.terminal)
        assert self.terminal.initialize(login=HEDGING.login)
        self.log = TerminalLog()
        self.found()

    def found(self) -> None:
        program = self.terminal.terminal_info()
        self.log.introduce(77, self.terminal.account_info(), program)

    def said(self) -> list[str]:
        """What was said since the last time, after the answers that a snapshot needs, twice."""
        for _ in range(2):
            for function in ("terminal_info", "positions_get", "positions_total"):
                value = getattr(self.terminal, function)()
                self.log.note(function, value, self.terminal.last_error())
        lines = [record.getMessage() for record in self._caplog.records]
        self._caplog.clear()
        return [line for line in lines if line.startswith("[TERMINAL]")]


def test_a_terminal_is_introduced_and_then_silence(caplog: pytest.LogCaptureFixture) -> None:
    logged = Logged(caplog)
    assert logged.said() == [
        "[TERMINAL] Initialised: account 5000001 at Simulated-Demo, build 5120, process 77"
    ]
    assert logged.said() == []


def switch_off(world: DeskWorld) -> None:
    world.terminal.algo_trading = False


def switch_on(world: DeskWorld) -> None:
    world.terminal.algo_trading = True


@pytest.mark.parametrize(
    ("happens", "said", "ends", "then"),
    [
        (
            lambda world: world.terminal.disconnect(),
            "The terminal has no link to its trade server",
            lambda world: world.terminal.reconnect(),
            "The link to the trade server is back",
        ),
        (
            switch_off,
            "Orders will be refused: Algo Trading was switched off",
            switch_on,
            "Algo Trading is switched on again",
        ),
        (
            lambda world: world.terminal.switch_account(OTHER.login),
            "positions_get: Terminal: Authorization failed, account 5000002 is logged in, "
            "and this gateway serves 5000001 alone",
            lambda world: world.terminal.switch_account(HEDGING.login),
            "The account that this gateway serves is logged in again",
        ),
    ],
)
def test_what_changes_is_said_once_and_so_is_its_end(
    caplog: pytest.LogCaptureFixture,
    happens: Callable[[DeskWorld], None],
    said: str,
    ends: Callable[[DeskWorld], None],
    then: str,
) -> None:
    logged = Logged(caplog)
    logged.said()
    happens(logged.world)
    assert logged.said() == [f"[TERMINAL] {said}"]
    assert logged.said() == []
    ends(logged.world)
    assert logged.said() == [f"[TERMINAL] {then}"]


def test_a_terminal_that_may_not_trade_says_so_from_the_start(
    caplog: pytest.LogCaptureFixture,
) -> None:
    logged = Logged(caplog)
    logged.said()
    switch_off(logged.world)
    logged.world.terminal.disconnect()
    logged.found()
    assert logged.said() == [
        "[TERMINAL] Initialised: account 5000001 at Simulated-Demo, build 5120, process 77",
        "[TERMINAL] The terminal has no link to its trade server",
        "[TERMINAL] Orders will be refused: Algo Trading (button) NO, account may trade NO, "
        "server allows programs yes",
    ]
