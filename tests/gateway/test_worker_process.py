"""How a worker is started and how it ends: whatever program starts it, and however that ends."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.support import worker_terminals
from tests.support.processes import KILL, is_running
from tests.support.servers import until
from tests.support.worker_terminals import EXIT_CODE
from trueup.errors import TrueupError
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.gateway.terminal.call_wire import Call, decode_answer, encode_call
from trueup.gateway.worker.keeper import Timing
from trueup.gateway.worker.process import Died, Worker
from trueup.gateway.worker.worker import WorkerTerminal

ROOT = Path(__file__).resolve().parents[2]
LONG_MS = 60_000
# Shorter than that, and longer than any start.
START_SEC = 60.0
SECRET = "correct horse battery"
TERMINALS = worker_terminals.HERE


@pytest.fixture
def notes(tmp_path: Path) -> Iterator[Path]:
    """A folder for notes; the processes whose numbers are noted there are ended afterwards."""
    yield tmp_path
    for note in tmp_path.glob("pid-*"):
        with suppress(ProcessLookupError, PermissionError):
            os.kill(int(note.read_text("utf-8")), KILL)


# -- a worker that ends while it starts --------------------------------------------------------


@pytest.mark.skipif(sys.platform == "win32", reason="forks")
def test_a_worker_that_dies_at_its_start_is_noticed_though_its_line_lives_on(notes: Path) -> None:
    """A process that it started has the line, so its end does not show there."""
    worker = Worker(f"{TERMINALS}:dying_with_an_heir", {"notes": str(notes)})
    with pytest.raises(Died, match=f"process {worker.pid} ended with exit code {EXIT_CODE}"):
        worker.wait_ready(LONG_MS)
    (heir,) = notes.glob("pid-*")
    assert is_running(int(heir.read_text("utf-8")))


@pytest.mark.parametrize("after", ["", "wait"], ids=["at once", "while it makes the terminal"])
def test_a_worker_that_is_killed_at_its_start_is_noticed_at_once(notes: Path, after: str) -> None:
    worker = Worker(f"{TERMINALS}:taking_long", {"notes": str(notes)})
    if after:
        until((notes / "making").exists, START_SEC)
    os.kill(worker.pid, KILL)
    with pytest.raises(Died, match=f"process {worker.pid} ended with exit code"):
        worker.wait_ready(LONG_MS)


@pytest.mark.parametrize(
    ("factory", "said"),
    [
        ("no_such_module:make", "no_such_module:make cannot be made"),
        (f"{TERMINALS}:no_such_function", "no attribute 'no_such_function'"),
    ],
)
def test_a_factory_that_is_not_there_is_named(factory: str, said: str) -> None:
    worker = Worker(factory, {})
    with pytest.raises(TrueupError, match=said):
        worker.wait_ready(LONG_MS)
    assert not worker.is_alive


@pytest.mark.parametrize("factory", ["", "make", ":make", "module:", "__main__:make", "a:b:c"])
def test_a_factory_that_no_worker_could_find_is_refused_at_once(factory: str) -> None:
    with pytest.raises(ValueError, match=r"is not valid: give 'module:function'"):
        WorkerTerminal(factory)


# -- whoever starts it -------------------------------------------------------------------------

# No `if __name__ == "__main__"`, and nothing that keeps it from running twice.
UNGUARDED = f"""
import os, sys
with open(sys.argv[1], "a", encoding="utf-8") as runs:
    runs.write("ran\\n")
from trueup.gateway.worker.worker import WorkerTerminal
terminal = WorkerTerminal("{TERMINALS}:simulated")
print(terminal.initialize(), terminal.account_info().login, terminal.last_error()[0])
terminal.close()
"""


def run(arguments: list[str], folder: Path, stdin: str | None = None) -> str:
    """Run Python in a folder, and return what it said."""
    done = subprocess.run(
        [sys.executable, *arguments],
        input=stdin,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])},
        capture_output=True,
        text=True,
        timeout=LONG_MS / 1000,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


@pytest.mark.parametrize("how", ["a file", "-c", "its input", "interactive"])
def test_an_unguarded_program_runs_once_and_has_its_terminal(tmp_path: Path, how: str) -> None:
    runs = tmp_path / "runs"
    if how == "a file":
        (tmp_path / "bot.py").write_text(UNGUARDED, "utf-8")
        said = run(["bot.py", str(runs)], tmp_path)
    elif how == "-c":
        said = run(["-c", UNGUARDED, str(runs)], tmp_path)
    elif how == "its input":
        said = run(["-", str(runs)], tmp_path, stdin=UNGUARDED)
    else:
        # A notebook and a prompt run code in a `__main__` that is in no file.
        typed = f"import code; code.InteractiveConsole().runcode({UNGUARDED!r})"
        said = run(["-c", typed, str(runs)], tmp_path)
    assert said == f"True 5000001 {mt5.RES_S_OK}\n"
    assert runs.read_text("utf-8") == "ran\n"


def test_a_factory_is_found_where_the_program_finds_modules(tmp_path: Path) -> None:
    """Also relative to where it runs, and not in a file that happens to lie there."""
    (tmp_path / "json.py").write_text("raise SystemExit('a file of that name')", "utf-8")
    place = tmp_path / "elsewhere"
    place.mkdir()
    (place / "own.py").write_text(
        f"from {TERMINALS} import simulated\nimport trueup\nprint(trueup.__file__, flush=True)\n",
        "utf-8",
    )
    # The same package at another place, which no interpreter finds by itself.
    shutil.copytree(ROOT / "src" / "trueup", place / "trueup")
    program = f"""
        import sys
        sys.path[0] = {str(place)!r}
        from trueup.gateway.worker.worker import WorkerTerminal
        with WorkerTerminal("own:simulated") as terminal:
            assert terminal.initialize()
    """
    said = run(["-c", textwrap.dedent(program)], tmp_path)
    assert Path(said.strip()) == place / "trueup" / "__init__.py"


@pytest.mark.parametrize("lack", ["frozen", "embedded"])
def test_a_program_that_is_no_interpreter_is_told_what_is_missing(
    lack: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if lack == "frozen":
        monkeypatch.setattr(sys, "frozen", True, raising=False)
    else:
        monkeypatch.setattr("multiprocessing.spawn._python_exe", None)
    with WorkerTerminal(f"{TERMINALS}:simulated") as terminal:
        assert not terminal.initialize()
        said = terminal.last_error()[1]
    assert said.endswith(
        "no worker process can be started: this program is no Python interpreter, and "
        "multiprocessing.set_executable() names none"
    )


def test_the_command_line_has_neither_factory_nor_options_nor_secrets(notes: Path) -> None:
    with WorkerTerminal(f"{TERMINALS}:Misbehaving", {"notes": str(notes)}) as terminal:
        assert terminal.initialize(login=5_000_001, password=SECRET)
        command = _command_line(terminal.pid or 0)
    if command is not None:
        assert command[1:-2] == [*command[1:-5], "-P", "-m", "trueup.gateway.worker.main"]
        assert command[-2].isdigit()
        assert command[-1].isdigit()


def _command_line(pid: int) -> list[str] | None:
    """The words of a process's command line, where the system tells them."""
    path = Path(f"/proc/{pid}/cmdline")
    # Under Wine there is a /proc, whose numbers are those of Linux.
    is_told = sys.platform == "linux" and path.exists()
    return path.read_text("utf-8").rstrip("\0").split("\0") if is_told else None


@pytest.mark.skipif(sys.platform == "win32", reason="process groups")
def test_a_ctrl_c_in_the_terminal_does_not_reach_the_worker() -> None:
    worker = Worker(f"{TERMINALS}:simulated", {})
    assert os.getpgid(worker.pid) != os.getpgid(0)
    worker.wait_ready(LONG_MS)
    worker.close()


# -- however that ends -------------------------------------------------------------------------

PARENT = """
import sys
from trueup.gateway.worker.worker import WorkerTerminal
terminal = WorkerTerminal(sys.argv[1], {"notes": sys.argv[2]})
terminal.keep_initialized()
while terminal.pid is None:
    pass
print(terminal.pid, flush=True)
if len(sys.argv) > 3:
    terminal.order_send({"action": 1, "symbol": "EURUSD"})
sys.stdin.read()
"""


@contextmanager
def parent(notes: Path, *more: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A program with a worker, and the worker's process."""
    program = subprocess.Popen(
        [sys.executable, "-c", PARENT, f"{TERMINALS}:Misbehaving", str(notes), *more],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with program:
        assert program.stdout is not None
        worker = int(program.stdout.readline())
        (notes / "pid-worker").write_text(str(worker), "utf-8")
        yield program, worker
        program.kill()


def test_the_worker_ends_when_its_parent_is_killed(notes: Path) -> None:
    with parent(notes) as (program, worker):
        assert is_running(worker)
        program.kill()
        until(lambda: not is_running(worker), START_SEC)


@pytest.mark.skipif(sys.platform == "darwin", reason="the call has to come back there")
def test_the_worker_ends_when_its_parent_is_killed_also_in_a_call_that_hangs(notes: Path) -> None:
    """The call keeps the interpreter to itself, so nothing of Python's could notice."""
    with parent(notes, "send") as (program, worker):
        until((notes / "sending").exists, START_SEC)
        program.kill()
        until(lambda: not is_running(worker), START_SEC)


def test_the_worker_ends_when_its_parent_ends_without_closing_it(notes: Path) -> None:
    with parent(notes) as (program, worker):
        assert program.stdin is not None
        program.stdin.close()
        assert program.wait(START_SEC) == 0
        until(lambda: not is_running(worker), START_SEC)


def test_a_worker_in_a_slow_start_ends_when_its_parent_is_killed(notes: Path) -> None:
    code = (
        "import sys; from trueup.gateway.worker.process import Worker; "
        f"worker = Worker('{TERMINALS}:taking_long', {{'notes': sys.argv[1]}}); "
        "print(worker.pid, flush=True); worker.wait_ready(60_000)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(notes)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])},
        stdout=subprocess.PIPE,
        text=True,
    ) as program:
        assert program.stdout is not None
        worker = int(program.stdout.readline())
        (notes / "pid-worker").write_text(str(worker), "utf-8")
        until((notes / "making").exists, START_SEC)
        program.send_signal(signal.SIGKILL if sys.platform != "win32" else KILL)
        until(lambda: not is_running(worker), START_SEC)


def test_long_answers_do_not_look_like_the_parents_end() -> None:
    """Longer than the line holds at a time, so that the worker has to wait for its parent."""
    with WorkerTerminal(f"{TERMINALS}:telling_long") as terminal:
        assert terminal.initialize()
        pid = terminal.pid
        for length in [1, 3_000_000, 10, 300_000] * 5:
            assert len(terminal.symbol_info("x" * length)) == length
        assert terminal.pid == pid


def test_what_comes_on_the_line_during_a_call_does_not_end_the_worker(notes: Path) -> None:
    """The signal that belongs to a message may come when its call is under way already."""
    worker = Worker(f"{TERMINALS}:waiting", {"notes": str(notes)})
    try:
        worker.wait_ready(LONG_MS)
        line = worker._process.line
        line.send_bytes(encode_call(Call("symbol_info", ("EURUSD",))))
        until((notes / "asked").exists, START_SEC)
        line.send_bytes(encode_call(Call("symbol_info", ("GBPUSD",))))
        (notes / "go").touch()
        for symbol in ("EURUSD", "GBPUSD"):
            assert line.poll(START_SEC)
            assert decode_answer(line.recv_bytes())[0] == symbol
        assert worker.is_alive
    finally:
        worker.kill()


def test_a_worker_is_not_lost_for_what_it_says_right_before_it_ends(tmp_path: Path) -> None:
    """Its sentence and its end come together; the sentence is what a person needs."""
    for _ in range(5):
        with WorkerTerminal(f"{TERMINALS}:refusing", timing=Timing()) as terminal:
            assert terminal.initialize() is False
            assert terminal.last_error()[1].endswith("The terminal is not installed here.")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
def test_a_worker_starts_for_a_program_with_many_open_files(tmp_path: Path) -> None:
    script = """
import os, resource
from trueup.gateway.worker.worker import WorkerTerminal
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4_000), hard))
kept = [os.open(os.devnull, os.O_RDONLY) for _ in range(1_100)]
with WorkerTerminal("tests.support.worker_terminals:simulated") as terminal:
    print(terminal.initialize(), terminal.last_error())
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=100
    )
    assert done.stdout.startswith("True"), done.stdout + done.stderr
