"""The worker: a process that does nothing but call the terminal, for `gateway.worker.process`.

It is run as `python -m trueup.gateway.worker.main LINE ALIVE`: the numbers of its end of a line,
and of a pipe that ends with the parent. On the line comes what to make, and then one call after
another. When the line ends, so does the worker.
"""

from __future__ import annotations

import importlib
import pickle
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from trueup.errors import TrueupError
from trueup.gateway.terminal.call_wire import perform
from trueup.gateway.terminal.terminal import Terminal
from trueup.gateway.worker.module_process import inherited_line
from trueup.gateway.worker.parent_watch import end_with_parent

MODULE = "trueup.gateway.worker.main"
READY = b"ready"


def main(line_number: str, alive: str) -> None:
    """Be the worker at the end of a line: make the terminal, then answer calls."""
    _leave_signals_to_the_gateway()
    end_with_parent(int(alive))
    with _until_it_ends():
        line = inherited_line(line_number)
        made = line.recv_bytes()
    try:
        terminal = _make(made)
    except TrueupError as error:
        with _until_it_ends():
            line.send_bytes(str(error).encode())
        return
    with _until_it_ends():
        line.send_bytes(READY)
    while True:
        with _until_it_ends():
            call = line.recv_bytes()
        answer = perform(terminal, call)
        with _until_it_ends():
            line.send_bytes(answer)


@contextmanager
def _until_it_ends() -> Iterator[None]:
    """End the worker where nobody holds the other end of the line any more."""
    try:
        yield
    except (EOFError, OSError):
        sys.exit()


def _make(made: bytes) -> Terminal:
    """Make the terminal of a factory's name and its options.

    Raises:
        TrueupError: it cannot be made; one sentence.
    """
    factory = "the worker's terminal"
    try:
        factory, options = pickle.loads(made)
        module, _, name = factory.partition(":")
        function: Callable[..., Terminal] = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise TrueupError(
            f"{factory} cannot be made in a process of its own ({error}): give 'module:function', "
            "and options, of modules that can be imported."
        ) from error
    return function(**options)


def _leave_signals_to_the_gateway() -> None:
    """Have a Ctrl-C or Ctrl-Break in the console reach the gateway alone, which ends this process.

    It must be ended between two calls where that is possible: a worker ended in `order_send` leaves
    an order in doubt.
    """
    for name in ("SIGINT", "SIGBREAK"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)


if __name__ == "__main__":
    main(*sys.argv[1:3])
