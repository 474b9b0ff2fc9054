"""Terminals for worker processes: each is made in the worker, by its name."""

from __future__ import annotations

import ctypes
import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

from trueup.errors import TrueupError
from trueup.gateway.terminal.forwarding import ForwardingTerminal
from trueup.gateway.terminal.one_account import OneAccount
from trueup.gateway.terminal.terminal import Terminal
from trueup.sim.process.module_port import AttachedTerminal
from trueup.sim.terminal.terminal import SimulatedTerminal

HERE = __name__
NOW_MSC = 1_700_000_000_000
EXIT_CODE = 41
A_WHILE_SEC = 0.3


class SteppingClock:
    """A millisecond passes whenever somebody looks."""

    def __init__(self) -> None:
        self.now_msc = NOW_MSC

    def __call__(self) -> int:
        self.now_msc += 1
        return self.now_msc


def simulated() -> Terminal:
    """A simulated terminal that lives and dies with the worker."""
    return SimulatedTerminal(now_msc=SteppingClock())


def quoted() -> Terminal:
    """A simulated terminal with a price of EURUSD."""
    terminal = SimulatedTerminal(now_msc=SteppingClock())
    assert terminal.initialize()
    terminal.quote("EURUSD", 1.1, 1.1001)
    return terminal


def without_names() -> Terminal:
    """A terminal that takes no symbol."""

    def raising(_: str) -> Any:
        raise ValueError("no such name")

    terminal: Any = quoted()
    terminal.symbol_info = raising
    made: Terminal = terminal
    return made


def without_an_account() -> Terminal:
    """A terminal with symbols and prices, and without a connection when the account is read."""
    terminal: Any = quoted()
    lost = (-10004, "No IPC connection")
    errors = terminal.last_error
    state: dict[str, bool] = {"lost": False}

    def account() -> Any:
        state["lost"] = True
        return None

    def last_error() -> Any:
        is_lost, state["lost"] = state["lost"], False
        return lost if is_lost else errors()

    terminal.account_info, terminal.last_error = account, last_error
    made: Terminal = terminal
    return made


def refusing() -> Terminal:
    """No terminal at all."""
    raise TrueupError("The terminal is not installed here.")


def dying_at_start() -> Terminal:
    """No terminal, and no word about it."""
    os._exit(EXIT_CODE)


def dying_with_an_heir(notes: str) -> Terminal:
    """No terminal, and a forked process that lives on with everything that was open here."""
    heir = os.fork()
    if not heir:
        threading.Event().wait()
    (Path(notes) / "pid-heir").write_text(str(heir), "utf-8")
    os._exit(EXIT_CODE)


def taking_long(notes: str) -> Terminal:
    """No terminal for as long as anybody waits."""
    (Path(notes) / "making").touch()
    hold_the_interpreter()
    raise AssertionError("it came back")


def telling_long() -> Terminal:
    """A terminal that says of a symbol no more than its name."""
    terminal: Any = SimulatedTerminal(now_msc=SteppingClock())
    terminal.symbol_info = lambda symbol: symbol
    made: Terminal = terminal
    return made


def waiting(notes: str) -> Terminal:
    """A terminal that leaves a file `asked`, and answers when there is a file `go`."""
    folder = Path(notes)

    def name_of(symbol: str) -> str:
        (folder / "asked").touch()
        while not (folder / "go").exists():
            time.sleep(0.01)
        return symbol

    terminal: Any = SimulatedTerminal(now_msc=SteppingClock())
    terminal.symbol_info = name_of
    made: Terminal = terminal
    return made


class Misbehaving(ForwardingTerminal):
    """A simulated terminal with functions that hang, end the process, or raise.

    Args:
        notes: a folder; every `initialize` leaves a file with its arguments in it, and files put
            there change what happens next: `refuse` refuses the login, `raise` lets it raise,
            `slow` lets it wait until the file is gone, `mute` breaks the pipe. An `order_send`
            that hangs leaves the file `sending` first.
    """

    def __init__(self, notes: str) -> None:
        self._notes = Path(notes)
        self._real = SimulatedTerminal(now_msc=SteppingClock())

    def last_error(self) -> tuple[int, str]:
        return self._real.last_error()

    def _call(self, function: str, *args: Any, **kwargs: Any) -> Any:
        if function == "initialize":
            return self._initialize(args, kwargs)
        if (self._notes / "mute").exists():
            self._real.break_pipe()
        misbehave = getattr(self, f"_{function}", None)
        if misbehave is not None:
            misbehave()
        return getattr(self._real, function)(*args, **kwargs)

    def _initialize(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        number = len(list(self._notes.glob("initialize-*")))
        note = self._notes / f"initialize-{number}"
        note.with_name("being-written").write_text(json.dumps([args, kwargs]), "utf-8")
        note.with_name("being-written").replace(note)
        while (self._notes / "slow").exists():
            threading.Event().wait(0.01)
        if (self._notes / "raise").exists():
            raise TypeError("a defect in the arguments")
        if (self._notes / "refuse").exists():
            return self._real.initialize(login=1)
        return self._real.initialize()

    def _order_send(self) -> None:
        (self._notes / "sending").touch()
        hold_the_interpreter()

    def _positions_total(self) -> None:
        os._exit(EXIT_CODE)

    def _orders_get(self) -> None:
        raise RuntimeError("a defect in the terminal")

    def _account_info(self) -> None:
        threading.Event().wait(A_WHILE_SEC)


def hold_the_interpreter() -> None:
    """Never come back, and let no other thread of this process run, as the official module does."""
    if sys.platform == "win32":
        ctypes.PyDLL("kernel32").Sleep(0xFFFFFFFF)
    else:
        ctypes.PyDLL(None).pause()
    raise AssertionError("it came back")


def attached_to(address: str) -> Terminal:
    """A simulated terminal in the test's own process, which outlives the worker."""
    return OneAccount(AttachedTerminal(lambda: address))


def attached_at_once(address: str) -> Terminal:
    """The same, served before it is ready, as one is that takes longer than anybody waits."""
    return AttachedTerminal(lambda: address)
