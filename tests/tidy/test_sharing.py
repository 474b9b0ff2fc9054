"""How the tests are shared: each runs once, and long ones begin the shares."""

from __future__ import annotations

import importlib.util
import itertools
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.forked import CAN_FORK, OURS
from tests.support.rewriting import rewrite_missing
from tests.support.sharing import LONG, dealt

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("file", LONG)
def test_a_long_file_is_there(file: str) -> None:
    assert (ROOT / file).is_file()


@pytest.mark.parametrize("shares", [1, 2, 3, 4, 16])
def test_each_test_runs_once_and_its_file_stays_in_one_piece(shares: int) -> None:
    files = ["tests/a.py", *sorted(LONG), "tests/z.py"]
    tests: list[Any] = [
        SimpleNamespace(nodeid=f"{file}::test_{number}") for file in files for number in range(30)
    ]
    order = dealt(tests, shares)
    assert sorted(one.nodeid for one in order) == sorted(one.nodeid for one in tests)
    long = [file for one in order if (file := one.nodeid.partition("::")[0]) in LONG]
    assert sum(a != b for a, b in itertools.pairwise(long)) == len(LONG) - 1


def test_the_longest_files_begin_the_shares() -> None:
    tests: list[Any] = [SimpleNamespace(nodeid=f"tests/a.py::test_{n}") for n in range(400)]
    tests += [SimpleNamespace(nodeid=f"{file}::test") for file in LONG]
    order = dealt(tests, 4)
    size = len(tests) // 4
    assert [order[n * size].nodeid.partition("::")[0] for n in range(4)] == list(LONG[:4])


def test_a_missing_module_is_rewritten_once_and_read_by_pytest(
    pytestconfig: pytest.Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    (tmp_path / "inner").mkdir()
    modules = [tmp_path / "test_a.py", tmp_path / "test_b.py", tmp_path / "inner" / "test_c.py"]
    for module in modules:
        module.write_text("def test_it():\n    assert (1, 2) == (1, 3)\n", encoding="utf-8")
    (tmp_path / "helper.py").write_text("assert True\n", encoding="utf-8")
    config: Any = SimpleNamespace(
        args=[f"{modules[0]}::test_it", str(tmp_path)],
        invocation_params=pytestconfig.invocation_params,
        stash=pytestconfig.stash,
        getini=pytestconfig.getini,
    )
    written = rewrite_missing(config, 0)
    assert len(written) == len(modules)
    assert rewrite_missing(config, 1) == []
    written[1].unlink()
    assert rewrite_missing(config, 1) == [written[1]]

    # A compiled file that pytest did not read, it would write anew.
    compiled = {file: file.stat().st_ino for file in written}
    hook: Any = pytestconfig.pluginmanager.rewrite_hook
    for module in modules:
        spec = importlib.util.spec_from_file_location(module.stem, module, loader=hook)
        assert spec is not None
        one = importlib.util.module_from_spec(spec)
        hook.exec_module(one)
        # Words of pytest, which the compiler of Python has not.
        with pytest.raises(AssertionError, match="At index 1 diff: 2 != 3"):
            one.test_it()
    assert {file: file.stat().st_ino for file in compiled} == compiled


SHARED = """
import os, sys, signal, pytest

with open("collected.txt", "a", encoding="utf-8") as _file:
    _file.write(f"{os.getpid()}\\n")

@pytest.mark.parametrize("number", range(4))
def test_in_a_folder_and_with_files_of_its_own(number, tmp_path, capfd):
    assert f"popen-{os.environ['PYTEST_XDIST_WORKER']}" in tmp_path.parts
    os.system("echo said")
    assert capfd.readouterr().out == "said\\n"
    with open("run.txt", "a", encoding="utf-8") as file:
        file.write(f"{os.getpid()} {os.getppid()}\\n")

def test_that_fails():
    os.system("echo said by a child")
    assert False

def test_that_ends_its_process():
    os.kill(os.getpid(), signal.SIGKILL)

@pytest.mark.parametrize("number", range(4))
def test_after_it(number):
    pass
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with tests that processes share as the tests of this one are shared."""
    (tmp_path / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    (tmp_path / "test_shared.py").write_text(SHARED, encoding="utf-8")
    return tmp_path


def run_shared(project: Path, *arguments: str) -> str:
    """Run the tests of a project by two processes, and return what is said."""
    plugins = ("-p", "tests.conftest", "-p", "no:cacheprovider", "-n", "2")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *plugins, "--rootdir", str(project), *arguments],
        cwd=project,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(OURS)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        timeout=110,
    )
    return done.stdout


@pytest.mark.skipif(not CAN_FORK, reason="this system forks no process of tests")
def test_tests_are_collected_once_and_run_by_processes_forked_from_there(project: Path) -> None:
    (project / "test_broken.py").write_text("import no_such_module\n", encoding="utf-8")
    said = run_shared(project)
    assert "2 failed, 8 passed, 1 error" in said, said
    assert "said by a child" in said.partition("Captured stdout call")[2], said
    assert "crashed while running 'test_shared.py::test_that_ends_its_process'" in said, said
    assert "No module named 'no_such_module'" in said, said
    collected = (project / "collected.txt").read_text("utf-8").split()
    lines = (project / "run.txt").read_text("utf-8").splitlines()
    run = [line.split() for line in lines]
    assert {parent for _, parent in run} == set(collected)
    assert len(collected) == 1
    assert collected[0] not in {process for process, _ in run}


@pytest.mark.skipif(not CAN_FORK, reason="this system forks no process of tests")
def test_a_path_without_tests_is_told(project: Path) -> None:
    said = run_shared(project, "nothing")
    assert "ERROR: file or directory not found: nothing" in said, said
    assert "no tests ran" in said, said
