"""Incidents of the terminal and of the clocks."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from trueup.lab.incidents.stage import Stage
from trueup.lab.processes.leashed import CLOCK_FILE
from trueup.sim.process.fault_desk import TerminalFault

AHEAD_SEC = 3_600


@contextlib.contextmanager
def no_link(stage: Stage) -> Iterator[None]:
    """Cut the terminal's link to its trade server."""
    with _fault(stage, TerminalFault.NO_LINK):
        yield


@contextlib.contextmanager
def other_account(stage: Stage) -> Iterator[None]:
    """Log the terminal in to another account."""
    with _fault(stage, TerminalFault.OTHER_ACCOUNT):
        yield


@contextlib.contextmanager
def algo_trading_off(stage: Stage) -> Iterator[None]:
    """Switch Algo Trading off, and let the bot send an order."""
    with _fault(stage, TerminalFault.ALGO_TRADING_OFF):
        stage.order("buy")
        yield


@contextlib.contextmanager
def order_in_doubt(stage: Stage) -> Iterator[None]:
    """Lose the answer to an order of the bot; the order is executed seconds later."""
    with _fault(stage, TerminalFault.NO_ANSWER):
        stage.bot.mark()
        stage.order("buy")
        stage.bot.wait_for("IN_DOUBT")
        yield


@contextlib.contextmanager
def server_clock_back(stage: Stage) -> Iterator[None]:
    """Set the trade server's clock back by an hour."""
    stage.bot.mark()
    with _fault(stage, TerminalFault.CLOCK_BACK):
        stage.bot.wait_for("clock went back")
        yield


@contextlib.contextmanager
def machine_clock_ahead(stage: Stage) -> Iterator[None]:
    """Set the clock of this machine forward by an hour, for the processes of the stage."""
    path = stage.folder / CLOCK_FILE
    path.write_text(str(AHEAD_SEC), "ascii")
    yield
    path.unlink()
    stage.wait_until_agreed()


@contextlib.contextmanager
def _fault(stage: Stage, fault: TerminalFault) -> Iterator[None]:
    stage.fault(fault)
    yield
    stage.fault(TerminalFault.NONE)
    stage.wait_until_agreed()
