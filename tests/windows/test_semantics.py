"""What Windows does otherwise than Linux, as far as trueup depends on it; each a test.

Under Wine they show what a green test there is worth: where Wine differs, `tests/windows/wine.py`
says so, and the test is expected to fail.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from trueup import filelock

pytestmark = pytest.mark.skipif(sys.platform != "win32", reason="needs Windows: `make windows`")

HOLDER = """
import os, sys
from trueup import filelock
handle = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT | filelock.BINARY)
filelock.lock(handle)
print("locked", flush=True)
sys.stdin.read()
"""


@contextmanager
def locked_elsewhere(path: Path) -> Iterator[subprocess.Popen[str]]:
    """A file that another process has locked."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "locked\n"
        try:
            yield holder
        finally:
            holder.kill()


def lock(path: Path) -> None:
    """Lock a file, and let go of it."""
    handle = os.open(path, os.O_RDWR | filelock.BINARY)
    try:
        filelock.lock(handle)
    finally:
        os.close(handle)


def test_a_file_that_is_open_is_not_replaced(tmp_path: Path) -> None:
    new, old = tmp_path / "new", tmp_path / "old"
    new.write_bytes(b"new")
    old.write_bytes(b"old")
    with old.open("rb"), pytest.raises(PermissionError):
        new.replace(old)
    assert old.read_bytes() == b"old"


def test_a_file_that_is_open_is_not_renamed(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"")
    with path.open("rb"), pytest.raises(PermissionError):
        path.rename(tmp_path / "b")


def test_a_file_that_is_open_is_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"")
    with path.open("rb"), pytest.raises(PermissionError):
        path.unlink()
    path.unlink()


def test_a_lock_is_refused_to_others_who_can_still_read(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.write_bytes(b"who has it")
    with locked_elsewhere(path):
        with pytest.raises(BlockingIOError):
            lock(path)
        assert path.read_bytes() == b"who has it"
        with pytest.raises(PermissionError):
            path.unlink()


def test_a_lock_ends_with_its_process_however_that_ends(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with locked_elsewhere(path) as holder:
        holder.kill()
        holder.wait()
        lock(path)


def test_names_of_files_know_no_case(tmp_path: Path) -> None:
    (tmp_path / "Allow").write_bytes(b"")
    assert (tmp_path / "aLLOW").exists()


def test_a_name_with_a_colon_is_no_file_of_its_own(tmp_path: Path) -> None:
    try:
        (tmp_path / "x:y").write_bytes(b"1")
    except OSError:
        return
    assert not any(path.name == "x:y" for path in tmp_path.iterdir())


def test_a_mode_is_only_whether_it_can_be_written(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_bytes(b"")
    path.chmod(0o600)
    assert oct(path.stat().st_mode & 0o777) == "0o666"


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="Python 3.13 reads a finer clock")
def test_the_clock_goes_in_coarse_steps() -> None:
    """15.6 ms, a 64th of a second; what is measured by it may be 0."""
    steps = []
    # So many that a busy machine, which sees long steps of any clock, sees a short one too.
    for _ in range(101):
        begin = time.monotonic()
        while (now := time.monotonic()) == begin:
            pass
        steps.append(now - begin)
    assert time.get_clock_info("monotonic").resolution == pytest.approx(1 / 64)
    assert min(steps) > 0.008


def test_text_that_is_read_without_saying_how_is_of_the_code_page() -> None:
    said = subprocess.run(
        [sys.executable, "-c", "import locale, sys; print(locale.getencoding())"],
        capture_output=True,
        check=True,
    )
    assert said.stdout.strip() == b"cp1252"


def test_a_process_that_is_ended_has_the_exit_status_that_was_given() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        process.kill()
    assert process.returncode == 1
