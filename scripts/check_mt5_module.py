"""Compare what we know of the official MetaTrader5 module with what its publishers ship.

    pip download MetaTrader5 --no-deps --only-binary=:all: \\
        --platform win_amd64 --python-version 3.11
    pip download metatrader5-stubs --no-deps
    python scripts/check_mt5_module.py *.whl

Reads wheels and runs nothing of them, so it works on any system. Constants are evaluated from the
source of the module's Python file (or of the stubs); names of functions and fields are looked for
in the compiled part. Exit code 1 when something differs from tests/data/mt5_api.json.
"""

from __future__ import annotations

import ast
import json
import sys
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
FACTS: dict[str, Any] = json.loads((ROOT / "tests/data/mt5_api.json").read_text("utf-8"))
OPERATORS = {ast.BitOr: int.__or__, ast.LShift: int.__lshift__, ast.Add: int.__add__}


def constants(source: str) -> dict[str, object]:
    """Return the constants that a module's source assigns: numbers, or sums of them."""
    found: dict[str, object] = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign):
            target, value = node.targets[0], node.value
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            target, value = node.target, node.value
        else:
            continue
        if isinstance(target, ast.Name):
            number = _number(value, found)
            if number is not None:
                found[target.id] = number
    return found


def _number(node: ast.expr, known: dict[str, object]) -> int | None:
    if isinstance(node, ast.Constant):
        return node.value if type(node.value) is int else None
    if isinstance(node, ast.Name):
        value = known.get(node.id)
        return value if isinstance(value, int) else None
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        operand = _number(node.operand, known)
        return None if operand is None else -operand
    if isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
        left, right = _number(node.left, known), _number(node.right, known)
        if left is not None and right is not None:
            return OPERATORS[type(node.op)](left, right)
    return None


def classes(source: str) -> dict[str, list[str]]:
    """Return the annotated fields of each class, in order."""
    return {
        node.name: [
            field.target.id
            for field in node.body
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        ]
        for node in ast.parse(source).body
        if isinstance(node, ast.ClassDef)
    }


def differences(wheel: Path) -> Iterator[str]:
    """Yield what a wheel has otherwise than our facts."""
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if name.endswith(("__init__.py", "__init__.pyi")):
                yield from _of_source(archive.read(name).decode("utf-8"))
            elif name.endswith(".pyd"):
                yield from _of_compiled(archive.read(name))


def _of_source(source: str) -> Iterator[str]:
    theirs = constants(source)
    for name, value in FACTS["constants"].items():
        if theirs.get(name) != value:
            yield f"constant {name} is {theirs.get(name)} there, and {value} here"
    for name in sorted(theirs.keys() - FACTS["constants"].keys()):
        yield f"constant {name} = {theirs[name]} is there, and not here"
    for name, fields in classes(source).items():
        ours = FACTS["namedtuples"].get(name)
        if fields and ours is not None and fields != ours:
            yield f"{name} has the fields {fields} there, and {ours} here"


def _of_compiled(binary: bytes) -> Iterator[str]:
    def missing(names: Iterable[str]) -> list[str]:
        return [name for name in names if name.encode() + b"\0" not in binary]

    for name in missing(FACTS["functions"]):
        yield f"function {name} is not there"
    for kind, fields in FACTS["namedtuples"].items():
        for name in missing(fields):
            yield f"field {name} of {kind} is not there"


def main(paths: list[str]) -> int:
    """Compare each wheel; return the exit code."""
    if not paths:
        print((__doc__ or "").strip())
        return 2
    found = [(path, difference) for path in paths for difference in differences(Path(path))]
    for path, difference in found:
        print(f"{Path(path).name}: {difference}")
    print(f"{len(paths)} compared, {len(found)} differences.")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
