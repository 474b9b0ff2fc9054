"""The walk-throughs of the documentation, in the folder of a fresh clone."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.journal.conftest import postgres_server
from tests.journal.postgres_server import PostgresServer
from tests.support.walk import Walk, blocks

ROOT = Path(__file__).resolve().parents[2]
__all__ = ["postgres_server"]
PAGES = ROOT / "docs" / "walk-throughs"
LOCKS = ("requirements-run.lock", "requirements.lock", "pyproject.toml")

pytestmark = [
    pytest.mark.timeout(400),
    pytest.mark.skipif(sys.platform == "win32", reason="the pages are for a shell of POSIX"),
]


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A folder with the files that a clone has, uncommitted changes among them.

    What `make setup` has installed is lent to it, so `make` finds nothing to fetch; and what Python
    has compiled of this checkout already, which a clone compiles at its first command.
    """
    for lock in LOCKS:
        installed = Path(sys.prefix) / f".{lock}"
        if not installed.exists() or installed.read_bytes() != (ROOT / lock).read_bytes():
            # `make` in the clone would make this environment anew.
            pytest.skip("needs the environment that `make setup` makes of this checkout")
    folder = tmp_path / "trueup"
    for name in _kept_files():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        # With its time, by which Python knows what it has compiled.
        shutil.copy2(ROOT / name, folder / name)
    for compiled in (ROOT / "src").rglob(f"*.{sys.implementation.cache_tag}.pyc"):
        (folder / compiled.relative_to(ROOT)).parent.mkdir(exist_ok=True)
        shutil.copy2(compiled, folder / compiled.relative_to(ROOT))
    (folder / ".venv").symlink_to(sys.prefix)
    return folder


def _kept_files() -> list[str]:
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, stdout=subprocess.PIPE, check=True, encoding="utf-8")
    return [name for name in names.stdout.split("\0") if name and (ROOT / name).exists()]


def test_a_trader_runs_the_demo_writes_a_bot_and_decides(clone: Path) -> None:
    page = (PAGES / "trader.md").read_text(encoding="utf-8")
    with Walk(clone, {"SYNC_INTERVAL_SEC": "1"}) as walk:
        walk.follow(page)
    (strategy,) = [block for block in blocks(page) if block.title == "my_bot.py"]
    assert strategy.text.count("\n") <= 40


def test_a_person_at_night_reads_what_happened_and_what_to_do(clone: Path) -> None:
    with Walk(clone) as walk:
        walk.follow((PAGES / "night.md").read_text(encoding="utf-8"))


def test_a_quant_runs_three_strategies_in_postgresql_and_reads_the_deals(
    clone: Path, postgres_server: PostgresServer
) -> None:
    pytest.importorskip("pandas")
    with Walk(clone) as walk:
        walk.bound["postgresql://quant:secret@localhost/trading"] = postgres_server.new_database()
        walk.follow((PAGES / "quant.md").read_text(encoding="utf-8"))
