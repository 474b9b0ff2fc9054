"""Programs open and close the door for each job, some of them every minute: nothing may pile up."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.crash_world import environment
from tests.support.hosted_terminal import HostedTerminal

TIMES, MANY_TIMES = 8, 1_000

# No guard, and nothing of the tests: what a program has open is asked of the system.
PROGRAM = """
import ctypes, gc, json, os, sys, threading
import trueup.mt5 as mt5

def open_handles():
    if sys.platform == "win32":
        count = ctypes.c_ulong()
        process = ctypes.c_void_p(-1)
        ctypes.WinDLL("kernel32").GetProcessHandleCount(process, ctypes.byref(count))
        return count.value
    return len(os.listdir("/proc/self/fd")) if os.path.exists("/proc/self/fd") else 0

class Entry(ctypes.Structure):
    # PROCESSENTRY32 of tlhelp32.h.
    _fields_ = [(name, ctypes.c_uint32) for name in ("size", "usage", "pid")]
    _fields_ += [("heap", ctypes.c_void_p)]
    _fields_ += [(name, ctypes.c_uint32) for name in ("module", "threads", "parent")]
    _fields_ += [("base", ctypes.c_long), ("flags", ctypes.c_uint32), ("file", ctypes.c_char * 260)]

def children():
    if sys.platform == "win32":
        kernel = ctypes.WinDLL("kernel32")
        kernel.CreateToolhelp32Snapshot.restype = ctypes.c_void_p
        shot = ctypes.c_void_p(kernel.CreateToolhelp32Snapshot(2, 0))
        entry, found = Entry(size=ctypes.sizeof(Entry)), 0
        more = kernel.Process32First(shot, ctypes.byref(entry))
        while more:
            found += entry.parent == os.getpid()
            more = kernel.Process32Next(shot, ctypes.byref(entry))
        kernel.CloseHandle(shot)
        return found
    found = []
    for task in os.listdir("/proc/self/task") if os.path.exists("/proc/self/task") else ():
        found += open(f"/proc/self/task/{task}/children").read().split()
    return len(found)

def counts():
    gc.collect()
    return [open_handles(), threading.active_count(), children()]

def once():
    assert mt5.initialize(journal="bot.db", magic=7, gateway=sys.argv[2]), mt5.last_error()
    assert mt5.positions_get() == (), mt5.last_error()
    assert mt5.symbol_info_tick("EURUSD").bid > 0
    mt5.shutdown()

seen = []
for number in range(int(sys.argv[1])):
    once()
    if number == 2:
        seen.append(counts())
seen.append(counts())
print(json.dumps(seen))
"""


def open_and_close(folder: Path, times: int, *, by_gateway: bool) -> list[list[int]]:
    """Open and close the door so often; return handles, threads and children at begin and end."""
    (folder / "bot.py").write_text(PROGRAM, encoding="utf-8")
    with HostedTerminal(folder / "home", seed=1) as terminal:
        variables = {} if by_gateway else {"TRUEUP_SIMULATED": "1"}
        gateway = terminal.gateway if by_gateway else ""
        done = subprocess.run(
            [sys.executable, "bot.py", str(times), gateway],
            cwd=folder,
            env={**environment(folder / "home"), **variables},
            capture_output=True,
            text=True,
            encoding="utf-8",
        )
    assert done.returncode == 0, done.stderr[-3000:]
    seen: list[list[int]] = json.loads(done.stdout.splitlines()[-1])
    return seen


@pytest.mark.timeout(600)
@pytest.mark.parametrize("by_gateway", [False, True], ids=["worker", "gateway"])
def test_opening_and_closing_leaves_nothing_behind(by_gateway: bool, tmp_path: Path) -> None:
    before, after = open_and_close(tmp_path, TIMES, by_gateway=by_gateway)
    assert after == before


@pytest.mark.soak
@pytest.mark.parametrize("by_gateway", [False, True], ids=["worker", "gateway"])
def test_opening_and_closing_a_thousand_times_leaves_nothing_behind(
    by_gateway: bool, tmp_path: Path
) -> None:
    before, after = open_and_close(tmp_path, MANY_TIMES, by_gateway=by_gateway)
    assert after == before
