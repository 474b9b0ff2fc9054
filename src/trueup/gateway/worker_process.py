"""A process that does nothing but call the terminal, and the handle by which it is ended.

The official module blocks without a timeout and holds the interpreter's lock meanwhile, so that no
thread beside it runs (MT5 reference, Python integration; seen in its compiled part). It is called
from a process of its own, and whoever asks waits no longer than a deadline.
"""

from __future__ import annotations

import importlib
import multiprocessing
import signal
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from typing import Any

from trueup.errors import TrueupError, reason
from trueup.gateway.call_wire import perform
from trueup.gateway.terminal import Terminal

READY = b"ready"
POLITE_SEC = 2.0


class Hung(TrueupError):
    """The worker did not answer before the deadline, and was killed."""


class Died(TrueupError):
    """The worker ended by itself."""


class Worker:
    """A running worker process.

    Args:
        factory: `module:function` that makes the terminal, in the worker.
        options: the function's keyword arguments.

    Raises:
        Died: the machine starts no process.
    """

    def __init__(self, factory: str, options: Mapping[str, Any]) -> None:
        context = multiprocessing.get_context("spawn")
        self._line, theirs = context.Pipe()
        self._process = context.Process(
            target=run, args=(theirs, factory, dict(options)), name="trueup-terminal", daemon=True
        )
        try:
            self._process.start()
        except OSError as error:
            raise Died(f"no worker process can be started: {reason(error)}") from error
        # Only the worker may hold its end: it is then closed when the worker ends, however it does.
        theirs.close()

    @property
    def pid(self) -> int:
        """The process."""
        return self._process.pid or 0

    @property
    def is_alive(self) -> bool:
        """Whether the process runs."""
        return self._process.is_alive()

    def wait_ready(self, deadline_ms: int) -> None:
        """Wait until the terminal is made; a worker that has none is ended.

        Raises:
            TrueupError: it could not be made; the worker's own sentence.
            Hung, Died: as for `exchange`.
        """
        said = self._receive(deadline_ms)
        if said != READY:
            self.kill()
            raise TrueupError(said.decode())

    def exchange(self, call: bytes, deadline_ms: int) -> bytes:
        """Have a call made, and return the answer.

        Raises:
            Hung: no answer came before the deadline; the worker is killed.
            Died: the worker ended meanwhile.
        """
        try:
            self._line.send_bytes(call)
        except OSError:
            raise Died(self._last_words()) from None
        return self._receive(deadline_ms)

    def _receive(self, deadline_ms: int) -> bytes:
        try:
            if self._line.poll(deadline_ms / 1000):
                return self._line.recv_bytes()
        except (EOFError, OSError):
            raise Died(self._last_words()) from None
        self.kill()
        raise Hung(f"no answer within {deadline_ms} ms, process {self.pid} was killed")

    def _last_words(self) -> str:
        self._process.join(POLITE_SEC)
        code = self._process.exitcode
        how = "has closed its line" if code is None else f"ended with exit code {code}"
        return f"process {self.pid} {how}"

    def kill(self) -> None:
        """End the process at once, whatever it does; safe to call from another thread."""
        self._process.kill()
        self._process.join()

    def close(self) -> None:
        """Let the process end by itself, and kill it if it does not."""
        self._line.close()
        self._process.join(POLITE_SEC)
        self.kill()


def run(line: Connection[bytes, bytes], factory: str, options: Mapping[str, Any]) -> None:
    """Be the worker: make the terminal, then answer calls until nobody holds the other end."""
    _leave_signals_to_the_gateway()
    try:
        terminal = _load(factory)(**options)
    except TrueupError as error:
        line.send_bytes(str(error).encode())
        return
    line.send_bytes(READY)
    while True:
        try:
            call = line.recv_bytes()
        except (EOFError, OSError):
            return
        answer = perform(terminal, call)
        try:
            line.send_bytes(answer)
        except OSError:
            return


def _load(factory: str) -> Callable[..., Terminal]:
    module, _, name = factory.partition(":")
    made: Callable[..., Terminal] = getattr(importlib.import_module(module), name)
    return made


def _leave_signals_to_the_gateway() -> None:
    """A Ctrl-C or Ctrl-Break in a console reaches every process of it; the gateway ends this one.

    It must be ended between two calls where that is possible: a worker ended in `order_send` leaves
    an order in doubt.
    """
    for name in ("SIGINT", "SIGBREAK"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
