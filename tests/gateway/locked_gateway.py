"""A gateway that asks for keys, before a simulated terminal: in a thread here, or as a process."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.gateway.busy_gateway import BlockingTerminal
from trueup.gateway.access.allow_file import AllowFile
from trueup.gateway.access.descriptors import CONNECTIONS_MAX
from trueup.gateway.access.door import HANDSHAKE_MS, Door, Lock
from trueup.gateway.access.keys import LinkKeys, new_keys, read_key_pair, read_public_key
from trueup.gateway.access.permissions import Gate
from trueup.gateway.access.rate_limit import Rate, Rates
from trueup.gateway.client.execution_gateway import ExecutionGateway
from trueup.gateway.client.zmq_link import ZmqLink
from trueup.gateway.desk.desk import Desk
from trueup.gateway.server.front import Front
from trueup.gateway.server.sockets import Server
from trueup.runtime.time.clock import SystemClock
from trueup.sim.market.symbols import AccountSetup
from trueup.sim.terminal.terminal import SimulatedTerminal

ROOT = Path(__file__).resolve().parents[2]
SYMBOL = "EURUSD"
LOGIN, OTHER_LOGIN = 5_000_001, 5_000_002
LONG_MS = 60_000
SHORT_MS = 300


def order(order_id: str) -> dict[str, Any]:
    return {"order_id": order_id, "symbol": SYMBOL, "action": "BUY", "volume": 0.01, "price": 1.0}


class Keyring:
    """A folder with a gateway's keys, its allow file, and keys of whoever is named."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.allow_file = folder / "allow"
        if not self.allow_file.exists():
            new_keys(folder, "gateway")
            self.allow("# nobody")

    def allow(self, *lines: str) -> None:
        """Write the lines; {name} in them is the public key of that name."""
        text = "\n".join(line.format_map(_Publics(self)) for line in lines) + "\n"
        self.allow_file.write_text(text, encoding="utf-8")
        self.allow_file.chmod(0o644)

    def public(self, name: str) -> str:
        path = self.folder / f"{name}.key"
        return read_public_key(path) if path.exists() else new_keys(self.folder, name).public

    def secret_file(self, name: str) -> Path:
        self.public(name)
        return self.folder / f"{name}.key_secret"

    def link_keys(self, name: str, *, server: str = "gateway") -> LinkKeys:
        return LinkKeys(self.public(server), read_key_pair(self.secret_file(name)))

    def bot(
        self, name: str, port: int, timeout_ms: int = LONG_MS, *, server: str = "gateway"
    ) -> ExecutionGateway:
        """A client with the keys of that name."""
        return ExecutionGateway(
            "127.0.0.1",
            port,
            timeout_ms,
            server_key=self.public(server),
            key_file=self.secret_file(name),
        )

    def link(self, name: str, port: int) -> ZmqLink:
        return ZmqLink(f"tcp://127.0.0.1:{port}", keys=self.link_keys(name))


class _Publics(dict[str, str]):
    def __init__(self, keys: Keyring) -> None:
        super().__init__()
        self._keys = keys

    def __missing__(self, name: str) -> str:
        return self._keys.public(name)


class LockedGateway:
    """A `Front` behind a locked `Door`, its thread begun by `with`."""

    def __init__(
        self,
        folder: Path,
        *,
        rate: Rate | None = None,
        handshake_ms: int = HANDSHAKE_MS,
        connections_max: int = CONNECTIONS_MAX,
        watch_ms: int = 0,
    ) -> None:
        self.keys = Keyring(folder)
        now_ns = SystemClock().now_ns
        self.program = SimulatedTerminal(
            account=AccountSetup(login=LOGIN),
            other_accounts=[AccountSetup(login=OTHER_LOGIN)],
            now_msc=lambda: now_ns() // 1_000_000,
        )
        self.program.initialize()
        self.program.quote(SYMBOL, 1.1, 1.1001)
        self.terminal: Any = BlockingTerminal(self.program)
        lock = Lock(
            read_key_pair(self.keys.secret_file("gateway")),
            AllowFile(self.keys.allow_file, now_ns),
        )
        gate = Gate(lock.allowed, None if rate is None else Rates(rate, now_ns))
        desk = Desk(self.terminal, "boot", now_ns)
        self.front = Front(desk, now_ns, gate=gate, watch_ms=watch_ms)
        door = Door(lock, handshake_ms=handshake_ms, connections_max=connections_max)
        anywhere = "tcp://127.0.0.1:0"
        hints = anywhere if watch_ms else None
        self.server = Server(anywhere, self.front.handle, door=door, hints=hints)
        self._thread = threading.Thread(target=self.front.run, args=(self.server,), daemon=True)

    @property
    def port(self) -> int:
        return self.server.port

    @property
    def orders_sent(self) -> int:
        """How many orders reached the terminal."""
        return int(self.terminal.calls.count("order_send"))

    def bot(self, name: str, timeout_ms: int = LONG_MS) -> ExecutionGateway:
        return self.keys.bot(name, self.port, timeout_ms)

    def run(self) -> None:
        self.front.run(self.server)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.terminal.let_go()
        self.front.stop()
        self._thread.join(LONG_MS / 1000)
        assert not self._thread.is_alive()
        self.server.close()


class LockedProcess:
    """The same as a process of its own, for what shall not share a memory or a lock with the test.

    Args:
        options: those of `LockedGateway`, as Python text.
        files: how many files it may have open, where the system limits that; 0 for what there are.
    """

    def __init__(self, folder: Path, options: str = "", *, files: int = 0) -> None:
        self.keys = Keyring(folder)
        limit = f"import resource as r; r.setrlimit(r.RLIMIT_NOFILE, ({files}, {2 * files})); "
        code = (
            f"{limit if files else ''}from pathlib import Path; "
            "from tests.gateway.locked_gateway import *; "
            f"one = LockedGateway(Path({str(folder)!r}), {options}); "
            "print(one.port, flush=True); one.run()"
        )
        self._process = subprocess.Popen(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env={"PYTHONPATH": f"{ROOT / 'src'}", "PATH": ""},
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())

    def bot(self, name: str, timeout_ms: int = LONG_MS) -> ExecutionGateway:
        return self.keys.bot(name, self.port, timeout_ms)

    def memory_mb(self) -> float | None:
        """What it holds in memory, where the system tells it in a file."""
        status = Path(f"/proc/{self._process.pid}/status")
        # Under Wine there is a /proc, whose numbers are those of Linux.
        if sys.platform == "win32" or not status.exists():
            return None
        line = next(
            row
            for row in status.read_text(encoding="ascii").splitlines()
            if row.startswith("VmHWM")
        )
        return int(line.split()[1]) / 1024

    def open_files(self) -> int | None:
        """How many descriptors it has, where the system tells it."""
        folder = Path(f"/proc/{self._process.pid}/fd")
        is_told = sys.platform != "win32" and folder.exists()
        return len(list(folder.iterdir())) if is_told else None

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()
