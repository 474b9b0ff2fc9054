"""`trueup run --accounts` for long: memory, descriptors and threads stay, and nobody is late.

Canned gateways of another process answer, as in the benchmark. `--soak-syncs` and `--soak-minutes`
make it shorter.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import psycopg
import pytest

from benchmarks._canned import serve
from tests.journal.postgres_server import PostgresServer
from tests.paper.test_paper_processes import Shell
from tests.support.servers import until
from trueup.runtime.control.state_files import ask_process

pytestmark = [
    pytest.mark.soak,
    pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc"),
]
POSITIONS = 10
DEADLINE_SEC = 600.0
# A connection of ZeroMQ has its whole size after some 400 exchanges.
WARM_SYNCS = 600
# A leak of a byte in a sync is 10 MB in 10,000,000.
FLAT_KIB = 8 * 1024
# As the documentation reckons for an account that runs for hours, and the process itself.
ACCOUNT_KIB, PROCESS_KIB = 150, 120 * 1024
# Some descriptors come and go: the command that asks, a connection of a pool.
FEW = 16
# Syncs in a second that any machine makes.
SLOWEST = 100
ASK = {"command": "accounts"}


class Usage(NamedTuple):
    """What a process uses, as the system tells it."""

    kib: int
    files: int
    threads: int


class Soaked:
    """The process with so many accounts, each behind a port of its own."""

    def __init__(self, folder: Path, count: int, interval_sec: float, journal: str) -> None:
        self.count = count
        self._undo = ExitStack()
        ports = self._undo.enter_context(canned(count))
        self.shell = Shell(folder)
        self._undo.callback(self.shell.clean)
        head = f'[defaults]\ninterval = {interval_sec}\ntimeout_ms = 20000\njournal = "{journal}"\n'
        entries = (
            f'[accounts.a{number}]\ngateway = "tcp://127.0.0.1:{port}"\n'
            for number, port in enumerate(ports)
        )
        (folder / "accounts.toml").write_text(head + "".join(entries), "utf-8")
        self.process = self.shell.start("run.log", "run", "--accounts", "accounts.toml")
        until(self._all_run, DEADLINE_SEC, pause_sec=1.0)

    def __enter__(self) -> Soaked:
        return self

    def __exit__(self, *error: object) -> None:
        self._undo.close()

    def _all_run(self) -> bool:
        assert self.process.child.poll() is None, self.process.text()[-2_000:]
        return list(self.shell.folder.glob(".trueup/accounts-*.json")) != [] and not self.waiting()

    def told(self) -> dict[str, Any]:
        """What the process answers to `trueup accounts`."""
        (path,) = self.shell.folder.glob(".trueup/accounts-*.json")
        control = json.loads(path.read_text("utf-8"))["control"]
        told: dict[str, Any] = ask_process(control, ASK, 60_000, "The process")
        return told

    def waiting(self) -> dict[str, str]:
        """The accounts that do not run, or are not read, and why."""
        rows = self.told()["accounts"]
        found = {
            row["name"]: f"{row['state']} {row['trouble']}"
            for row in rows
            if row["state"] != "running" or row["trouble"]
        }
        return found if len(rows) == self.count else {**found, "others": "not there"}

    def syncs(self) -> int:
        """How many syncs began when they were due, or later."""
        return int(self.told()["late_ms"]["syncs"])

    def sync(self, count: int) -> None:
        """Wait until there were so many syncs."""
        left = count - self.syncs()
        deadline_sec = DEADLINE_SEC + max(0, left) / SLOWEST
        until(lambda: self.syncs() >= count, deadline_sec, pause_sec=0.5)

    def usage(self) -> Usage:
        """What the process uses now."""
        place = Path(f"/proc/{self.process.child.pid}")
        lines = (place / "status").read_text("ascii").splitlines()
        facts = dict(line.split(":", 1) for line in lines if ":" in line)
        files = len(os.listdir(place / "fd"))
        return Usage(int(facts["VmRSS"].split()[0]), files, int(facts["Threads"]))

    def cpu_sec(self) -> float:
        """The CPU time of the process so far."""
        fields = Path(f"/proc/{self.process.child.pid}/stat").read_text("ascii").rpartition(")")[2]
        user, system = fields.split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


Tell: TypeAlias = Callable[..., None]


@pytest.fixture
def tell(capsys: pytest.CaptureFixture[str]) -> Tell:
    """Show what was seen, also of a test that passes."""

    def show(*lines: str) -> None:
        with capsys.disabled():
            sys.stdout.write("\n".join(["", *lines, ""]))

    return show


@contextmanager
def canned(count: int) -> Iterator[list[int]]:
    """Canned gateways in a process of their own; yields a port for each account."""
    here, there = multiprocessing.Pipe()
    child = multiprocessing.get_context("spawn").Process(
        target=serve, args=(there, POSITIONS, 0.0, count), daemon=True
    )
    child.start()
    try:
        yield here.recv()
    finally:
        child.terminate()
        child.join()


def test_millions_of_syncs_leave_memory_files_and_threads_as_they_were(
    tmp_path: Path, pytestconfig: pytest.Config, tell: Tell
) -> None:
    wanted = int(pytestconfig.getoption("--soak-syncs"))
    count = 100
    with Soaked(tmp_path, count, 0.03, "books.db") as soaked:
        warm = min(wanted // 2, WARM_SYNCS * count)
        soaked.sync(warm)
        seen = [soaked.usage()]
        # At twenty moments with as many syncs between them.
        for part in range(1, 21):
            soaked.sync(warm + (wanted - warm) * part // 20)
            seen.append(soaked.usage())
        waiting, made = soaked.waiting(), soaked.syncs()
    tell(
        f"{made:,} syncs of {count} accounts, {warm:,} of them before the first look",
        f"memory (KiB), files, threads: first {seen[0]}, last {seen[-1]}",
        f"memory at all looks (KiB): {[one.kib for one in seen]}",
    )
    assert waiting == {}
    # The least of the later half against the greatest of the first quarter: noise is no growth.
    grown = min(one.kib for one in seen[10:]) - max(one.kib for one in seen[:5])
    assert grown < FLAT_KIB
    assert max(one.files for one in seen) <= seen[0].files + FEW
    assert max(one.threads for one in seen) <= seen[0].threads + FEW


def test_two_thousand_accounts_sync_every_ten_seconds(
    tmp_path: Path,
    postgres_server: PostgresServer,
    pytestconfig: pytest.Config,
    tell: Tell,
) -> None:
    minutes = float(pytestconfig.getoption("--soak-minutes"))
    count, interval_sec, url = 2_000, 10, postgres_server.new_database()
    wanted = round(count * minutes * 60 / interval_sec)
    with Soaked(tmp_path, count, interval_sec, url) as soaked:
        first, begun, cpu_sec = soaked.usage(), soaked.syncs(), soaked.cpu_sec()
        seen = [first]

        def is_over() -> bool:
            seen.append(soaked.usage())
            return soaked.syncs() - begun >= wanted

        # Twice the time: whoever makes half of the syncs is not merely late.
        until(is_over, 2 * minutes * 60 + interval_sec, pause_sec=5.0)
        told, waiting = soaked.told(), soaked.waiting()
        cpu_sec = soaked.cpu_sec() - cpu_sec
        with psycopg.connect(url) as connection:
            row = connection.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'trueup'"
                " AND datname = current_database()"
            ).fetchone()
    late, sessions = told["late_ms"], 0 if row is None else int(row[0])
    tell(
        f"{late['syncs'] - begun:,} syncs of {count:,} accounts",
        f"late (ms): {late}; CPU {cpu_sec:.0f} s; database sessions: {sessions}",
        f"memory (KiB), files, threads: first {first}, last {seen[-1]}",
    )
    assert waiting == {}
    # 99 of 100 are late by less than half the interval, also on a machine with other work.
    assert late["p99"] < interval_sec * 500
    assert max(one.kib for one in seen) < PROCESS_KIB + ACCOUNT_KIB * count
    assert max(one.files for one in seen) <= first.files + FEW
    assert max(one.threads for one in seen) <= first.threads + FEW
    assert sessions <= 16
