"""Other Pythons are found by running them; one that is named and missing is an error."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from scripts import other_pythons
from tests.support.posix_limits import posix_only

ROOT = Path(__file__).resolve().parents[2]


def program(folder: Path, name: str, says: str) -> Path:
    """A program of this name that runs a line of shell."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{says}\n", "utf-8")
    path.chmod(0o755)
    return path


def test_a_python_that_is_named_and_missing_is_an_error() -> None:
    done = subprocess.run(
        [sys.executable, "scripts/other_pythons.py"],
        cwd=ROOT,
        env={**os.environ, "PYTHONS": "3.98"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (
        1,
        "PYTHONS='3.98': no Python 3.98 runs on this machine.\n",
    )


@posix_only
def test_a_shim_that_fails_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(
        tmp_path / "path", "python3.98", "echo 'pyenv: python3.98: command not found' >&2; exit 127"
    )
    installed = program(tmp_path / ".pyenv/versions/3.98.2/bin", "python", "echo 3.98.2")
    program(tmp_path / ".pyenv/versions/3.98.1/bin", "python", "echo 3.98.1")
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert other_pythons.found("3.98") == (str(installed), "3.98.2")
    assert other_pythons.wanted("3.98") == [(str(installed), "3.98.2")]


@posix_only
def test_a_program_that_is_another_version_is_not_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(tmp_path / "path", "python3.98", "echo 3.9.8")
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert other_pythons.found("3.98") is None


@posix_only
def test_without_names_the_usual_ones_run_as_far_as_they_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    newest = other_pythons.USUAL[-1]
    here = program(tmp_path / "path", f"python{newest}", f"echo {newest}.4")
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert other_pythons.wanted("") == [(str(here), f"{newest}.4")]
    assert f"No Python {other_pythons.USUAL[0]} runs" in capsys.readouterr().out
