"""Run a module of this package in a new process, with a connection to it.

The process is started as `python -m MODULE`. `multiprocessing` would import the program that starts
it instead: a script without `if __name__ == "__main__"` would then run a second time.

The connection is one end of a pair that no other process can open. The process inherits its end by
number. It also inherits an end of a pipe on which nothing is ever sent and which closes when the
parent ends; nothing else is inherited. (On Windows only the connection is inherited, and its number
is passed twice.) Each side notices the end of the other, whatever the cause. The process sees its
connection close. The parent sees that too, and also watches the process itself, because a program
started by the process may keep the other end open.
"""

from __future__ import annotations

import os
import select
import site
import subprocess
import sys
import weakref
from contextlib import suppress
from multiprocessing import Pipe, spawn
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, TypeAlias

import trueup
from trueup.forks import HOLDERS

if sys.platform == "win32":
    from multiprocessing.connection import PipeConnection

    Line: TypeAlias = "Connection[Any, Any] | PipeConnection[Any, Any]"
else:
    Line: TypeAlias = "Connection[Any, Any]"


class ModuleProcess:
    """A running process.

    Args:
        module: the module to run; its arguments are the numbers of the connection and the pipe.

    Raises:
        OSError: the process cannot be started.

    Attributes:
        line: this end of the connection.
    """

    def __init__(self, module: str) -> None:
        self._alive: Line | None = None
        with HOLDERS.opening():
            self.line: Line
            self.line, theirs = Pipe()
            HOLDERS.add(self)
            # The parent must not hold the process's end, or it would stay open after the process.
            with theirs:
                self._process, self._alive = _start(module, theirs)
        self._watch()
        # If the process has ended already, `receive` reports that.
        with suppress(OSError):
            self.line.send([path or os.getcwd() for path in sys.path])

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """The exit code of the process, or None while it runs."""
        return self._process.poll()

    def receive(self, timeout_sec: float) -> bytes | None:
        """Return the next message, or None if none arrives in time.

        Raises:
            EOFError: the process ended or closed its end; its earlier messages were received first.
            OSError: the connection broke.
        """
        ready = self._wait(timeout_sec)
        if not ready:
            return None
        if self.line.fileno() not in ready and not self.line.poll(0):
            raise EOFError
        return self.line.recv_bytes()

    def join(self, timeout_sec: float) -> None:
        """Wait for the end of the process."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout_sec)

    def let_go_in_child(self) -> None:
        """In a forked process: close the copy of the connection, which must end with its owner."""
        self.line.close()
        if self._alive is not None:
            self._alive.close()

    def kill(self) -> None:
        """End the process at once, whatever it is doing; thread-safe."""
        self._process.kill()
        self._process.wait()

    if sys.platform == "win32":

        def _watch(self) -> None:
            self._handle = int(self._process._handle)  # type: ignore[attr-defined]

        def _wait(self, timeout_sec: float) -> list[int]:
            """Wait for a message or the end of the process; return the handles that are ready."""
            ready = wait([self.line, self._handle], timeout_sec)
            return [item if isinstance(item, int) else item.fileno() for item in ready]
    else:

        def _watch(self) -> None:
            self._poll = select.poll()
            self._poll.register(self.line.fileno(), select.POLLIN)
            # `pidfd_open` exists on Linux only; elsewhere the closed connection has to suffice.
            with suppress(AttributeError, OSError):
                ends = os.pidfd_open(self._process.pid)
                weakref.finalize(self, os.close, ends)
                self._poll.register(ends, select.POLLIN)

        def _wait(self, timeout_sec: float) -> list[int]:
            """Wait for a message or the end of the process; return the handles that are ready."""
            return [handle for handle, _ in self._poll.poll(timeout_sec * 1000)]


def inherited_line(number: str) -> Line:
    """Return this process's connection to its parent, given the number in its arguments.

    Also sets `sys.path` to that of the parent, so that both find the same modules.

    Raises:
        EOFError, OSError: the parent has ended already.
    """
    handle = int(number)
    if sys.platform == "win32":
        os.set_handle_inheritable(handle, False)
        line: Line = PipeConnection(handle)
    else:
        os.set_inheritable(handle, False)
        line = Connection(handle)
    sys.path[:] = line.recv()
    return line


if sys.platform == "win32":

    def _start(module: str, theirs: Line) -> tuple[subprocess.Popen[bytes], Line | None]:
        handle = theirs.fileno()
        os.set_handle_inheritable(handle, True)
        process = subprocess.Popen(
            _command(module, handle, handle),
            env=_environment(),
            stdin=subprocess.DEVNULL,
            startupinfo=subprocess.STARTUPINFO(lpAttributeList={"handle_list": [handle]}),
            # No visible console, and no Ctrl-C from the parent's console.
            creationflags=subprocess.CREATE_NO_WINDOW,
        )
        return process, None
else:

    def _start(module: str, theirs: Line) -> tuple[subprocess.Popen[bytes], Line | None]:
        ends_with_parent, alive = Pipe(duplex=False)
        with ends_with_parent:
            handles = theirs.fileno(), ends_with_parent.fileno()
            process = subprocess.Popen(
                _command(module, *handles),
                env=_environment(),
                stdin=subprocess.DEVNULL,
                pass_fds=handles,
                # A Ctrl-C in the console is meant for the program that was started there.
                process_group=0,
            )
        return process, alive


def _command(module: str, *handles: int) -> list[str]:
    return [_interpreter(), *_flags(), "-P", "-m", module, *map(str, handles)]


def _interpreter() -> str:
    """Return the Python to start; `multiprocessing.set_executable` may set it.

    Raises:
        OSError: there is no Python interpreter.
    """
    executable = os.fsdecode(spawn.get_executable() or "")
    is_this_program = getattr(sys, "frozen", False) and executable == sys.executable
    if not executable or is_this_program:
        raise OSError(
            "this program is no Python interpreter, and multiprocessing.set_executable() names none"
        )
    if _starts_another(executable):
        return str(sys._base_executable)  # type: ignore[attr-defined]
    return executable


def _starts_another(executable: str) -> bool:
    """Return whether this is the python.exe of a virtual environment on Windows.

    That program starts the real interpreter as a second process, which would not end with it.
    """
    base = getattr(sys, "_base_executable", executable)
    return sys.platform == "win32" and executable == sys.executable != base


def _flags() -> list[str]:
    """Return the options of this interpreter that change the behaviour of modules."""
    flags = [f"-W{option}" for option in sys.warnoptions]
    if sys.flags.utf8_mode:
        flags.append("-Xutf8")
    if sys.flags.dev_mode:
        flags.append("-Xdev")
    if _is_installed():
        flags += ["-I"] if sys.flags.isolated else ["-E"] * bool(sys.flags.ignore_environment)
    return flags


def _environment() -> dict[str, str]:
    environment = dict(os.environ)
    if _starts_another(os.fsdecode(spawn.get_executable() or "")):
        # The real interpreter learns from this variable which virtual environment to use.
        environment["__PYVENV_LAUNCHER__"] = sys.executable
    if not _is_installed():
        paths = [str(_root()), environment.get("PYTHONPATH", "")]
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    return environment


def _root() -> Path:
    return Path(trueup.__file__).absolute().parents[1]


def _is_installed() -> bool:
    """Return whether every interpreter here finds this package without help."""
    return str(_root()) in (*site.getsitepackages(), site.getusersitepackages())
