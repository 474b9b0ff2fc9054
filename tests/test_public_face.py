"""What users import: `trueup` and `trueup.testing`, and nothing else."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import trueup
from trueup import testing

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FACE = {"trueup", "trueup.testing"}


def test_each_public_name_is_there_and_listed_once() -> None:
    assert sorted(set(trueup.__all__)) == trueup.__all__
    assert set(trueup.__all__) <= set(dir(trueup))
    for name in trueup.__all__:
        assert getattr(trueup, name) is not None
    for name in testing.__all__:
        assert getattr(testing, name) is not None


def test_type_checkers_see_the_names_that_are_imported_at_run_time() -> None:
    """The imports under TYPE_CHECKING and the table name the same things of the same modules."""
    tree = ast.parse(Path(trueup.__file__).read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("trueup."):
            module = __import__(node.module or "", fromlist=["_"])
            for alias in node.names:
                assert getattr(trueup, alias.name) is getattr(module, alias.name)
    typed = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("trueup.")
        for alias in node.names
    }
    assert typed == set(trueup.__all__) - {"__version__"}


def test_a_name_that_is_not_there_is_said_as_python_says_it() -> None:
    with pytest.raises(AttributeError, match="module 'trueup' has no attribute 'Portfolio'"):
        trueup.Portfolio  # noqa: B018


def loaded_by(program: str) -> list[str]:
    """Return the modules of ours, and pydantic, that a program has loaded at its end."""
    told = "; print(*sorted(m for m in sys.modules if m.split('.')[0] in ('trueup', 'pydantic')))"
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; {program}{told}"],
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    return done.stdout.split()


def test_importing_the_package_imports_nothing_of_it() -> None:
    assert loaded_by("import trueup") == ["trueup"]


def test_the_three_classes_of_a_bot_import_no_pydantic() -> None:
    names = "PortfolioManager, StateReconciler, ExecutionGateway"
    loaded = loaded_by(f"from trueup import {names}")
    assert "trueup.runtime.sync.reconciler" in loaded
    assert not [name for name in loaded if name.startswith("pydantic")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_imports_from_the_face_alone(page: Path) -> None:
    for block in re.findall(r"```python.*?\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
        imported = re.findall(r"^\s*(?:from|import) (trueup[\w.]*)", block, re.MULTILINE)
        assert set(imported) <= FACE
