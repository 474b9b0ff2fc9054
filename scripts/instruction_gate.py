"""Compare the instructions of this tree with those of its merge base: `make gate`.

Times of a shared machine say little about a change of a few percent; the number of instructions of
a deterministic piece of work says it in one run. Valgrind's callgrind counts them for the paths of
`benchmarks/_paths.py`, of both trees, in the same environment: fixed hash seed, no randomised
addresses. A path that needs over 3 % more than at the merge base makes the gate red.

A change that is worth its cost says so in `benchmarks/accepted_costs.toml`. An entry holds until
the merge base has the same entry, so that it allows this one change and no later one.

Where nothing can be compared, the gate says why and passes: without a merge base other than the
commit itself, without valgrind, and for a path that the older tree cannot run.
"""

from __future__ import annotations

import argparse
import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
PATHS = ("-m", "benchmarks._paths")
MARK = "getppid"
"""The C function whose calls mark the beginning and the end of a path."""
ALLOWED = 0.03
LONGEST_SEC = 1_800
# Where the main line may be, in this order.
MAIN_LINES = ("origin/HEAD", "origin/main", "main")

ACCEPTED = "benchmarks/accepted_costs.toml"

Counts = Mapping[str, int]
"""Instructions by path."""


class Accepted(NamedTuple):
    """A cost that a change may have."""

    most: float
    """The largest accepted part more, such as 0.10."""
    why: str


Costs = Mapping[str, Accepted]
"""Accepted costs by path."""


class Failed(Exception):
    """A tree could not be counted; the text says why."""


class Trees(NamedTuple):
    """The folders with the packages of both trees."""

    base: Path
    ours: Path


def compare(base: Counts, ours: Counts, accepted: Costs) -> tuple[list[str], bool]:
    """Return a line for each path, and whether any path needs too many instructions more."""
    lines, is_red = [], False
    for name, count in ours.items():
        if not base.get(name):
            lines.append(f"  new  {name}: {count:,} instructions; the base cannot run it")
            continue
        change = count / base[name] - 1
        cost = accepted.get(name)
        too_many = change > max(ALLOWED, 0 if cost is None else cost.most)
        is_red = is_red or too_many
        word = "RED " if too_many else "ok  "
        why = f"; accepted up to {cost.most:.0%}: {cost.why}" if cost and change > ALLOWED else ""
        figures = f"{base[name]:,} to {count:,} instructions"
        lines.append(f"  {word} {name}: {change:+.2%} ({figures}){why}")
    for name in base.keys() - ours.keys():
        is_red = True
        lines.append(f"  RED  {name}: this tree cannot run it, and the base can")
    return lines, is_red


def merge_base(root: Path, wanted: str = "") -> str:
    """Return the commit to compare with, or "" where there is none but the present one."""
    head = _git(root, "rev-parse", "HEAD")
    if not head:
        return ""
    if wanted:
        found = _git(root, "rev-parse", f"{wanted}^{{commit}}")
        if not found:
            raise SystemExit(f"{wanted!r} is no commit here: give --base a commit or a branch.")
        return found
    for line in MAIN_LINES:
        base = _git(root, "merge-base", "HEAD", line)
        if base and base != head:
            return base
    return ""


def accepted_costs(root: Path, base: str) -> Costs:
    """Return the costs that a tree accepts and its base does not know yet.

    Raises:
        SystemExit: the file cannot be read; the message says what is wrong.
    """
    file = root / ACCEPTED
    ours = _costs(file.read_text(encoding="utf-8")) if file.exists() else {}
    known = _costs(_git(root, "show", f"{base}:{ACCEPTED}"))
    return {name: cost for name, cost in ours.items() if cost != known.get(name)}


def _costs(text: str) -> Costs:
    try:
        return {
            name: Accepted(float(entry["most"]), str(entry["why"]))
            for name, entry in tomllib.loads(text).items()
        }
    except (tomllib.TOMLDecodeError, KeyError, TypeError, ValueError) as error:
        valid = "each path is a table with most, such as 0.10, and why"
        raise SystemExit(f"{ACCEPTED} cannot be read ({error}): {valid}.") from None


def _git(root: Path, *words: str) -> str:
    """Return what git prints, or "" if git fails or is not there."""
    command = ["git", "-C", str(root), *words]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def unpack(root: Path, commit: str, folder: Path) -> Path:
    """Write the package of a commit below a folder; return the folder to import it from."""
    command = ["git", "-C", str(root), "archive", "--format=zip", commit, "src"]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        raise Failed(done.stderr.decode(errors="replace").strip() or "git archive failed")
    with zipfile.ZipFile(io.BytesIO(done.stdout)) as archive:
        archive.extractall(folder)
    return folder / "src"


def count_both(trees: Trees) -> tuple[Counts, Counts]:
    """Count the instructions of both trees, at the same time; our tree's are empty if it fails.

    Raises:
        Failed: the base cannot be counted, so there is nothing to compare with.
    """
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        base = stack.enter_context(closing(_Counting(trees.base, Path(name) / "base")))
        ours = stack.enter_context(closing(_Counting(trees.ours, Path(name) / "ours")))
        before = base.result()
        try:
            return before, ours.result()
        except Failed as error:
            print(f"gate: {error}", file=sys.stderr)
            return before, {}


class _Counting:
    """One tree under callgrind.

    Args:
        tree: the folder to import the package from.
        out: where callgrind writes; it appends a number.
    """

    def __init__(self, tree: Path, out: Path) -> None:
        self._tree, self._out = tree, out
        self._environment = {
            **{name: value for name, value in os.environ.items() if "PYTHON" not in name},
            "PYTHONPATH": str(tree),
            "PYTHONHASHSEED": "0",
        }
        self._child: subprocess.Popen[str] | None = None
        # A run without callgrind first: it compiles the modules, which takes minutes under it.
        self._fault = self._bare()
        if not self._fault:
            counter = ("valgrind", "--tool=callgrind", f"--dump-before={MARK}")
            self._child = self._start(
                *_fixed_addresses(), *counter, f"--callgrind-out-file={out}", sys.executable
            )

    def _start(self, *program: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*program, *PATHS],
            cwd=ROOT,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def _bare(self) -> str:
        """Run the paths as they are; return what is wrong with this tree, or an empty text."""
        child = self._start(sys.executable)
        printed, said = child.communicate(timeout=LONGEST_SEC)
        last = said.strip().splitlines()[-1:]
        if child.returncode:
            return f"{self._tree} cannot run the paths: {''.join(last)}"
        if not Path(printed.splitlines()[0]).is_relative_to(self._tree):
            return f"{printed.splitlines()[0]} was imported in place of {self._tree}"
        sys.stderr.write("".join(f"  {self._tree}: {line}\n" for line in last))
        return ""

    def result(self) -> Counts:
        """Wait for the end, and return the instructions by path.

        Raises:
            Failed: this tree cannot be counted.
        """
        if self._child is None:
            raise Failed(self._fault)
        printed, said = self._child.communicate(timeout=LONGEST_SEC)
        if self._child.returncode:
            raise Failed(f"valgrind failed for {self._tree}: {said.strip()[-400:]}")
        names = printed.splitlines()[1:]
        # Each path has two files: its preparation, until the first mark, and then the path itself.
        files = (self._out.with_name(f"{self._out.name}.{2 * n}") for n in range(1, len(names) + 1))
        return {name: _total(file) for name, file in zip(names, files, strict=True)}

    def close(self) -> None:
        """End the program if it still runs."""
        if self._child is not None and self._child.poll() is None:
            self._child.kill()
            self._child.communicate()


def _total(file: Path) -> int:
    """Return the instructions in a file of callgrind."""
    found = re.search(r"^totals: (\d+)$", file.read_text(encoding="utf-8", errors="replace"), re.M)
    if found is None:
        raise Failed(f"{file.name} has no total")
    return int(found[1])


def _fixed_addresses() -> list[str]:
    """Return the command that switches random addresses off, where the machine lets us."""
    command = ["setarch", "-R"]
    if shutil.which("setarch") and not subprocess.run([*command, "true"], check=False).returncode:
        return command
    return []


def gate(
    root: Path, wanted: str, count: Callable[[Trees], tuple[Counts, Counts]] = count_both
) -> int:
    """Compare a checkout with its merge base; print the comparison, and return 1 if it is red."""
    base = merge_base(root, wanted)
    if not base:
        print("gate: passed without a comparison: no merge base but this commit itself")
        return 0
    if count is count_both and shutil.which("valgrind") is None:
        print("gate: passed without a comparison: valgrind is not installed")
        return 0
    with tempfile.TemporaryDirectory() as name:
        try:
            before, after = count(Trees(unpack(root, base, Path(name)), root / "src"))
        except (Failed, OSError, subprocess.SubprocessError) as error:
            print(f"gate: passed without a comparison: {error}")
            return 0
    lines, is_red = compare(before, after, accepted_costs(root, base))
    print(f"gate: instructions against {base[:12]}, at most {ALLOWED:.0%} more")
    print("\n".join(lines))
    return int(is_red)


def main(words: list[str]) -> int:
    """Run the gate for this checkout."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--base", default="", help="compare with this commit, not the merge base")
    return gate(ROOT, parser.parse_args(words).base)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
