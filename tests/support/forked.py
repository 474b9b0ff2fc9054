"""Processes that start without the CPU that imports take, forked from one that has all imported.

`start` and `run` are for tests that start many processes of trueup, and are about what the
processes do. What starts is a process of its own, with its own files, environment and folder; it
is killed and waited for as any other. A test that is about the start itself starts an interpreter.
Where no process forks (Windows), an interpreter is started here too.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import io
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import IO, Any, Final

ROOT = Path(__file__).resolve().parents[2]
# What the processes of tests import, also later than at their start.
COMMANDS: Final = frozenset(
    {
        *("accounts", "approve", "close", "config", "fleet", "gateway"),
        *("pause", "resume", "run", "status", "stop", "terminal"),
    }
)
MODULES: Final = (
    "trueup.cli.process",
    "trueup.doors.running.opening",
    "trueup.gateway.client.zmq_link",
    "trueup.journal.backends.postgres",
    "trueup.journal.backends.sqlite",
    "tests.support.crash_bot",
    "tests.support.dying_bot",
    "tests.support.killed_gateway",
)
CAN_FORK: Final = hasattr(os, "fork")


class Process:
    """A forked process, with what tests use of `subprocess.Popen`."""

    def __init__(self, arguments: Sequence[str], answers: int) -> None:
        self.args = list(arguments)
        self.returncode: int | None = None
        self._answers = os.fdopen(answers, "rb", buffering=0)
        self._read = b""
        # The parent of both answers at once: it does nothing else.
        self.pid = int(self._line(None) or b"")

    def poll(self) -> int | None:
        """Return how it ended, or None."""
        return self._code(0)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end, and return how it ended: minus the signal, if it was killed."""
        code = self._code(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return code

    def send_signal(self, number: int) -> None:
        """Send a signal, if it has not ended."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill it, if it has not ended."""
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def _code(self, timeout: float | None) -> int | None:
        if self.returncode is None and (line := self._line(timeout)) is not None:
            self.returncode = int(line)
            self._answers.close()
        return self.returncode

    def _line(self, timeout: float | None) -> bytes | None:
        end = None if timeout is None else time.monotonic() + timeout
        while b"\n" not in self._read:
            left = None if end is None else max(0.0, end - time.monotonic())
            if not select.select([self._answers], [], [], left)[0]:
                return None
            piece = self._answers.read(64)
            assert piece, "the process that forks has ended"
            self._read += piece
        line, _, self._read = self._read.partition(b"\n")
        return line


AnyProcess = subprocess.Popen[bytes] | Process
File = IO[Any] | int


class Parent:
    """The process that forks, of this one."""

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._control, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.forked"],
                cwd=ROOT,
                env={
                    **{k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")},
                    "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)]),
                    "PYTHONUTF8": "1",
                },
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
            )
        atexit.register(self.close)

    def fork(
        self,
        arguments: Sequence[str],
        cwd: Path,
        env: Mapping[str, str],
        stdin: File,
        stdout: File,
        stderr: File,
    ) -> Process:
        """Fork a process that runs what `python` would run with these arguments."""
        job = json.dumps([list(arguments), str(cwd), dict(env)]).encode()
        answers, theirs = os.pipe()
        with tempfile.TemporaryFile() as file, open(os.devnull, "r+b") as nothing:
            file.write(job)
            file.flush()
            file.seek(0)
            files = [_descriptor(one, nothing) for one in (stdin, stdout, stderr)]
            socket.send_fds(self._control, [b"j"], [file.fileno(), theirs, *files])
        os.close(theirs)
        return Process(arguments, answers)

    @property
    def is_ours(self) -> bool:
        """Whether this process started it, and not one that this one was forked from."""
        return self._pid == os.getpid() and self._process.poll() is None

    def close(self) -> None:
        """End it; what it has forked lives on."""
        if self._pid == os.getpid():
            self._control.close()
            self._process.wait()


def _descriptor(given: File, nothing: IO[bytes]) -> int:
    if given == subprocess.DEVNULL:
        return nothing.fileno()
    return given if isinstance(given, int) else given.fileno()


_parents: list[Parent] = []


def _parent() -> Parent:
    if not (_parents and _parents[-1].is_ours):
        _parents.append(Parent())
    return _parents[-1]


def start(
    arguments: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    stdin: File = subprocess.DEVNULL,
    stdout: File = subprocess.DEVNULL,
    stderr: File = subprocess.DEVNULL,
) -> AnyProcess:
    """Start what `python` runs with these arguments: `-m MODULE ...` or `FILE ...`.

    Of the options of Python, `-P` and `-u` may come first.
    """
    if CAN_FORK:
        return _parent().fork(arguments, cwd, env, stdin, stdout, stderr)
    return subprocess.Popen(
        [sys.executable, *arguments], cwd=cwd, env=env, stdin=stdin, stdout=stdout, stderr=stderr
    )


def run(
    arguments: Sequence[str], *, cwd: Path, env: Mapping[str, str], timeout: float
) -> subprocess.CompletedProcess[str]:
    """Run it to its end, and return what it wrote; kill it after so many seconds."""
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8") as out,
        tempfile.TemporaryFile("w+", encoding="utf-8") as err,
    ):
        process = start(arguments, cwd=cwd, env=env, stdout=out, stderr=err)
        try:
            code = process.wait(timeout)
        finally:
            process.kill()
            process.wait()
        for file in (out, err):
            file.seek(0)
        return subprocess.CompletedProcess(list(arguments), code, out.read(), err.read())


# The process that forks.


def _import_all() -> None:
    from trueup.cli.commands import COMMANDS as entries

    for name in MODULES:
        importlib.import_module(name)
    for entry in entries:
        if entry.name in COMMANDS:
            entry.target()
    # What is there now is never looked at again, so that children share its memory.
    gc.collect()
    gc.freeze()


def _reap(children: dict[int, int]) -> None:
    for pid in list(children):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            answers = children.pop(pid)
            # Whoever started it may have ended.
            with contextlib.suppress(BrokenPipeError):
                os.write(answers, f"{os.waitstatus_to_exitcode(status)}\n".encode())
            os.close(answers)


def _note(number: int, frame: FrameType | None) -> None:
    """Let the signal end the wait for the next job."""


def _serve(control: socket.socket) -> list[str] | None:
    """Fork a child for each job; return in each child what it is to run, and None at the end."""
    children: dict[int, int] = {}
    ended, wakes = os.pipe()
    os.set_blocking(ended, False)
    os.set_blocking(wakes, False)
    signal.set_wakeup_fd(wakes)
    signal.signal(signal.SIGCHLD, _note)
    while True:
        ready, _, _ = select.select([control.fileno(), ended], [], [])
        if ended in ready:
            os.read(ended, 4096)
            _reap(children)
        if control.fileno() not in ready:
            continue
        said, descriptors, _, _ = socket.recv_fds(control, 1, 5)
        if not said:
            return None
        job, answers, *files = descriptors
        child = os.fork()
        if not child:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for descriptor in (control.detach(), ended, wakes, answers, *children.values()):
                os.close(descriptor)
            return _settle_in(job, files)
        children[child] = answers
        os.write(answers, f"{child}\n".encode())
        for descriptor in (job, *files):
            os.close(descriptor)


def _settle_in(job: int, files: Sequence[int]) -> list[str]:
    """Take on the files, the folder and the environment of a job; return its arguments."""
    with os.fdopen(job, "rb") as file:
        arguments, cwd, environment = json.loads(file.read())
    for number, descriptor in enumerate(files):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    return list(arguments)


def _run(arguments: list[str]) -> None:
    """Run as `python` does."""
    is_safe = is_unbuffered = False
    while arguments[0] in ("-P", "-u"):
        is_safe |= arguments[0] == "-P"
        is_unbuffered |= arguments.pop(0) == "-u"
    if is_unbuffered:
        raw: Any = io.FileIO(1, "wb", closefd=False)
        sys.stdout = io.TextIOWrapper(raw, encoding="utf-8", write_through=True)
    is_module = arguments[0] == "-m"
    sys.path[:1] = [os.getcwd() if is_module else str(Path(arguments[0]).resolve().parent)]
    if is_safe:
        del sys.path[0]
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    sys.path += [path for path in paths if path and path not in sys.path]
    if is_module:
        sys.argv = arguments[1:]
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = arguments
        runpy.run_path(arguments[0], run_name="__main__")


if __name__ == "__main__":
    _import_all()
    wanted = _serve(socket.socket(fileno=os.dup(0)))
    if wanted is not None:
        _run(wanted)
