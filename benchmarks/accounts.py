"""Many accounts in one process, against canned gateways in another: CPU, memory, lateness.

The curve of accounts is measured up to a number that one core cannot serve, so that its bend shows.
"""

from __future__ import annotations

import json
import logging
import multiprocessing
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks._canned import serve
from benchmarks._measure import point, report
from trueup.doors.accounts.accounts_loop import AccountsLoop
from trueup.doors.accounts.entry import AccountEntry
from trueup.doors.accounts.lateness import Lateness
from trueup.doors.accounts.machine import State
from trueup.doors.accounts.room import (
    FILES_OF_CONNECTION,
    OTHER_FILES,
    OTHER_SOCKETS,
    SOCKETS_OF_CONNECTION,
)
from trueup.gateway.access.descriptors import raise_files
from trueup.gateway.client.endpoints import Endpoint
from trueup.gateway.client.zmq_link import make_room
from trueup.runtime.time.clock import SystemClock
from trueup.settings import Settings

POSITIONS = 10
INTERVAL_SEC = 1
MEASURED_SEC = 15
HANGING = 0.05
LATE_MS = 250
ACCOUNT_KIB = 40
CURVE = (100, 500, 1_000, 2_000, 3_000, 4_000, 5_000)
GOAL = 3_000
HUNG = 800
# A machine with other work may never open so many: then the curve ends before.
MOST_SEC = 90


@contextmanager
def canned(hanging: float) -> Iterator[int]:
    """Run canned gateways in a process of their own; yield the port."""
    here, there = multiprocessing.Pipe()
    child = multiprocessing.Process(target=serve, args=(there, POSITIONS, hanging), daemon=True)
    child.start()
    try:
        yield here.recv()
    finally:
        child.terminate()
        child.join()


def measure(count: int, port: int, hanging: float) -> dict[str, float]:
    """Run so many accounts in this process, and return the figures."""
    logger = logging.getLogger("trueup")
    logger.addHandler(logging.NullHandler())
    logger.setLevel(logging.CRITICAL)
    settings = Settings.model_construct(sync_interval_sec=INTERVAL_SEC, trueup_real_money=True)
    entries = [
        AccountEntry(f"a{number}", Endpoint("127.0.0.1", port), settings) for number in range(count)
    ]
    # Canned gateways give no hints and take no claims, so an account has one connection: less than
    # `room` plans for, and 5,000 accounts fit where it would refuse 4,000.
    raise_files(OTHER_FILES + (FILES_OF_CONNECTION + 1) * count)
    make_room(OTHER_SOCKETS + 2 * SOCKETS_OF_CONNECTION * count)
    clock = SystemClock()
    loop = AccountsLoop(clock)
    figures: dict[str, float] = {}
    began_kib, began = _kib(), time.monotonic()
    hung = round(count * hanging)

    def watch() -> None:
        while loop.counts()[State.RUNNING] < count:
            time.sleep(0.1)
        figures["opening_sec"] = time.monotonic() - began
        # The hanging gateways have hung by then, and everything is in its course.
        time.sleep(5 + 2 * INTERVAL_SEC)
        healthy = Lateness()
        loop.late = healthy
        for machine in loop.machines.values():
            machine._all_late = healthy
        figures["kib"] = (_kib() - began_kib) / count
        cpu, wall = time.process_time(), time.monotonic()
        time.sleep(MEASURED_SEC)
        wall = time.monotonic() - wall
        figures["cpu"] = (time.process_time() - cpu) / wall
        figures["syncs"] = healthy.count
        figures["us"] = figures["cpu"] * wall / max(1, healthy.count) * 1e6
        figures["p50_ms"], figures["p99_ms"] = healthy.within_ms(0.5), healthy.within_ms(0.99)
        figures["most_ms"] = healthy.most_ms
        figures["share"] = healthy.count / (wall / INTERVAL_SEC * (count - hung))
        loop.stop()

    threading.Thread(target=watch, daemon=True).start()
    for entry in entries:
        loop.want(entry, "bench")
    loop.run(lambda: None)
    return figures


def _kib() -> float:
    with open("/proc/self/status", encoding="ascii") as status:
        return next(float(line.split()[1]) for line in status if line.startswith("VmRSS"))


def figures_of(count: int, hanging: float = 0.0) -> dict[str, float] | None:
    """Return the figures of so many accounts in a new process; None if that took too long."""
    with canned(hanging) as port:
        command = [sys.executable, "-m", "benchmarks.accounts", str(count), str(port), str(hanging)]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, check=True, timeout=MOST_SEC
            )
        except subprocess.TimeoutExpired:
            print(f"  {count:>5} accounts: not measured within {MOST_SEC} s", flush=True)
            return None
        except subprocess.CalledProcessError as error:
            print(f"  {count:>5} accounts: {error.stderr.strip().splitlines()[-1]}", flush=True)
            return None
    found: dict[str, float] = json.loads(done.stdout)
    return found


def told(count: int, found: dict[str, float]) -> str:
    """Return the figures as a line."""
    return (
        f"{count:>5} accounts: {found['cpu']:.0%} of a core, {found['us']:.0f} us a sync, "
        f"{found['kib']:.0f} KiB each, late p50 {found['p50_ms']:.1f} p99 {found['p99_ms']:.1f} "
        f"most {found['most_ms']:.1f} ms, {found['share']:.0%} of the syncs, opened in "
        f"{found['opening_sec']:.1f} s"
    )


def run() -> int:
    """Measure; return how many targets were missed."""
    if sys.platform != "linux":
        print("  the memory of a process is read from /proc: Linux only")
        return 0
    missed = 0
    for count in CURVE:
        found = figures_of(count)
        if found is None:
            break
        print("  " + told(count, found), flush=True)
        note(count, found)
        if count == GOAL:
            missed += report(f"{GOAL:,} accounts, late p99", found["p99_ms"], LATE_MS, "ms", "")
            missed += report(
                "memory of an account", found["kib"], ACCOUNT_KIB, "KiB", f"at {GOAL:,}"
            )
    hung = figures_of(HUNG, HANGING)
    if hung is None:
        return missed
    print("  " + told(HUNG, hung) + f" ({HANGING:.0%} hang)", flush=True)
    return missed + report(
        f"{HUNG} accounts, 5 % hang, late p99", hung["p99_ms"], LATE_MS, "ms", ""
    )


def note(count: int, found: dict[str, float]) -> None:
    """Note the points of all curves."""
    for curve, value, unit in (
        ("CPU", found["cpu"] * 100, "% of a core"),
        ("CPU of a sync", found["us"], "us"),
        ("syncs made", found["share"] * 100, "%"),
        ("late p50", found["p50_ms"], "ms"),
        ("late p99", found["p99_ms"], "ms"),
        ("memory of an account", found["kib"], "KiB"),
        ("opened in", found["opening_sec"], "s"),
    ):
        point(curve, count, value, unit)


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))))
