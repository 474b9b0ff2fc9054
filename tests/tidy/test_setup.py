"""`scripts/setup`: running and the tests share a .venv; neither removes packages of the other."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from tests.support.locks import ALL, ROOT, RUN, blocks, names_here, needed
from tests.support.posix_limits import posix_only

TOOLS = ("sh", "cmp", "cp", "rm", "dirname", "mkdir", "cat")
# A Python that makes environments of itself, and writes down what it is asked to install.
FAKE_PYTHON = """#!/bin/sh
[ "$1" = --version ] && echo "Python 3.98.1"
if [ "$2" = venv ]; then
    echo "venv" >>calls
    rm -rf "$4" && mkdir -p "$4/bin" && cp "$0" "$4/bin/python"
fi
[ "$3" = install ] && { echo "$*" >>calls; cat failing 2>/dev/null && exit 1; }
exit 0
"""
FAKE_UV = """#!/bin/sh
case "$1" in
venv) echo "uv venv" >>calls; mkdir -p .venv/bin; cp "$(dirname "$0")/python3" .venv/bin/python ;;
pip) echo "uv $*" >>calls ;;
esac
"""
PROJECT = "--editable ."


class Checkout:
    """A folder with `scripts/setup`, two locks, and programs that only write down their calls."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.programs = folder / "programs"
        (folder / "scripts").mkdir()
        self.programs.mkdir()
        shutil.copy(ROOT / "scripts/setup", folder / "scripts/setup")
        for name in (RUN, ALL, "pyproject.toml"):
            (folder / name).write_text(f"{name}, first\n", encoding="utf-8")
        for tool in TOOLS:
            found = shutil.which(tool)
            assert found is not None
            (self.programs / tool).symlink_to(found)
        self.add_program("python3", FAKE_PYTHON)

    def add_program(self, name: str, text: str) -> None:
        path = self.programs / name
        path.write_text(text, encoding="utf-8")
        path.chmod(0o755)

    def setup(self, kind: str) -> list[str]:
        """Run `scripts/setup`; return its calls, shortened to what is made or installed."""
        (self.folder / "calls").write_text("", encoding="utf-8")
        done = self.run(kind)
        assert done.returncode == 0, done.stderr
        return self.calls()

    def run(self, kind: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["scripts/setup", kind],
            cwd=self.folder,
            env={"PATH": str(self.programs), **environment},
            capture_output=True,
            text=True,
            check=False,
        )

    def calls(self) -> list[str]:
        lines = (self.folder / "calls").read_text(encoding="utf-8").splitlines()
        return [
            re.sub(r".*(--require-hashes -r|--no-build-isolation) ", "", line) for line in lines
        ]

    def change(self, name: str) -> None:
        with (self.folder / name).open("a", encoding="utf-8") as file:
            file.write("changed\n")

    def as_older_checkouts_left_it(self, age_sec: int) -> None:
        """Mark the whole lock as installed, as before there were two locks."""
        for stamp in (self.folder / ".venv").glob(".*"):
            stamp.unlink()
        for name in (".locked", ".project"):
            (self.folder / ".venv" / name).touch()
        lock = self.folder / ALL
        marked = (self.folder / ".venv/.locked").stat().st_mtime
        os.utime(lock, (marked - age_sec, marked - age_sec))


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


@posix_only
def test_running_installs_its_lock_alone_and_the_tests_add_the_rest(checkout: Checkout) -> None:
    assert checkout.setup("run") == ["venv", RUN, PROJECT]
    assert checkout.setup("run") == []
    assert checkout.setup("all") == [ALL]
    assert checkout.setup("all") == []
    assert checkout.setup("run") == []


@posix_only
def test_running_needs_nothing_where_everything_is_installed(checkout: Checkout) -> None:
    assert checkout.setup("all") == ["venv", ALL, PROJECT]
    assert checkout.setup("run") == []


@posix_only
def test_a_changed_lock_makes_the_environment_anew(checkout: Checkout) -> None:
    checkout.setup("all")
    checkout.change(ALL)
    assert checkout.setup("run") == []  # what running needs has not changed
    assert checkout.setup("all") == ["venv", ALL, PROJECT]
    checkout.change(RUN)
    checkout.change(ALL)
    assert checkout.setup("run") == ["venv", RUN, PROJECT]
    assert checkout.setup("all") == [ALL]


@posix_only
def test_a_changed_project_is_installed_again(checkout: Checkout) -> None:
    checkout.setup("run")
    checkout.change("pyproject.toml")
    assert checkout.setup("run") == [PROJECT]


@posix_only
def test_an_environment_whose_python_is_gone_is_made_anew(checkout: Checkout) -> None:
    checkout.setup("all")
    (checkout.folder / ".venv/bin/python").unlink()
    assert checkout.setup("run") == ["venv", RUN, PROJECT]


@posix_only
def test_an_installation_that_failed_is_done_again(checkout: Checkout) -> None:
    (checkout.folder / "failing").write_text("no such wheel\n", encoding="utf-8")
    assert checkout.run("run").returncode == 1
    (checkout.folder / "failing").unlink()
    assert checkout.setup("run") == ["venv", RUN, PROJECT]


@posix_only
def test_the_environment_of_an_older_checkout_is_used(checkout: Checkout) -> None:
    checkout.setup("all")
    checkout.as_older_checkouts_left_it(age_sec=10)
    assert checkout.setup("run") == [PROJECT]
    assert checkout.setup("all") == []


@posix_only
def test_the_outdated_environment_of_an_older_checkout_is_made_anew(checkout: Checkout) -> None:
    checkout.setup("all")
    checkout.as_older_checkouts_left_it(age_sec=-10)
    assert checkout.setup("run") == ["venv", RUN, PROJECT]
    assert checkout.setup("all") == [ALL]


@posix_only
def test_uv_installs_the_same_where_it_is_there(checkout: Checkout) -> None:
    checkout.add_program("uv", FAKE_UV)
    assert checkout.setup("run") == ["uv venv", RUN, PROJECT]
    assert checkout.setup("all") == [ALL]
    assert checkout.setup("run") == []


@posix_only
def test_a_machine_without_a_new_python_is_told_the_version(checkout: Checkout) -> None:
    checkout.add_program("python3", "#!/bin/sh\nexit 1\n")
    done = checkout.run("run", PYTHON="python2")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "trueup needs Python 3.11 or newer: make setup PYTHON=/path/to/it\n"


def test_the_lock_for_running_is_a_part_of_the_whole_lock() -> None:
    running, whole = blocks(RUN), blocks(ALL)
    # A package that running needs on Windows alone may be needed everywhere to develop.
    assert all(map(_pinned, running.values()))
    assert {name: _pinned(whole.get(name, [])) for name in running} == {
        name: _pinned(found) for name, found in running.items()
    }
    assert len(running) < len(whole) / 2


def _pinned(found: list[str]) -> list[str]:
    """Return blocks of a lock without their markers: version and hashes."""
    return [re.sub(r" ; .*(?= \\)", "", block) for block in found]


def test_the_lock_for_running_has_what_running_needs_and_no_more() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    roots = [*project["project"]["dependencies"], *project["dependency-groups"]["build"]]
    assert names_here(RUN) == needed(roots)
