"""Programs that fork, as processes of their own: a test's process has threads that a fork loses."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.support.processes import KILL

ROOT = Path(__file__).resolve().parents[2]
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork there")
# Wine shows the folders of Linux, with other descriptors than a Windows process has.
needs_proc = pytest.mark.skipif(
    sys.platform == "win32" or not Path("/proc/self/fd").exists(), reason="needs /proc"
)

# What each of the programs can use.
PRELUDE = """
import os, signal, sys, threading, time, warnings
warnings.simplefilter("ignore", DeprecationWarning)

def say(*words):
    # At once and in one piece, whoever else says something.
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())

def fork(child):
    pid = os.fork()
    if not pid:
        # As a program would end that forked without more ado: everything is taken apart.
        child()
        sys.exit()
    return pid

def wait(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

def refusal(call):
    try:
        return f"not refused: {call()!r}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
"""


class Program:
    """A running program; what it says comes line by line."""

    def __init__(self, code: str, *arguments: object, cwd: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", PRELUDE + code, *map(str, arguments)],
            cwd=cwd,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            process_group=0,
        )
        self.pid = self._process.pid

    def line(self) -> str:
        """The next line that it says."""
        assert self._process.stdout is not None
        return self._process.stdout.readline().rstrip("\n")

    def lines(self) -> list[str]:
        """All that it says until it ends, which it does well. It says less than a pipe holds."""
        # Not until its output ends: what it forked may have that open, and outlive its failure.
        assert self._process.wait(timeout=60) == 0, "it failed; its error is above"
        said, _ = self._process.communicate(timeout=60)
        return said.splitlines()

    def kill(self) -> None:
        """Kill it, and leave what it forked."""
        self._process.kill()
        self._process.wait()

    def end(self) -> None:
        """Kill it and all that it forked."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, KILL)
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()


@contextmanager
def program(code: str, *arguments: object, cwd: Path) -> Iterator[Program]:
    """Run a program for as long as a block lasts."""
    running = Program(code, *arguments, cwd=cwd)
    try:
        yield running
    finally:
        running.end()


def opened(pid: int) -> list[str]:
    """What a process has open, as the system names it."""
    folder = Path(f"/proc/{pid}/fd")
    found = []
    for handle in list(folder.iterdir()):
        with suppress(OSError):
            found.append(os.readlink(handle))
    return found
