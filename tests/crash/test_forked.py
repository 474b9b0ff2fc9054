"""What `tests.support.forked` starts is what an interpreter would have started."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support import forked
from tests.support.crash_world import environment
from tests.support.processes import KILLED, is_running
from tests.support.servers import until

FACTS = """
import json, os, signal, sys, threading
main = sys.modules["__main__"]
print(json.dumps({
    "name": __name__,
    "main": main.__dict__ is globals(),
    "module": main.__spec__ and main.__spec__.name,
    "words": sys.argv,
    "path": sys.path,
    "folder": os.getcwd(),
    "variables": dict(os.environ),
    "streams": [(file.encoding, file.errors, file.line_buffering, file.write_through,
                 file.isatty(), file.fileno(), file is getattr(sys, f"__{name}__"))
                for name in ("stdin", "stdout", "stderr") for file in [getattr(sys, name)]],
    # A stream that was made for another file would answer for that one.
    "knows": [file.seekable() == os.path.isfile(f"/proc/self/fd/{file.fileno()}")
              for file in (sys.stdout, sys.stderr)],
    "locale": sys.getfilesystemencoding(),
    "signals": [str(signal.getsignal(number)) for number in signal.valid_signals()],
    "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
    "wakes": signal.set_wakeup_fd(-1),
    "files": sorted(int(name) for name in os.listdir("/proc/self/fd"))[:-1],
    "threads": [thread.name for thread in threading.enumerate()],
}))
print("an error", file=sys.stderr)
sys.exit(7)
"""
LONG_SEC = 60.0
pytestmark = [
    pytest.mark.skipif(not forked.CAN_FORK, reason="the fork server needs Linux"),
    pytest.mark.timeout(120),
]


@pytest.fixture
def variables() -> dict[str, str]:
    paths = os.pathsep.join(forked.OURS)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    return {**kept, "PYTHONUTF8": "1", "PYTHONPATH": paths, "MINE": "a\nb"}


def fresh(words: list[str], folder: Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )


def facts(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert (done.returncode, done.stderr) == (7, "an error\n"), done
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("words", [["facts.py", "one", "-m"], ["-m", "facts"], ["-P", "facts.py"]])
@pytest.mark.parametrize("more", [{}, {"PYTHONIOENCODING": "utf-8"}])
def test_a_forked_program_finds_what_a_fresh_one_finds(
    words: list[str], more: dict[str, str], tmp_path: Path, variables: dict[str, str]
) -> None:
    (tmp_path / "facts.py").write_text(FACTS, encoding="utf-8")
    expected = facts(fresh(words, tmp_path, variables | more))
    pid = os.getpid()
    done = forked.run(words, cwd=tmp_path, env=variables | more, timeout=60)
    assert facts(done) == expected
    relayed = forked.program(words, variables | more)
    assert relayed[1:3] == ["-I", "-S"], relayed
    assert facts(fresh(relayed[1:], tmp_path, variables | more)) == expected
    assert os.getpid() == pid


def test_its_number_is_its_own_and_it_ends_by_a_signal(
    tmp_path: Path, variables: dict[str, str]
) -> None:
    (tmp_path / "endless.py").write_text(
        "import os, threading\nprint(os.getpid(), flush=True)\nthreading.Event().wait()\n"
    )
    reading, writing = os.pipe()
    with os.fdopen(reading) as said:
        child = forked.start(["endless.py"], cwd=tmp_path, env=variables, stdout=writing)
        os.close(writing)
        assert said.readline() == f"{child.pid}\n"
        assert child.poll() is None
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(0.0)
        child.terminate()
        assert child.wait(60) == -signal.SIGTERM
        # Nobody else has its output open.
        assert said.read() == ""
    child.kill()
    assert (child.poll(), child.wait()) == (-signal.SIGTERM, -signal.SIGTERM)


@pytest.mark.parametrize("place", ["typer.py", "typer/__init__.py", "sitecustomize.py"])
def test_a_folder_with_a_module_that_is_imported_already_has_that_module(
    place: str, tmp_path: Path, variables: dict[str, str]
) -> None:
    (tmp_path / place).parent.mkdir(exist_ok=True)
    (tmp_path / place).write_text("NAME = 'mine'\n", encoding="utf-8")
    (tmp_path / "program.py").write_text(
        "import os\nimport typer\nprint(os.getppid(), typer.__file__)\n"
    )
    done = forked.run(["program.py"], cwd=tmp_path, env=variables, timeout=60)
    parent, file = done.stdout.split()
    assert int(parent) == os.getpid()
    assert (str(tmp_path) in file) == place.startswith("typer")


@pytest.mark.parametrize("more", [{"PYTHONIOENCODING": "cp1251"}, {"PYTHONPATH": "elsewhere"}])
def test_other_variables_of_python_start_a_fresh_interpreter(
    more: dict[str, str], tmp_path: Path, variables: dict[str, str]
) -> None:
    (tmp_path / "program.py").write_text("import sys\nprint(sys.stdout.encoding, sys.path[1])\n")
    env = variables | more
    done = forked.run(["program.py"], cwd=tmp_path, env=env, timeout=60)
    assert done.stdout == fresh(["program.py"], tmp_path, env).stdout
    assert forked.program(["program.py"], env) == [sys.executable, "program.py"]


def test_a_command_has_its_exit_code(tmp_path: Path) -> None:
    words = ["-m", "trueup", "accounts"]
    done = forked.run(words, cwd=tmp_path, env=environment(tmp_path), timeout=LONG_SEC)
    assert (done.returncode, "No process of this folder" in done.stderr) == (2, True)


def test_processes_are_told_apart_and_waited_for(tmp_path: Path) -> None:
    (tmp_path / "waits.py").write_text("import sys\nsys.exit(len(sys.stdin.read()))\n", "utf-8")
    ends, processes = [], []
    for _ in range(3):
        theirs, ours = os.pipe()
        env = environment(tmp_path)
        processes.append(forked.start(["waits.py"], cwd=tmp_path, env=env, stdin=theirs))
        os.close(theirs)
        ends.append(ours)
    first, killed, last = processes
    assert len({one.pid for one in processes} | {os.getpid()}) == 4
    assert [one.poll() for one in processes] == [None] * 3
    killed.kill()
    assert killed.wait(LONG_SEC) == KILLED
    until(lambda: not is_running(killed.pid))
    os.write(ends[2], b"7 bytes")
    os.close(ends[2])
    assert last.wait(LONG_SEC) == 7
    with pytest.raises(subprocess.TimeoutExpired):
        first.wait(0.0)
    first.send_signal(signal.SIGTERM)
    assert first.wait() == -signal.SIGTERM
    # It has ended: no other process gets a signal.
    first.kill()
    assert [one.poll() for one in processes] == [-signal.SIGTERM, KILLED, 7]
    for end in ends[:2]:
        os.close(end)


def test_a_server_that_was_killed_is_started_again(
    tmp_path: Path, variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # A server of this test's own, since the others of this process may have children.
    monkeypatch.setattr(forked, "_servers", [])
    (tmp_path / "parent.py").write_text("import os\nprint(os.getppid())\n", encoding="utf-8")
    parents = []
    for _ in range(2):
        done = forked.run(["parent.py"], cwd=tmp_path, env=variables, timeout=LONG_SEC)
        parents.append(int(done.stdout))
        os.kill(parents[-1], signal.SIGKILL)
        until(lambda: not is_running(parents[-1]))
    assert os.getpid() not in parents
    assert parents[0] != parents[1]


def test_a_server_imports_the_commands_that_it_is_started_with(
    tmp_path: Path, variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forked, "_servers", [])
    forked.begin("page", "no-such-command")
    (tmp_path / "look.py").write_text("import sys\nprint(*sys.modules)\n", encoding="utf-8")
    done = forked.run(["look.py"], cwd=tmp_path, env=variables, timeout=LONG_SEC)
    assert "trueup.doors.page.serve" in done.stdout.split()


ENDS = """
import atexit, gc, sys, threading
class Told:
    def __init__(self, name):
        self.name = name
    def __del__(self):
        print("gone", self.name)
held, ring = Told("held"), Told("ring")
ring.itself = ring
file = open("written", "w")
file.write("all")
atexit.register(print, "at the end")
threading.Timer(0.1, print, ["a thread"]).start()
def end(here=Told("argument")):
    local = Told("local")
    HOW
end()
"""


@pytest.mark.parametrize(
    "how",
    [
        "pass",
        "sys.exit()",
        "sys.exit(True)",
        "sys.exit(300)",
        "sys.exit(-1)",
        "sys.exit('a sentence')",
        "raise KeyError(7)",
        "raise KeyboardInterrupt",
        "sys.stdout.close()",
    ],
)
def test_a_forked_program_ends_as_a_fresh_one(
    how: str, tmp_path: Path, variables: dict[str, str]
) -> None:
    (tmp_path / "ends.py").write_text(ENDS.replace("HOW", how), encoding="utf-8")
    ends = []
    for run in (forked_run, fresh):
        done = run(["ends.py"], tmp_path, variables)
        # The frames of the server stand above those of the program.
        said = sorted(done.stdout.splitlines()), done.stderr.splitlines()[-1:]
        ends.append((done.returncode, *said, (tmp_path / "written").read_text("utf-8")))
        (tmp_path / "written").unlink()
    assert ends[0] == ends[1]


def forked_run(
    words: list[str], folder: Path, env: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    return forked.run(words, cwd=folder, env=env, timeout=LONG_SEC)


def test_output_that_cannot_be_written_is_told_by_the_exit_code(
    tmp_path: Path, variables: dict[str, str]
) -> None:
    (tmp_path / "says.py").write_text("print('words')\n", encoding="utf-8")
    # A program whose output is not kept back fails as it prints.
    variables.pop("PYTHONUNBUFFERED", None)
    with Path("/dev/full").open("wb") as full:
        child = forked.start(["says.py"], cwd=tmp_path, env=variables, stdout=full)
        assert child.wait(LONG_SEC) == 120


def test_a_terminal_that_a_forked_program_starts_is_forked_too_and_outlives_it(
    tmp_path: Path, variables: dict[str, str]
) -> None:
    (tmp_path / "starts.py").write_text(
        "import os\n"
        "from trueup.sim.process.process import TerminalOptions\n"
        "from trueup.sim.process.starting import start_terminal\n"
        "print(start_terminal(TerminalOptions(symbol='GBPUSD')).pid, os.getppid())\n",
        encoding="utf-8",
    )
    done = forked.run(["starts.py"], cwd=tmp_path, env=variables, timeout=LONG_SEC)
    pid, server = map(int, done.stdout.split())
    try:
        assert is_running(pid)
        # It is a child of the server, and Ctrl-C before the program is not for it.
        words = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()
        assert (int(words[1]), os.getsid(pid)) == (server, pid)
        command = (tmp_path / ".trueup" / "terminal.json").read_bytes()
        assert b"GBPUSD" in command
    finally:
        os.kill(pid, signal.SIGKILL)
        until(lambda: not is_running(pid))
