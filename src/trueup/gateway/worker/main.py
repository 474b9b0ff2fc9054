"""The worker process: make calls to the terminal for `gateway.worker.process`, and nothing else.

It is started as `python -m trueup.gateway.worker.main LINE ALIVE`. LINE is the number of its end of
a connection, ALIVE that of a pipe that closes with the parent. The connection first brings the
factory of the terminal, then call after call. The worker ends when the connection ends.
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
    """Run the worker on a connection: make the terminal, then answer calls."""
    # A worker must not outlive the gateway, nor be interrupted in the middle of an order.
    _leave_signals_to_the_gateway()
    end_with_parent(int(alive))
    with _until_it_ends():
        line = inherited_line(line_number)
        made = line.recv_bytes()
    # The parent is told why there is no terminal, in the place of READY.
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
    """Exit the worker if the other end of the connection is closed."""
    try:
        yield
    except (EOFError, OSError):
        sys.exit()


def _make(made: bytes) -> Terminal:
    """Call the factory with its options, and return its terminal.

    Raises:
        TrueupError: the factory cannot be imported; one sentence.
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
    """Ignore Ctrl-C and Ctrl-Break, so that they reach only the gateway, which ends this process.

    The gateway ends its worker between two calls if possible: a worker that ends in `order_send`
    leaves an order in doubt.
    """
    for name in ("SIGINT", "SIGBREAK"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)


if __name__ == "__main__":
    main(*sys.argv[1:3])
