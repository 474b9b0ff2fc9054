"""The gateway's handle on a worker process, by which calls get a deadline.

The official module blocks without a timeout and holds the interpreter lock meanwhile, so that no
other thread runs (MT5 reference, Python integration; seen in its compiled part). So the module is
called in a process of its own, and the caller waits only until a deadline.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from trueup.errors import TrueupError, reason
from trueup.gateway.access.descriptors import spare
from trueup.gateway.worker.main import MODULE, READY
from trueup.gateway.worker.module_process import ModuleProcess

EXIT_WAIT_SEC = 2.0


class Hung(TrueupError):
    """The worker did not answer before the deadline and was killed."""


class Died(TrueupError):
    """The worker ended by itself."""


class Worker:
    """A running worker process.

    Args:
        factory: `module:function` that makes the terminal, in the worker.
        options: the function's keyword arguments.

    Raises:
        Died: the process cannot be started.
    """

    def __init__(self, factory: str, options: Mapping[str, Any]) -> None:
        made = pickle.dumps((factory, dict(options)))
        try:
            with spare():
                self._process = ModuleProcess(MODULE)
        except OSError as error:
            raise Died(f"no worker process can be started: {reason(error)}") from error
        # If the process has ended already, `wait_ready` reports that.
        with suppress(OSError):
            self._process.line.send_bytes(made)

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether the process runs."""
        return self._process.exit_code is None

    def wait_ready(self, deadline_ms: int) -> None:
        """Wait until the worker has made its terminal; kill a worker that cannot.

        Raises:
            TrueupError: the terminal could not be made; the worker's own sentence.
            Hung, Died: as for `exchange`.
        """
        answer = self._receive(deadline_ms)
        if answer != READY:
            self.kill()
            raise TrueupError(answer.decode())

    def exchange(self, call: bytes, deadline_ms: int) -> bytes:
        """Have the worker make a call, and return the answer.

        Raises:
            Hung: no answer came before the deadline; the worker was killed.
            Died: the worker ended in the meantime.
        """
        try:
            self._process.line.send_bytes(call)
        except OSError:
            raise Died(self._how_it_ended()) from None
        return self._receive(deadline_ms)

    def _receive(self, deadline_ms: int) -> bytes:
        try:
            answer = self._process.receive(deadline_ms / 1000)
        except (EOFError, OSError):
            raise Died(self._how_it_ended()) from None
        if answer is None:
            self.kill()
            raise Hung(f"no answer within {deadline_ms} ms, process {self.pid} was killed")
        return answer

    def _how_it_ended(self) -> str:
        self._process.join(EXIT_WAIT_SEC)
        code = self._process.exit_code
        how = "has closed its line" if code is None else f"ended with exit code {code}"
        return f"process {self.pid} {how}"

    def kill(self) -> None:
        """End the process at once, whatever it is doing; thread-safe."""
        self._process.kill()

    def close(self) -> None:
        """Let the process end by itself, and kill it if it does not."""
        self._process.line.close()
        self._process.join(EXIT_WAIT_SEC)
        self.kill()
