"""Change one rule of a package at a time, for a sample of all changes, and see that a test fails.

    make mutation-sample ARGS="runtime"                     400 changes, drawn by seed 1
    make mutation-sample ARGS="journal --sample 100"        the first 100 of them
    make mutation-sample ARGS="journal --begin 100"         from the hundred and first on
    make mutation-sample ARGS="gateway --only 'NAME...'"    these changes, after a test was written

The changes are mutmut's. A change runs the tests that reach it in the process of the tests, the
shortest first, so tests that start processes count little. The tree is copied to `mutants/PACKAGE`,
so that the results of `make mutation` stay. The closing lines list the changes that no test
noticed, each with its difference.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from mutmut.mutation.data import SourceFileMutationData
from mutmut.mutation.diff_apply import get_diff_for_mutant
from mutmut.mutation.file_mutation import mutate_file_contents
from mutmut.stats import status_by_exit_code
from mutmut.utils.format_utils import get_mutant_name

ROOT = Path(__file__).resolve().parents[1]
COPIED = ("src", "tests", "docs", "scripts", "benchmarks", "README.md", "CONTRIBUTING.md")
COPIED_TOO = (
    *("SECURITY.md", "CHANGELOG.md", "LICENSE", "Makefile"),
    *("requirements.lock", "requirements-run.lock"),
)
# What decides, and the tests that reach it in their own process.
SOURCES = {
    "runtime": ("src/trueup/runtime/*",),
    "gateway": ("src/trueup/gateway/desk/*", "src/trueup/gateway/record/*"),
    "journal": ("src/trueup/journal/*",),
}
TESTS = {
    "runtime": (
        *("tests/runtime", "tests/orders", "tests/scenarios", "tests/cli", "tests/paper"),
        *("tests/limits", "tests/modes", "tests/assistants/test_wishing.py"),
    ),
    "gateway": ("tests/gateway", "tests/protocol", "tests/orders"),
    "journal": ("tests/journal", "tests/orders/test_restored_journals.py"),
}
# These start processes, or wait for deadlines of real sockets.
IGNORED = (
    *("*/test_*_process*.py", "*/test_*_kills.py", "*/test_*_command*.py", "*/test_security_*.py"),
    *("*/gateway/test_worker*.py", "*/test_*_sockets.py", "*/test_front.py", "*/test_fair_*.py"),
    *("*/cli/test_books_of_a_folder.py", "*/cli/test_console_encodings.py"),
    *("*/cli/test_no_traceback.py", "*/cli/test_reconcile.py", "*/test_*_through_every_door.py"),
)
# This test lists the methods of classes, and mutmut adds its changes to them.
LEFT_OUT = "tests/runtime/test_threads.py::test_what_may_change_a_book_takes_turns"
# While mutmut notes which test reaches which function, processes of the tests must not: they run in
# other folders, where mutmut finds no settings.
FOR_PROCESSES = """

if os.environ.get("MUTANT_UNDER_TEST") == "stats":
    del os.environ["MUTANT_UNDER_TEST"]
"""
NOTICED = frozenset({"killed", "timeout", "segfault", "caught by type check", "suspicious"})


def copy_tree(package: str) -> Path:
    """Copy what the tests need to the package's folder, with mutmut set to this package."""
    folder = ROOT / "mutants" / f"of_{package}"
    left_out = shutil.ignore_patterns("__pycache__", ".venv", "mutants")
    for name in (*COPIED, *COPIED_TOO):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=left_out, dirs_exist_ok=True)
        else:
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    with (folder / "tests" / "conftest.py").open("a", encoding="utf-8") as conftest:
        conftest.write(FOR_PROCESSES)
    settings = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    own = {
        "source_paths": ["src"],
        "only_mutate": list(SOURCES[package]),
        "also_copy": [name for name in (*COPIED, *COPIED_TOO) if name not in ("src", "tests")],
        "pytest_add_cli_args": [
            "--hypothesis-profile=mutation",
            f"--deselect={LEFT_OUT}",
            *(f"--ignore-glob={pattern}" for pattern in IGNORED),
        ],
        "pytest_add_cli_args_test_selection": list(TESTS[package]),
        "timeout_multiplier": 5.0,
    }
    lines = "".join(f"{name} = {value!r}\n" for name, value in own.items())
    lines += "use_git_change_detection = false\n"
    changed = re.sub(r"\[tool\.mutmut\]\n(?:.+\n)*", f"[tool.mutmut]\n{lines}", settings)
    (folder / "pyproject.toml").write_text(changed, encoding="utf-8")
    return folder


def every_change(folder: Path, package: str) -> dict[str, Path]:
    """Return the names of all changes of a package, each with its file."""
    found: dict[str, Path] = {}
    for pattern in SOURCES[package]:
        for path in sorted((folder / pattern).parent.rglob("*.py")):
            file = path.relative_to(folder)
            code = path.read_text(encoding="utf-8")
            names = mutate_file_contents(str(file), code).mutant_names
            found |= {get_mutant_name(file, name): file for name in names}
    return found


def report(changes: dict[str, Path], chosen: Sequence[str]) -> float:
    """Print what became of the changes, and return the share (%) that a test noticed."""
    data: dict[Path, SourceFileMutationData] = {}
    became: dict[str, str] = {}
    for name in chosen:
        file = changes[name]
        if file not in data:
            data[file] = SourceFileMutationData(path=file)
            data[file].load()
        became[name] = status_by_exit_code[data[file].exit_code_by_key.get(name)]
    for name, status in became.items():
        if status not in NOTICED:
            print(f"\n# {name}: {status}")
            print(get_diff_for_mutant(name, path=changes[name]))
    counts = Counter(became.values())
    noticed = sum(counts[status] for status in NOTICED)
    share = 100 * noticed / max(1, len(chosen))
    print(f"\n{len(chosen)} of {len(changes)} changes: {noticed} noticed ({share:.1f} %); ", end="")
    print(", ".join(f"{count} {status}" for status, count in counts.most_common()))
    return share


def main() -> int:
    """Draw the sample, run its changes, and tell which were not noticed."""
    arguments = argparse.ArgumentParser(description="See that a test fails when a rule is changed.")
    arguments.add_argument("package", choices=sorted(SOURCES))
    arguments.add_argument("--sample", type=int, default=400, help="how many changes")
    arguments.add_argument("--begin", type=int, default=0, help="how many of the drawn to skip")
    arguments.add_argument("--seed", type=int, default=1, help="which changes are drawn")
    arguments.add_argument("--only", nargs="+", default=(), help="run these changes alone")
    arguments.add_argument("--jobs", type=int, default=1, help="changes that run at a time")
    given = arguments.parse_args()
    folder = copy_tree(given.package)
    changes = every_change(folder, given.package)
    drawn = sorted(changes)
    random.Random(given.seed).shuffle(drawn)
    chosen = list(given.only) or drawn[given.begin : given.begin + given.sample]
    program = Path(sys.executable).with_name("mutmut")
    command = [str(program), "run", "--max-children", str(given.jobs), *chosen]
    os.chdir(folder)
    done = subprocess.run(command, check=False)
    if done.returncode:
        return done.returncode
    report(changes, chosen)
    return 0


if __name__ == "__main__":
    sys.exit(main())
