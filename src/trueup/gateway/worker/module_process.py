"""A process that runs a module of this package, and a line to it.

It is started as `python -m MODULE`, and never by importing the program that starts it, as
`multiprocessing` does: a script without `if __name__ == "__main__"` would run once more in there.

The line is one end of a pair that nobody else can open. The process inherits it by its number,
with one end of a pipe on which nothing is ever said and which ends with the parent, and nothing
else. (On Windows it inherits the line alone, and its number comes twice.) Each side sees that the
other has ended, however it did: the process by the end of its line, and whoever started it by that
or, at once and also where the other end of the line lives on in a program that the process
started, by the process itself.
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
        module: what it runs; its arguments are the numbers of its ends of the line and the pipe.

    Raises:
        OSError: the machine starts no process.

    Attributes:
        line: this end of the line.
    """

    def __init__(self, module: str) -> None:
        self._alive: Line | None = None
        with HOLDERS.opening():
            self.line: Line
            self.line, theirs = Pipe()
            HOLDERS.add(self)
            # Only the process may hold its end: it is then closed when the process ends.
            with theirs:
                self._process, self._alive = _start(module, theirs)
        self._watch()
        # Where it ended already, whoever waits for it is told so.
        with suppress(OSError):
            self.line.send([path or os.getcwd() for path in sys.path])

    @property
    def pid(self) -> int:
        """The process."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """How the process ended, or None while it runs."""
        return self._process.poll()

    def receive(self, timeout_sec: float) -> bytes | None:
        """Return the next message on the line, or None where none comes in time.

        Raises:
            EOFError: the process ended, or closed its end; what it said before was received.
            OSError: the line broke.
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
        """Close a forked process's copy of the line, which must end when its owner does."""
        self.line.close()
        if self._alive is not None:
            self._alive.close()

    def kill(self) -> None:
        """End the process at once, whatever it does; safe to call from another thread."""
        self._process.kill()
        self._process.wait()

    if sys.platform == "win32":

        def _watch(self) -> None:
            self._handle = int(self._process._handle)  # type: ignore[attr-defined]

        def _wait(self, timeout_sec: float) -> list[int]:
            """Wait for a message or an end; return of what, the line or the process."""
            ready = wait([self.line, self._handle], timeout_sec)
            return [one if isinstance(one, int) else one.fileno() for one in ready]
    else:

        def _watch(self) -> None:
            self._poll = select.poll()
            self._poll.register(self.line.fileno(), select.POLLIN)
            # Elsewhere than on Linux the end of the line has to do.
            with suppress(AttributeError, OSError):
                ends = os.pidfd_open(self._process.pid)
                weakref.finalize(self, os.close, ends)
                self._poll.register(ends, select.POLLIN)

        def _wait(self, timeout_sec: float) -> list[int]:
            """Wait for a message or an end; return of what, the line or the process."""
            return [handle for handle, _ in self._poll.poll(timeout_sec * 1000)]


def inherited_line(number: str) -> Line:
    """Return the line of the process that this module was started in, by its argument.

    Modules are found from then on where the parent finds them.

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
            # No console of its own in sight, and no Ctrl-C from another's.
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
                # A Ctrl-C in the terminal is for the program that was started there.
                process_group=0,
            )
        return process, alive


def _command(module: str, *handles: int) -> list[str]:
    return [_interpreter(), *_flags(), "-P", "-m", module, *map(str, handles)]


def _interpreter() -> str:
    """Return the Python to start; `multiprocessing.set_executable` may name it.

    Raises:
        OSError: there is none.
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

    That one starts the real one as a process of its own, which would not end with it.
    """
    base = getattr(sys, "_base_executable", executable)
    return sys.platform == "win32" and executable == sys.executable != base


def _flags() -> list[str]:
    """Return the options of this interpreter that change what a module does."""
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
        # How that interpreter is told of which virtual environment it is.
        environment["__PYVENV_LAUNCHER__"] = sys.executable
    if not _is_installed():
        paths = [str(_root()), environment.get("PYTHONPATH", "")]
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    return environment


def _root() -> Path:
    return Path(trueup.__file__).absolute().parents[1]


def _is_installed() -> bool:
    """Return whether every interpreter here finds this package by itself."""
    return str(_root()) in (*site.getsitepackages(), site.getusersitepackages())
