"""That processes of `tests.support.forked` are what an interpreter would have started."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import forked
from tests.support.crash_world import environment
from tests.support.processes import KILLED, is_running
from tests.support.servers import until

pytestmark = pytest.mark.skipif(not forked.CAN_FORK, reason="forks")
LONG_SEC = 60.0
FACTS = """
import json, os, signal, sys
assert __name__ == "__main__"
import beside
facts = [sys.argv, os.getcwd(), dict(os.environ), sys.path[0], beside.WORD, sys.stdin.read()]
handlers = [signal.getsignal(getattr(signal, name)).__repr__() for name in ("SIGINT", "SIGCHLD")]
descriptors = sorted(map(int, os.listdir("/proc/self/fd"))) if sys.platform == "linux" else []
print(json.dumps([*facts, handlers, descriptors[:-1]]))
sys.exit("for stderr")
"""


@pytest.fixture
def program(tmp_path: Path) -> Path:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "beside.py").write_text("WORD = 'found'\n", "utf-8")
    path = tmp_path / "elsewhere" / "facts.py"
    path.write_text(FACTS, "utf-8")
    return path


def test_a_forked_process_has_what_a_fresh_interpreter_has(tmp_path: Path, program: Path) -> None:
    words, env = [str(program), "a", "b c"], {**environment(tmp_path), "OF_TEST": "yes"}
    ours = forked.run(words, cwd=tmp_path, env=env, timeout=LONG_SEC)
    fresh = subprocess.run(
        [sys.executable, *words],
        cwd=tmp_path,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
    )
    assert (ours.returncode, ours.stderr) == (1, "for stderr\n")
    assert json.loads(ours.stdout) == json.loads(fresh.stdout)
    assert (fresh.returncode, fresh.stderr) == (1, "for stderr\n")


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
