"""Start Python programs by forking a process that has their modules imported.

A command of trueup imports for 0.1 to 1.2 s of CPU before it does anything, and the tests start
commands thousands of times. So each process of tests has a fork server, which imports what a
program needs when that program is asked for first. Then it forks: the child takes over the folder,
the environment and the files that it is given, and runs the program as `python` does. It is a
process of its own, with its own id, signals and exit status.

What a fork cannot give is started afresh: on a system without `pidfd_open` (Linux has it), with
other variables of Python or another locale than the server's, and where the folder has a module
that the server has imported already, such as a stub for a package that is not installed. A test
that is about the start of an interpreter starts one itself.
"""

from __future__ import annotations

import ast
import atexit
import gc
import io
import json
import os
import runpy
import select
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import IO, Any, Final, NamedTuple, Protocol, TextIO

ROOT = Path(__file__).resolve().parents[2]
OURS: Final = (str(ROOT / "src"), str(ROOT))
"""The folders of `PYTHONPATH` that a child may have, the first of them first."""
CAN_FORK: Final = hasattr(os, "fork") and hasattr(os, "pidfd_open")
MOST_BYTES = 150_000
READY, _FRESH = b"ready", b"fresh"
_OPTIONS: Final = ("-P", "-u")
_SERVE: Final = "--serve"
# What UTF-8 mode has of itself, but for the errors, which `_become` sets.
_DEFAULTS: Final = {"PYTHONIOENCODING": "utf-8"}
# What the commands import while they run, beside their modules.
_ALWAYS = (
    *("trueup.cli.process", "trueup.settings", "trueup.observe.log"),
    *("typer._adapters", "typer._click.decorators", "encodings.idna"),
)
_READING = (
    *("trueup.journal.backends.sqlite", "trueup.journal.backends.file_connection"),
    *("trueup.runtime.control.gathering", "trueup.runtime.control.last_known"),
    "trueup.gateway.client.zmq_link",
)
_BOT = (
    *("trueup.doors.running.opening", "trueup.sim.process.starting"),
    *("trueup.journal.writing.mending", "trueup.journal.writing.store"),
    *_READING,
)
_OF_SCRIPTS: Final = ("trueup.journal.backends.postgres", *_BOT)
_LATER: Final[dict[str, tuple[str, ...]]] = {
    "paper": _BOT,
    "run": _BOT,
    "page": ("trueup.doors.page.serve", *_READING),
    "mcp": ("trueup.doors.mcp.server", *_READING),
    "metrics": ("trueup.doors.metrics.serve", *_READING),
    "alerts": ("trueup.doors.alerts.serve", "trueup.doors.alerts.receivers", *_READING),
}

# A command that ends with its starter.
LEASHED = "trueup.lab.processes.leashed"

File = IO[bytes] | int


class Child(Protocol):
    """A process that a test has started, with what the tests use of `subprocess.Popen`."""

    pid: int
    returncode: int | Any

    def poll(self) -> int | None:
        """Return the exit status, or None while the process runs."""

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end, for some seconds at most, and return the exit status."""

    def send_signal(self, sig: int) -> None:
        """Send a signal, if the process runs."""

    def terminate(self) -> None:
        """Ask the process to end."""

    def kill(self) -> None:
        """End the process at once."""


class Forked:
    """A child of the fork server.

    Args:
        arguments: those of `python`.
        line: the connection to the server, which tells the exit status.
        pid: the number of the process.
    """

    def __init__(self, arguments: Sequence[str], line: socket.socket, pid: int) -> None:
        self.args = list(arguments)
        self._line, self.pid = line, pid
        self._taking = threading.Lock()
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Return the exit status, or None while the process runs."""
        with self._taking:
            if self.returncode is None and _has_data(self._line, 0.0):
                told = self._line.recv(MOST_BYTES)
                assert told, "the fork server has ended"
                self.returncode = int(told)
                self._line.close()
            return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end, for some seconds at most, and return the exit status."""
        until = None if timeout is None else time.monotonic() + timeout
        while (status := self.poll()) is None:
            left = None if until is None else max(0.0, until - time.monotonic())
            if not _has_data(self._line, left):
                raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
        return status

    def send_signal(self, sig: int) -> None:
        """Send a signal, if the process runs."""
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, sig)

    def terminate(self) -> None:
        """Ask the process to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End the process at once."""
        self.send_signal(signal.SIGKILL)


def _has_data(line: socket.socket | int, seconds: float | None) -> bool:
    handle = line if isinstance(line, int) else line.fileno()
    if handle < 0:
        # Another thread has taken the status, and closed the connection.
        return True
    waiting = select.poll()
    waiting.register(handle, select.POLLIN)
    return bool(waiting.poll(None if seconds is None else seconds * 1000))


class _Server:
    """The fork server of this process of tests."""

    def __init__(self, *commands: str) -> None:
        self._owner = os.getpid()
        self._folder = tempfile.mkdtemp(prefix="trueup-fork-")
        self.path = str(Path(self._folder) / "socket")
        self.variables = {**_of_python(os.environ), "PYTHONUTF8": "1", **_DEFAULTS}
        kept = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
        self._process = subprocess.Popen(
            [sys.executable, __file__, _SERVE, self.path, *commands],
            env={**kept, **self.variables, "PYTHONPATH": os.pathsep.join(OURS)},
            cwd=self._folder,
            # The server ends when the other end of this pipe is closed, however that comes.
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.read(len(READY)) == READY
        self._process.stdout.close()
        self._watched = os.pidfd_open(self._process.pid)
        self._user = self._owner
        atexit.register(self.end)

    @property
    def is_ours(self) -> bool:
        """Whether it runs, and is that of this process, not of one that this was forked from."""
        return self._user == os.getpid() and not _has_data(self._watched, 0.0)

    def take_over(self) -> None:
        """Use it in this process, which was forked from the one that has started it."""
        self._user = os.getpid()

    def end(self) -> None:
        """End the server; what it has forked goes on."""
        if self._owner == os.getpid():
            assert self._process.stdin is not None
            self._process.stdin.close()
            self._process.wait()
            shutil.rmtree(self._folder, ignore_errors=True)


_servers: list[_Server] = []


def begin(*commands: str) -> None:
    """Start the server now; processes that are forked from this one may take it over.

    Args:
        commands: those of trueup that it imports at once, while this process does something else.
    """
    _servers.append(_Server(*commands))


def take_over() -> None:
    """Use the server of the process that this one was forked from."""
    _servers[-1].take_over()


def _server_for(environment: Mapping[str, str]) -> _Server | None:
    """Return the fork server, if its children can have this environment."""
    if not CAN_FORK:
        return None
    if not (_servers and _servers[-1].is_ours):
        _servers.append(_Server())
    paths = environment.get("PYTHONPATH", "").split(os.pathsep)
    fits = {**_DEFAULTS, **_of_python(environment)} == _servers[-1].variables
    return _servers[-1] if fits and tuple(paths) in (OURS, OURS[:1]) else None


def _of_python(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that Python reads when it starts, but `PYTHONPATH`."""
    return {
        name: value
        for name, value in environment.items()
        if name.startswith(("PYTHON", "LC_", "LD_", "MALLOC_")) or name in ("LANG", "LANGUAGE")
        if name != "PYTHONPATH"
    }


def start(
    arguments: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    stdin: File = subprocess.DEVNULL,
    stdout: File = subprocess.DEVNULL,
    stderr: File = subprocess.DEVNULL,
) -> Child:
    """Start what `python` runs with these arguments, as `subprocess.Popen` does.

    Args:
        arguments: `-m MODULE ...` or `FILE ...`; the options `-P` and `-u` may come first.
        cwd: the folder of the process.
        env: all its variables.
        stdin: its standard input, a file or a descriptor; nothing by default.
        stdout: its standard output.
        stderr: its standard error.
    """
    server = _server_for(env)
    if server is not None:
        with Path(os.devnull).open("r+b") as nothing:
            files = [_descriptor(each, nothing) for each in (stdin, stdout, stderr)]
            line = _asked(server.path, arguments, cwd, env, files)
        if line is not None:
            return Forked(arguments, line, int(line.recv(MOST_BYTES)))
    return subprocess.Popen(
        [sys.executable, *arguments],
        cwd=cwd,
        env=dict(env),
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
    )


def start_piped(
    arguments: Sequence[str], *, cwd: Path, env: Mapping[str, str]
) -> tuple[Child, TextIO, TextIO]:
    """Start it; return it with a file for what it is told, and one for what it says."""
    their_in, to = os.pipe()
    answers, their_out = os.pipe()
    child = start(arguments, cwd=cwd, env=env, stdin=their_in, stdout=their_out, stderr=2)
    os.close(their_in)
    os.close(their_out)
    told = open(to, "w", encoding="utf-8", buffering=1)  # noqa: SIM115 - the caller closes both
    return child, told, open(answers, encoding="utf-8")


def run(
    arguments: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    timeout: float,
    encoding: str = "utf-8",
) -> subprocess.CompletedProcess[str]:
    """Run what `python` runs with these arguments to its end, and return what it wrote.

    Raises:
        subprocess.TimeoutExpired: it took longer than `timeout` seconds, and was killed.
    """
    with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        child = start(arguments, cwd=cwd, env=env, stdout=stdout, stderr=stderr)
        try:
            status = child.wait(timeout)
        finally:
            if child.poll() is None:
                child.kill()
                child.wait()
        said = []
        for file in (stdout, stderr):
            file.seek(0)
            text = file.read().decode(encoding)
            said.append(text.replace("\r\n", "\n").replace("\r", "\n"))
    return subprocess.CompletedProcess(list(arguments), status, *said)


def program(arguments: Sequence[str], env: Mapping[str, str]) -> list[str]:
    """Return the words of a program that does what `python` does, for what starts programs itself.

    It passes its files, its folder and its environment on to a child of the fork server, and ends
    when the child does, with the same status. Signals do not reach the child.
    """
    server = _server_for(env)
    if server is None:
        return [sys.executable, *arguments]
    return [*asking(server.path), *arguments]


def asking(path: str) -> list[str]:
    """Return the first words of a program that asks a server for a child, and lives as long."""
    return [sys.executable, "-I", "-S", __file__, path]


def _descriptor(given: File, nothing: IO[bytes]) -> int:
    if given == subprocess.DEVNULL:
        return nothing.fileno()
    return given if isinstance(given, int) else given.fileno()


def _asked(
    path: str,
    arguments: Sequence[str],
    cwd: Path,
    env: Mapping[str, str],
    files: list[int],
    *,
    in_session: bool = False,
) -> socket.socket | None:
    """Ask the server for a child and return the connection; None for what has to start afresh.

    With `in_session` the child has a session of its own.
    """
    request = {
        "arguments": list(arguments),
        "folder": str(cwd),
        "environment": dict(env),
        "in_session": in_session,
    }
    line = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    line.connect(path)
    socket.send_fds(line, [json.dumps(request).encode()], files)
    if line.recv(len(_FRESH), socket.MSG_PEEK) == _FRESH:
        line.close()
        return None
    return line


# The server's process.


class Request(NamedTuple):
    """A program, and the files that are to be its standard input, output and errors."""

    arguments: list[str]
    folder: str
    environment: dict[str, str]
    in_session: bool
    files: list[int]

    @property
    def words(self) -> list[str]:
        """The arguments without the options of Python."""
        count = next(i for i, word in enumerate(self.arguments) if word not in _OPTIONS)
        return self.arguments[count:]

    @property
    def first_path(self) -> str:
        """The folder in which Python looks for modules first: that of a script, or this one."""
        is_module = self.words[0] == "-m"
        return self.folder if is_module else str(Path(self.folder, self.words[0]).resolve().parent)

    @property
    def has_modules(self) -> bool:
        """Whether that folder has modules that would be imported instead of those in memory."""
        names = {name.partition(".")[0] for name in sys.modules} | {"sitecustomize"}
        names.discard("__main__")
        folder = Path(self.first_path)
        modules = {path.stem for path in folder.glob("*.py")}
        return bool(names & (modules | {path.parent.name for path in folder.glob("*/__init__.py")}))


def listen(path: str) -> socket.socket:
    """Return where a server is asked, and tell the starter that it may ask."""
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listening.bind(path)
    listening.listen(64)
    os.write(1, READY)
    return listening


def serve(listening: socket.socket, can_fork: Callable[[Request], bool]) -> Request | None:
    """Fork for each request; return the request in a child, and None at the end of the tests.

    The end has come when the other end of the standard input is closed.
    """
    selector = selectors.DefaultSelector()
    selector.register(0, selectors.EVENT_READ)
    selector.register(listening, selectors.EVENT_READ)
    children: dict[int, tuple[int, socket.socket]] = {}
    while True:
        for key, _ in selector.select():
            if key.fd == 0:
                return None
            if key.fileobj is not listening:
                selector.unregister(key.fd)
                os.close(key.fd)
                _tell_end(*children.pop(key.fd))
                continue
            line, _ = listening.accept()
            data, files, *_ = socket.recv_fds(line, MOST_BYTES, 3, socket.MSG_CMSG_CLOEXEC)
            request = Request(**json.loads(data), files=files)
            if not can_fork(request):
                line.send(_FRESH)
                line.close()
            else:
                pid = os.fork()
                if not pid:
                    selector.close()
                    for other in (line, listening, *(one for _, one in children.values())):
                        other.close()
                    for watched in children:
                        os.close(watched)
                    return request
                watched = os.pidfd_open(pid)
                children[watched] = pid, line
                selector.register(watched, selectors.EVENT_READ)
                line.send(str(pid).encode())
            for file in files:
                os.close(file)


def _tell_end(pid: int, line: socket.socket) -> None:
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    # The tests may have ended.
    with suppress(OSError):
        line.send(str(status).encode())
    line.close()


_imported: set[str] = set()


def _is_imported(request: Request) -> bool:
    """Import what a program needs; return whether a fork of this process may run it."""
    words = request.words
    is_command = words[0] == "-m" and words[1] in ("trueup", LEASHED)
    name = next((word for word in words[2 if is_command else 0 :] if word[:1] != "-"), "")
    if is_command:
        _import_once(name, partial(_import_command, name))
    elif words[0] != "-m":
        _import_once(name, partial(_import_of_file, Path(request.folder, name)))
    return len(os.listdir("/proc/self/task")) == 1 and not request.has_modules


def _import_once(name: str, how: Callable[[], None]) -> None:
    if name in _imported:
        return
    _imported.add(name)
    # What cannot be imported, such as an extra that is not installed, is the program's to tell.
    with suppress(Exception):
        how()
    # What is there already is not looked at by a child's collector, so it stays shared.
    gc.collect()
    gc.freeze()


def _import_command(name: str) -> None:
    from trueup.cli.commands import COMMANDS

    for entry in COMMANDS:
        if entry.name == name:
            entry.target()
    for module in _LATER.get(name, _READING):
        import_module(module)


def _import_of_file(file: Path) -> None:
    """Import what a script imports of ours."""
    for node in ast.parse(file.read_bytes()).body:
        names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
        for name in names:
            if name.partition(".")[0] in ("trueup", "tests"):
                import_module(name)
    for name in _OF_SCRIPTS:
        import_module(name)


def _run_to_the_end(request: Request, path: str) -> None:
    """Run the program of a request and end, but leave its modules in memory.

    To take all modules apart would write to each page of memory that is shared with the server, for
    40 ms of CPU: twenty times as much as the fork. An error ends the process in the usual way.
    """
    status: Any = None
    try:
        _become(request, path)
    except SystemExit as error:
        status = error.code
        if not isinstance(status, int | None):
            _write_files()
            raise
    leave(status)


def leave(status: Any) -> None:
    """End this process as Python does, but leave its modules in memory.

    Args:
        status: as `sys.exit` takes it, but no sentence.
    """
    # What Python does before it takes its modules apart, in this order.
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    _write_files()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError):
        # Python says so, and ends with a status of its own.
        sys.exit(status)
    gc.collect()
    with suppress(OSError, ValueError):
        sys.stdout.flush()
    os._exit((status or 0) & 0xFF)


def _write_files() -> None:
    """Write what open files keep back: one that is found among garbage may be closed without."""
    for found in gc.get_objects():
        if isinstance(found, io.TextIOWrapper | io.BufferedWriter | io.BufferedRandom):
            with suppress(OSError, ValueError):
                found.flush()


def _become(request: Request, path: str) -> None:
    """Run the program of a request in this child as `python` does."""
    if request.in_session:
        os.setsid()
    os.chdir(request.folder)
    os.environ.clear()
    os.environ.update(request.environment)
    take_files(request)
    _fork_terminals(path)
    words = request.words
    options = request.arguments[: -len(words)]
    is_module = words[0] == "-m"
    given = request.environment["PYTHONPATH"].split(os.pathsep)
    others = [path for path in sys.path[1:] if path not in OURS]
    sys.path[:] = [*([] if "-P" in options else [request.first_path]), *given, *others]
    if is_module:
        sys.argv = words[1:]
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = words
        runpy.run_path(words[0], run_name="__main__")


def take_files(request: Request) -> None:
    """Have the files of a request as standard streams, opened as Python does at its start."""
    for number, file in enumerate(request.files):
        os.dup2(file, number)
        os.close(file)
    options = request.arguments[: -len(request.words)]
    is_unbuffered = "-u" in options or bool(os.environ.get("PYTHONUNBUFFERED"))
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        stream = _opened(number, getattr(sys, name), is_unbuffered=is_unbuffered)
        if number < 2 and "PYTHONIOENCODING" not in request.environment:
            stream.reconfigure(errors="surrogateescape")
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def _fork_terminals(path: str) -> None:
    """Let a program of this process start its simulated terminal from the fork server, too."""
    starting: Any = sys.modules.get("trueup.sim.process.starting")
    if starting is None:
        return
    start_afresh = starting._start_process

    def start_process(words: list[str], log: IO[bytes]) -> Any:
        with Path(os.devnull).open("rb") as nothing:
            files = [nothing.fileno(), log.fileno(), log.fileno()]
            environment = starting._environment()
            # The server may have ended with the tests that this program outlives.
            with suppress(OSError):
                line = _asked(path, words[1:], Path.cwd(), environment, files, in_session=True)
                if line is not None:
                    return Forked(words[1:], line, int(line.recv(MOST_BYTES)))
        return start_afresh(words, log)

    starting._start_process = start_process


def _opened(number: int, old: io.TextIOWrapper, *, is_unbuffered: bool) -> io.TextIOWrapper:
    """Open a standard stream as Python does at its start: the old one knows its old file."""
    raw = io.FileIO(number, "w" if number else "r", closefd=False)
    buffer: Any = raw
    if number == 0:
        buffer = io.BufferedReader(raw)
    elif not is_unbuffered:
        buffer = io.BufferedWriter(raw)
    return io.TextIOWrapper(
        buffer,
        encoding=old.encoding,
        errors=old.errors,
        newline="\n",
        line_buffering=not is_unbuffered and (raw.isatty() or number == 2),
        write_through=is_unbuffered,
    )


def _relay(path: str, arguments: list[str]) -> int:
    """Have a program run with the files of this process, and return its exit status."""
    line = _asked(path, arguments, Path.cwd(), os.environ, [0, 1, 2])
    if line is None:
        return subprocess.call([sys.executable, *arguments])
    line.recv(MOST_BYTES)
    # Only the child has the input and the output now, so each end is seen by the other side.
    with Path(os.devnull).open("r+b") as nothing:
        os.dup2(nothing.fileno(), 0)
        os.dup2(nothing.fileno(), 1)
    return int(line.recv(MOST_BYTES))


if __name__ == "__main__":
    if sys.argv[1] != _SERVE:
        sys.exit(_relay(sys.argv[1], sys.argv[2:]))
    _path, *_commands = sys.argv[2:]
    for _name in _ALWAYS:
        import_module(_name)
    _listening = listen(_path)
    for _name in _commands:
        _import_once(_name, partial(_import_command, _name))
    _found = serve(_listening, _is_imported)
    if _found is not None:
        _run_to_the_end(_found, _path)
