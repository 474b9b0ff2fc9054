"""Server and client of the pipe between a worker process and a simulated terminal.

The official module talks to the terminal program through a pipe, and `attached` does the same. So
the simulated terminal survives a worker that hangs, crashes, or is killed in the middle of an
order, as a real terminal does.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from multiprocessing.connection import Client, Connection, Listener
from typing import Any, TypeAlias

from trueup.errors import RemoteProtocolError
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.gateway.terminal.call_wire import (
    SUCCESS,
    Call,
    Error,
    decode_answer,
    encode_call,
    failed,
    perform,
)
from trueup.gateway.terminal.forwarding import ForwardingTerminal
from trueup.gateway.terminal.one_account import OneAccount
from trueup.gateway.terminal.terminal import Terminal
from trueup.logs import Logger, logger
from trueup.sim.process.whereabouts import read_state
from trueup.sim.terminal.program import without_connection
from trueup.sim.terminal.terminal import SimulatedTerminal
from trueup.sim.terminal.terminal_faults import Hung

if sys.platform == "win32":
    from multiprocessing.connection import PipeConnection

    Line: TypeAlias = "Connection[bytes, bytes] | PipeConnection[bytes, bytes]"
else:
    Line: TypeAlias = "Connection[bytes, bytes]"

log: Logger = logger("trueup.terminal")

# A call is a few hundred bytes; a call with a list of symbols is slightly larger.
CALL_BYTES_MAX = 1_000_000


class ModulePort:
    """Serves calls from a pipe, with one thread per caller.

    A call that hangs (`TerminalFaults`) does not return while its caller is connected.

    Args:
        terminal: the terminal to call.
        lock: held during each call.
        on_call: called, under the lock, before each call.
    """

    def __init__(
        self,
        terminal: SimulatedTerminal,
        lock: threading.Lock,
        on_call: Callable[[], None] = lambda: None,
    ) -> None:
        self._terminal, self._lock, self._on_call = terminal, lock, on_call
        self._listener = Listener()
        self._is_closed = False
        self._caller = threading.local()
        terminal.faults.on_hang = self._hang
        threading.Thread(target=self._listen, name="module-port", daemon=True).start()

    @property
    def address(self) -> str:
        """The address for `attached`: the name of a pipe, or the path of a socket."""
        return str(self._listener.address)

    def close(self) -> None:
        """Accept no more callers and answer no more calls."""
        self._is_closed = True
        # The listener's thread blocks in `accept`; only a new connection wakes the thread.
        Client(self.address).close()

    def _listen(self) -> None:
        while True:
            line = self._listener.accept()
            if self._is_closed:
                line.close()
                self._listener.close()
                return
            threading.Thread(target=self._serve, args=(line,), daemon=True).start()

    def _serve(self, line: Line) -> None:
        self._caller.line = line
        try:
            while True:
                call = line.recv_bytes(CALL_BYTES_MAX)
                if self._is_closed:
                    break
                # The terminal is not thread-safe: one call at a time.
                with self._lock:
                    self._on_call()
                    answer = perform(self._terminal, call)
                line.send_bytes(answer)
        except (EOFError, OSError, Hung):
            log.info("[TERMINAL] A gateway's worker disconnected")
        except RemoteProtocolError as error:
            log.warning("[TERMINAL] Rejected a connection that is not a gateway worker: %s", error)
        finally:
            line.close()

    def _hang(self, function: str) -> None:
        """Release the lock for other callers until this caller disconnects; then raise `Hung`."""
        self._lock.release()
        try:
            # A caller sends nothing while a call is open, so readable means disconnected.
            self._caller.line.poll(None)
        finally:
            self._lock.acquire()
        raise Hung(function)


class AttachedTerminal(ForwardingTerminal):
    """A simulated terminal in another process, called through a pipe like a real terminal.

    Args:
        whereabouts: returns the address of the `ModulePort`, or None if no address is known.
    """

    def __init__(self, whereabouts: Callable[[], str | None]) -> None:
        self._whereabouts = whereabouts
        self._line: Line | None = None
        self._error: Error = SUCCESS

    def last_error(self) -> Error:
        """Return code and text of the last call."""
        return self._error

    def initialize(self, *args: Any, **kwargs: Any) -> bool:
        """Connect to the simulated terminal and initialise the terminal."""
        self._hang_up()
        address = self._whereabouts()
        try:
            if not address:
                raise FileNotFoundError("none runs in this folder")
            self._line = Client(address)
        except OSError as error:
            because = (error.strerror or str(error)).lower()
            self._error = _error(mt5.RES_E_INTERNAL_FAIL_INIT, f", simulated terminal: {because}")
            return False
        return bool(self._call("initialize", *args, **kwargs))

    def shutdown(self, *args: Any, **kwargs: Any) -> bool:
        """Disconnect; the terminal continues for other callers."""
        self._hang_up()
        self._error = SUCCESS
        return True

    def _call(self, function: str, *args: Any, **kwargs: Any) -> Any:
        call = encode_call(Call(function, args, kwargs))
        if self._line is None:
            self._error = _error(without_connection(function))
            return failed(function)
        self._error = SUCCESS
        try:
            self._line.send_bytes(call)
            value, self._error = decode_answer(self._line.recv_bytes())
        except (EOFError, OSError, RemoteProtocolError):
            self._hang_up()
            self._error = _error(mt5.RES_E_INTERNAL_FAIL_RECEIVE)
            return failed(function)
        return value

    def _hang_up(self) -> None:
        if self._line is not None:
            self._line.close()
            self._line = None


def attached() -> Terminal:
    """Return the simulated terminal of this folder, for one account; for `WorkerTerminal`."""
    return OneAccount(AttachedTerminal(_address_here))


def _address_here() -> str | None:
    state = read_state()
    return state.module if state is not None else None


def _error(code: int, more: str = "") -> Error:
    return code, mt5.LAST_ERROR_TEXTS[code] + more
