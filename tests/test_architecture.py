"""The shape of the package: one copy of every class, and contracts that bite."""

from __future__ import annotations

import importlib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.marks import needs_linter

ROOT = Path(__file__).resolve().parents[1]

FACADES = {
    "src.strategy.portfolio": (
        "trueup.runtime.bot.portfolio",
        ["Order", "OrderStatus", "PortfolioManager", "Position", "create_fill_response"],
    ),
    "src.strategy.reconciler": (
        "trueup.runtime.sync.reconciler",
        ["RemotePosition", "StateReconciler", "SyncResult", "SyncStatus"],
    ),
    "src.main_paper_trading": ("trueup.gateway.client.execution_gateway", ["ExecutionGateway"]),
}


def run_python(code: str, folder: Path, path: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env={"PYTHONPATH": path, "PATH": ""},
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
    )


@pytest.mark.parametrize("facade", FACADES)
def test_a_facade_hands_out_the_very_objects(facade: str) -> None:
    home, names = FACADES[facade]
    for name in names:
        here = getattr(importlib.import_module(facade), name)
        assert here is getattr(importlib.import_module(home), name)


def test_the_strategy_package_is_empty() -> None:
    assert (ROOT / "src/strategy/__init__.py").read_text(encoding="utf-8") == ""


@pytest.mark.parametrize(
    "statement", ["import src.trueup", "from src.trueup.core import book", "from src import trueup"]
)
def test_a_second_copy_of_the_package_is_refused_in_one_sentence(statement: str) -> None:
    done = run_python(statement, ROOT, str(ROOT))
    assert done.returncode != 0
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: ")
    assert "import trueup" in last
    assert "src.trueup" in last


def test_the_guides_imports_work_from_a_bare_checkout(tmp_path: Path) -> None:
    """The package is found beside the facades, also where none is installed."""
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    code = (
        "import os, sys;"
        "sys.path[:] = [p for p in sys.path if not os.path.isdir(os.path.join(p, 'trueup'))];"
        "from src.strategy.reconciler import StateReconciler; import trueup;"
        "print(trueup.__file__)"
    )
    done = run_python(code, tmp_path, str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).is_relative_to(tmp_path)


# The import contracts. A copy of the package breaks each of them, and the linter must name each
# place; a contract that finds nothing in it is a contract in name only.

OFFENCES = {
    "core/quantity.py": ("import time", "trueup.core.quantity -> time"),
    "core/book/lifecycle.py": ("import os.path", "trueup.core.book.lifecycle -> os"),
    "core/model.py": ("import random", "trueup.core.model -> random"),
    "core/book/events.py": ("import logging", "trueup.core.book.events -> logging"),
    "core/recovery.py": ("import trueup.settings", "trueup.core.recovery -> trueup.settings"),
    "protocol/guide.py": ("import socket", "trueup.protocol.guide -> socket"),
    "runtime/bot/answers.py": ("import zmq", "trueup.runtime.bot.answers -> zmq"),
    "runtime/bot/views.py": ("import MetaTrader5", "trueup.runtime.bot.views -> MetaTrader5"),
    "gateway/client/link.py": (
        "import trueup.runtime.time.clock",
        "trueup.gateway.client.link -> trueup.runtime.time.clock",
    ),
    "core/book/diff.py": (
        "import trueup.core.sync.plan",
        "trueup.core.book.diff -> trueup.core.sync.plan",
    ),
    "gateway/terminal/calls.py": (
        "import trueup.gateway.server.front",
        "trueup.gateway.terminal.calls -> trueup.gateway.server.front",
    ),
    "runtime/time/machine_time.py": (
        "import trueup.runtime.bot.views",
        "trueup.runtime.time.machine_time -> trueup.runtime.bot.views",
    ),
    "sim/market/clock.py": (
        "import trueup.sim.process.playback",
        "trueup.sim.market.clock -> trueup.sim.process.playback",
    ),
    "lab/facts/facts.py": (
        "import trueup.lab.runs.run",
        "trueup.lab.facts.facts -> trueup.lab.runs.run",
    ),
    "lab/oracle/base/truth.py": (
        "import trueup.lab.oracle.judge",
        "trueup.lab.oracle.base.truth -> trueup.lab.oracle.judge",
    ),
    "cli/terminal/trade.py": (
        "import trueup.cli.operate.bot",
        "trueup.cli.terminal.trade -> trueup.cli.operate.bot",
    ),
    "journal/reading/table.py": (
        "import trueup.journal.writing.store",
        "trueup.journal.reading.table -> trueup.journal.writing.store",
    ),
    "conformance/examination/probe.py": (
        "import trueup.conformance.run",
        "trueup.conformance.examination.probe -> trueup.conformance.run",
    ),
    "doors/mt5/readings.py": (
        "import trueup.doors.mt5.session",
        "trueup.doors.mt5.readings -> trueup.doors.mt5.session",
    ),
    "doors/mcp/plain.py": ("import mcp", "trueup.doors.mcp.plain -> mcp"),
    "errors.py": ("import trueup.core.quantity", "trueup.errors -> trueup.core.quantity"),
    "runtime/story/audit.py": ("import src.config", "trueup.runtime.story.audit -> src"),
    "lab/oracle/promises/closing.py": (
        "import trueup.core.explain",
        "trueup.lab.oracle.promises.closing -> trueup.core.explain",
    ),
}


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--no-cache"],
        cwd=folder,
        env={"PYTHONPATH": f"{folder / 'src'}:{folder}", "PATH": "", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=100,
    )


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> subprocess.CompletedProcess[str]:
    """What the linter says of a copy in which every contract is broken."""
    folder = tmp_path_factory.mktemp("broken")
    shutil.copytree(ROOT / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / ".importlinter", folder)
    for name, (statement, _) in OFFENCES.items():
        path = folder / "src/trueup" / name
        path.write_text(f"{path.read_text(encoding='utf-8')}\n{statement}\n", encoding="utf-8")
    return lint(folder)


@needs_linter
def test_the_package_keeps_its_contracts(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / ".importlinter", tmp_path)
    done = lint(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


@needs_linter
@pytest.mark.parametrize("name", OFFENCES)
def test_an_import_across_a_contract_is_found_with_its_line(
    name: str, broken: subprocess.CompletedProcess[str]
) -> None:
    _, arrow = OFFENCES[name]
    assert broken.returncode != 0
    assert f"{arrow} (l." in " ".join(broken.stdout.split()), broken.stdout + broken.stderr


@needs_linter
def test_no_contract_is_one_in_name_only(broken: subprocess.CompletedProcess[str]) -> None:
    kept = [line for line in broken.stdout.splitlines() if line.strip().endswith(" KEPT")]
    assert not kept
