"""No module imports another that leads back to it, for types alone or at run time.

The contracts of `.importlinter` say which package may import which; a circle inside a package is
what they cannot see.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[2] / "src" / "trueup"


def modules_of(package: Path) -> dict[str, ast.Module]:
    """Every module of a package, read."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = ast.parse(path.read_text(encoding="utf-8"))
    return found


def imports_of(body: list[ast.stmt], modules: Mapping[str, object]) -> Iterator[str]:
    """The modules of the package that are imported at the top of a module, for types as well."""
    for node in body:
        if isinstance(node, ast.If):
            yield from imports_of(node.body, modules)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in modules)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                if full in modules or node.module in modules:
                    yield full if full in modules else node.module


def circles_in(package: Path) -> list[list[str]]:
    """Groups of modules of which each leads to all others of its group."""
    modules = modules_of(package)
    arrows = {name: set(imports_of(tree.body, modules)) for name, tree in modules.items()}
    # The public face imports everything for type checkers, and nothing at run time.
    arrows[package.name] = set()
    arrows = _leading_to_circles(arrows)
    reached = {name: _reached(name, arrows) for name in arrows}
    groups = {
        frozenset(other for other in reached[name] if name in reached[other])
        for name in arrows
        if name in reached[name]
    }
    return sorted(sorted(group) for group in groups)


def _leading_to_circles(arrows: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """Leave out, again and again, what leads to nothing that is left."""
    left = {name: to & arrows.keys() for name, to in arrows.items()}
    while any(not to for to in left.values()):
        kept = {name for name, to in left.items() if to}
        left = {name: left[name] & kept for name in kept}
    return left


def _reached(name: str, arrows: Mapping[str, set[str]]) -> set[str]:
    found: set[str] = set()
    left = list(arrows[name])
    while left:
        one = left.pop()
        if one not in found:
            found.add(one)
            left += arrows[one]
    return found


def test_no_circle_of_imports_is_in_the_package() -> None:
    assert circles_in(PACKAGE) == []


def test_a_circle_is_found_and_named_also_one_for_types_alone(tmp_path: Path) -> None:
    package = tmp_path / "p"
    package.mkdir()
    (package / "__init__.py").touch()
    types = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from p.a import A\n"
    (package / "a.py").write_text("from p import b\n", encoding="utf-8")
    (package / "b.py").write_text("from p.c import C\n", encoding="utf-8")
    (package / "c.py").write_text(types, encoding="utf-8")
    (package / "d.py").write_text("import p.a\n", encoding="utf-8")
    assert circles_in(package) == [["p.a", "p.b", "p.c"]]
