"""Run a fast tier of the tests with the other Pythons of this machine.

    make pythons                        3.12 and 3.13, as far as one is found
    make pythons PYTHONS="3.13 3.14"    these, each of which has to be there

An interpreter is found by running it: a name on PATH may be a shim that only says that it is not
installed. Beside PATH, the versions that pyenv has installed are looked at. One that `PYTHONS`
names and that is missing is an error. The closing lines say which ran, and how it went.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
USUAL = ("3.12", "3.13")
ANSWER_SEC = 20
# What depends on the interpreter (SQLite, threads, forks, files, numbers), and nothing that starts
# hundreds of processes: three minutes each at most.
TIER = (
    *("tests/core", "tests/protocol", "tests/settings", "tests/journal", "tests/runtime"),
    *("tests/orders", "tests/scenarios"),
    *("tests/gateway/test_request_store.py", "tests/cli/test_story.py", "tests/tidy"),
)


class Missing(Exception):
    """An interpreter that was named is not there."""


def version_of(program: str) -> str:
    """Return the version of an interpreter, such as 3.13.0; empty where it does not run."""
    ask = "import sys; print('.'.join(map(str, sys.version_info[:3])))"
    try:
        done = subprocess.run(
            [program, "-c", ask], capture_output=True, text=True, timeout=ANSWER_SEC, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    answer = done.stdout.strip()
    return answer if done.returncode == 0 and re.fullmatch(r"\d+\.\d+\.\d+", answer) else ""


def candidates(version: str) -> Iterator[str]:
    """Yield programs that may be the interpreter of a version, such as 3.13."""
    on_path = shutil.which(f"python{version}")
    if on_path:
        yield on_path
    installed = Path.home() / ".pyenv" / "versions"
    yield from map(str, sorted(installed.glob(f"{version}.*/bin/python"), reverse=True))


def found(version: str) -> tuple[str, str] | None:
    """Return program and whole version of an interpreter that runs, or None."""
    for program in candidates(version):
        whole = version_of(program)
        if whole.startswith(f"{version}."):
            return program, whole
    return None


def wanted(named: str) -> list[tuple[str, str]]:
    """Return the interpreters to run.

    Raises:
        Missing: one that was named is not there.
    """
    programs = []
    for version in named.split() or USUAL:
        one = found(version)
        if one is not None:
            programs.append(one)
        elif named.split():
            raise Missing(f"PYTHONS={named!r}: no Python {version} runs on this machine.")
        else:
            print(f"No Python {version} runs on this machine: it is left out.", flush=True)
    return programs


def environment(program: str, whole: str) -> Path:
    """Return the interpreter of an environment with the locked packages, made where it is not."""
    folder = ROOT / f".venv-{whole}"
    python = folder / "bin" / "python"
    done = folder / ".made"
    lock = ROOT / "requirements.lock"
    if not done.exists() or done.stat().st_mtime < lock.stat().st_mtime:
        subprocess.run([program, "-m", "venv", "--clear", folder], check=True)
        install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        options = ["--no-deps", "--require-hashes", "-r", str(lock)]
        subprocess.run([*install, *options], check=True)
        editable = ["--no-deps", "--no-build-isolation", "--editable", str(ROOT)]
        subprocess.run([*install, *editable], check=True)
        done.touch()
    return python


def main(arguments: Sequence[str]) -> int:
    """Run the tier with each; return 0 when all passed."""
    try:
        programs = wanted(os.environ.get("PYTHONS", ""))
    except Missing as error:
        print(error, file=sys.stderr)
        return 1
    closing = []
    for program, whole in programs:
        python = environment(program, whole)
        options = ["-q", "-n", os.environ.get("WORKERS") or "auto", "--dist", "worksteal"]
        run = [str(python), "-m", "pytest", *options, *(arguments or TIER)]
        with subprocess.Popen(run, cwd=ROOT, stdout=subprocess.PIPE, text=True) as tested:
            assert tested.stdout is not None
            last = ""
            for line in tested.stdout:
                print(line, end="", flush=True)
                last = line.strip() or last
        closing.append((tested.returncode, f"Python {whole}: {last}"))
    for _, line in closing:
        print(line)
    return int(any(code for code, _ in closing))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
