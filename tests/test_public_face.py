"""What users import: `trueup`, and its modules `testing`, `mt5` and `aio`; nothing else."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest

import trueup
from trueup import PortfolioManager, StateReconciler, testing

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FACE = {"trueup", "trueup.testing", "trueup.mt5", "trueup.aio", "trueup.events", "trueup.settings"}


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


def test_the_glossary_names_each_public_class_and_the_page_of_errors_each_error() -> None:
    names = {name: getattr(module, name) for module in (trueup, testing) for name in module.__all__}
    classes = {name: item for name, item in names.items() if inspect.isclass(item)}
    errors = {name for name, item in classes.items() if issubclass(item, BaseException)}
    for page, wanted in (("glossary", classes.keys() - errors), ("errors", errors)):
        text = (ROOT / f"docs/reference/{page}.md").read_text(encoding="utf-8")
        assert {name for name in wanted if f"`{name}`" not in text} == set()


def test_the_glossary_explains_each_word_once() -> None:
    text = (ROOT / "docs/reference/glossary.md").read_text(encoding="utf-8")
    cells = re.findall(r"^\| ([^|]+?) \|", text, re.MULTILINE)
    words = [word for cell in cells for word in cell.split(", ") if word not in ("word", "---")]
    assert sorted(set(words)) == sorted(words)


def test_the_index_of_the_documentation_has_every_page_and_no_other() -> None:
    folder = ROOT / "docs"
    text = (folder / "README.md").read_text(encoding="utf-8")
    linked = {path for path in re.findall(r"\]\(([^)]+\.md)\)", text) if "../" not in path}
    pages = {str(page.relative_to(folder).as_posix()) for page in folder.glob("*/*.md")}
    assert linked == pages


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_imports_from_the_face_alone(page: Path) -> None:
    for block in re.findall(r"```python.*?\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
        imported = re.findall(r"^\s*(?:from|import) (trueup[\w.]*)", block, re.MULTILINE)
        assert set(imported) <= FACE


def public_classes() -> list[type]:
    """Return the classes that users import, with the classes of this package that they extend."""
    named = [getattr(module, name) for module in (trueup, testing) for name in module.__all__]
    found = {
        base: None
        for item in named
        if inspect.isclass(item)
        for base in item.__mro__
        if base.__module__.split(".")[0] == "trueup"
    }
    return list(found)


def attributes_without_type(owner: type) -> Iterator[str]:
    """Yield public attributes whose type a type checker has to guess from an expression."""
    (tree,) = ast.parse(dedent(inspect.getsource(owner))).body
    assert isinstance(tree, ast.ClassDef)
    declared = {name for base in owner.__mro__ for name in vars(base).get("__annotations__", {})}
    declared |= {
        node.target.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Attribute)
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.Assign) or isinstance(node.value, ast.Constant | ast.Name):
            # The type of a literal or of a parameter needs no guess.
            continue
        for target in (part for each in node.targets for part in ast.walk(each)):
            if not isinstance(target, ast.Attribute) or not isinstance(target.ctx, ast.Store):
                continue
            if ast.unparse(target.value) != "self" or target.attr.startswith("_"):
                continue
            if target.attr not in declared:
                yield f"{owner.__name__}.{target.attr}"


@pytest.mark.parametrize("owner", public_classes(), ids=lambda owner: owner.__name__)
def test_each_attribute_and_method_of_a_public_class_has_its_type(owner: type) -> None:
    missing, source = list(attributes_without_type(owner)), inspect.getsourcefile(owner)
    for name, member in vars(owner).items():
        function = member.fget if isinstance(member, property) else member
        code = getattr(inspect.unwrap(function), "__code__", None) if callable(function) else None
        if not callable(function) or code is None or code.co_filename != source:
            # Not a method, or a method that Python itself made.
            continue
        signature = inspect.signature(function)
        parameters = list(signature.parameters.values())[1:]
        if any(each.annotation is each.empty for each in parameters):
            missing.append(f"{owner.__name__}.{name}: a parameter")
        if signature.return_annotation is signature.empty:
            missing.append(f"{owner.__name__}.{name}: the result")
    assert not missing


def test_a_type_checker_refuses_a_side_that_does_not_exist() -> None:
    """mypy reports an `ignore` that nothing needs, so this test fails there if it accepts "bye"."""
    with pytest.raises(ValueError, match="side='bye' is not valid"):
        PortfolioManager().submit("bye", 0.01)  # type: ignore[arg-type]


def test_a_type_checker_knows_the_keys_of_summaries_status_and_audit_entries() -> None:
    class Silent:
        def get_positions(self) -> dict[str, object]:
            return {"status": "SUCCESS", "positions": []}

    pm = PortfolioManager()
    reconciler = StateReconciler(pm, Silent(), 60.0)
    with pytest.raises(KeyError):
        pm.get_position_summary()["lots"]  # type: ignore[typeddict-item]
    with pytest.raises(KeyError):
        reconciler.get_status()["healthy"]  # type: ignore[typeddict-item]
    assert [entry["actoin"] for entry in reconciler.get_audit_trail()] == []  # type: ignore[typeddict-item]
    assert [row["lots"] for row in pm.get_order_history()] == []  # type: ignore[typeddict-item]
