"""Many gateways in one process of their own, each with a simulated terminal and a login.

Commands come on standard input, a line each: `hang N` lets gateway N read requests and answer none,
`hang-orders N` only orders, `heal N` ends both, `die N` closes its port, `open N` opens a position.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.support import forked
from tests.support.crash_world import ROOT
from tests.support.desk_world import BUY
from trueup.gateway.server.service import Service, ServiceOptions
from trueup.runtime.time.clock import SystemClock
from trueup.sim.market.symbols import AccountSetup
from trueup.sim.terminal.person import Person
from trueup.sim.terminal.terminal import SimulatedTerminal

FIRST_LOGIN = 6_000_000


class Gateway:
    """One gateway, in a thread."""

    options = ServiceOptions()

    def __init__(self, number: int, clock: SystemClock) -> None:
        setup = AccountSetup(login=FIRST_LOGIN + number)
        terminal = SimulatedTerminal(account=setup, now_msc=lambda: clock.now_ns() // 1_000_000)
        self.terminal = terminal
        terminal.initialize()
        terminal.quote("EURUSD", 1.1, 1.1001)
        self._person = Person(terminal.broker, setup.login)
        self.service = Service(terminal, self.options, clock.now_ns)
        self.port = int(self.service.endpoint.rpartition(":")[2])
        self._server: Any = self.service._server
        self._answer = self._server._handle
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        self.service.run()
        self.service.close()

    def obey(self, command: str) -> str | None:
        """Carry out a command."""
        if command == "hang":
            self._server._handle = lambda *_: None
        elif command == "hang-orders":
            self._server._handle = self._without_orders
        elif command == "heal":
            self._server._handle = self._answer
        elif command == "open":
            self._person.open("EURUSD", BUY, 0.1)
        elif command == "die":
            self.service.stop()
            self._thread.join()
        return None

    def _without_orders(self, client: Any, request: bytes) -> bytes | None:
        is_order = b'"order_id"' in request and b'"action"' in request
        return None if is_order else self._answer(client, request)


class ChildProcess:
    """A process of the tests that obeys commands with a number, a line each.

    Args:
        program: the file of its program.
        arguments: those of the program.
    """

    def __init__(self, program: Path, *arguments: str) -> None:
        self._child, self._told, self._said = forked.start_piped(
            [str(program), *arguments],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(forked.OURS), "PYTHONUTF8": "1"},
        )

    def heard(self) -> str:
        """Return the next line that it prints."""
        return self._said.readline().removesuffix("\n")

    def tell(self, command: str, number: int) -> None:
        """Give a command, and wait until it was carried out."""
        assert self.ask(command, number) == "done"

    def ask(self, command: str, number: int) -> str:
        """Give a command, and return its answer."""
        self._told.write(f"{command} {number}\n")
        return self.heard()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._child.kill()
        self._child.wait()
        self._told.close()
        self._said.close()


class ManyGateways(ChildProcess):
    """The process, for tests; `ports` has the port of each gateway.

    Args:
        count: how many gateways there are.
        first: the number of the first one among all of the test, for its login; commands have the
            number within this process.
    """

    program = Path(__file__)

    def __init__(self, count: int, first: int = 0) -> None:
        super().__init__(self.program, str(count), str(first))
        self.ports: list[int] = json.loads(self.heard())


def main(count: int, first: int, kind: type[Gateway] = Gateway) -> None:
    """Serve until standard input ends."""
    clock = SystemClock()
    gateways = [kind(first + number, clock) for number in range(count)]
    _say(json.dumps([gateway.port for gateway in gateways]))
    for line in sys.stdin:
        command, number = line.split()
        _say(gateways[int(number)].obey(command) or "done")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
