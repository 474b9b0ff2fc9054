"""The guide's two scripts when something is wrong; that they pass is in `tests/guide`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.paper.deadline import ROOT


def run(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "PYTHONUTF8": "1", **environment},
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=100,
        check=False,
    )


def test_a_failing_test_is_named_and_counted() -> None:
    code = (
        "import runpy, sys; sys.path.insert(0, 'src');"
        "import trueup.runtime.bot.portfolio as p;"
        "p.PortfolioManager.get_local_positions = lambda self: {};"
        "runpy.run_path('scripts/test_reconciliation.py', run_name='__main__')"
    )
    done = run(sys.executable, "-c", code)
    assert done.returncode == 1
    assert "FAILED  zombie_and_ghost" in done.stdout
    assert "All tests passed" not in done.stdout
    passed, failed = (int(line.split()[1].split("/")[0]) for line in done.stdout.splitlines()[-2:])
    assert passed + failed == 8
    assert failed > 1


@pytest.mark.parametrize("script", ["test_reconciliation.py", "audit_task_031.py"])
def test_a_python_without_the_packages_says_what_to_do(tmp_path: Path, script: str) -> None:
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts")
    # -S leaves out site-packages, as a bare Python of the system has none.
    done = run(sys.executable, "-S", str(tmp_path / "scripts" / script), PYTHONPATH="")
    assert done.returncode == 2
    assert done.stderr == "This Python lacks what trueup needs: run `make setup` first.\n"
