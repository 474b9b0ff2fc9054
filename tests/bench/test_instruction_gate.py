"""`make gate`: a tree that needs more instructions than its merge base is refused."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.instruction_gate import ACCEPTED, ROOT, Failed, Trees, accepted_costs, compare, gate

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="counts on Linux only")

Both = tuple[dict[str, int], dict[str, int]]


class Checkout:
    """A git repository whose only module says how many instructions it needs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "src").mkdir(parents=True)
        self.git("init", "--quiet", "--initial-branch=main")
        self.commit(1_000)

    def git(self, *words: str) -> None:
        names = ("-c", "user.name=Test", "-c", "user.email=test@example.com")
        subprocess.run(["git", "-C", self.folder, *names, *words], check=True, capture_output=True)

    def commit(self, cost: int) -> None:
        (self.folder / "src" / "cost").write_text(f"{cost}\n", encoding="ascii")
        self.git("add", ".")
        self.git("commit", "--quiet", "--message", f"Cost {cost}")

    def accept(self, text: str) -> None:
        file = self.folder / ACCEPTED
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8")

    def branch(self, cost: int) -> None:
        self.git("checkout", "--quiet", "-b", "faster-or-slower")
        self.commit(cost)


def count(trees: Trees) -> Both:
    """Count what each tree says of itself."""
    base, ours = (int((tree / "cost").read_text(encoding="ascii")) for tree in trees)
    return {"sync": base, "fold": 7}, {"sync": ours, "fold": 7}


def never(trees: Trees) -> Both:
    """Fail: nothing is to be counted."""
    raise AssertionError(trees)


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path / "checkout")


@pytest.mark.parametrize(("cost", "status"), [(1_050, 1), (1_031, 1), (1_029, 0), (900, 0)])
def test_a_tree_that_is_more_than_three_percent_slower_is_red(
    checkout: Checkout, cost: int, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    checkout.branch(cost)
    assert gate(checkout.folder, "", count) == status
    said = capsys.readouterr().out
    assert f"{'RED' if status else 'ok '}  sync: {cost / 1_000 - 1:+.2%}" in said
    assert "ok   fold: +0.00%" in said


def test_an_accepted_cost_allows_one_change_and_no_later_one(
    checkout: Checkout, capsys: pytest.CaptureFixture[str]
) -> None:
    checkout.accept('[sync]\nmost = 0.10\nwhy = "limits are checked"\n')
    checkout.branch(1_090)
    assert gate(checkout.folder, "", count) == 0
    assert "accepted up to 10%: limits are checked" in capsys.readouterr().out
    checkout.commit(1_110)
    assert gate(checkout.folder, "", count) == 1
    # The next change has this one as its base: the entry is used up.
    checkout.git("branch", "--force", "main")
    checkout.commit(1_190)
    assert gate(checkout.folder, "", count) == 1


def test_the_accepted_costs_of_this_tree_name_paths_that_are_counted() -> None:
    command = [sys.executable, "-m", "benchmarks._paths"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert accepted_costs(ROOT, "none").keys() <= set(done.stdout.splitlines()[1:])


@pytest.mark.parametrize(
    "text", ["[sync", "[sync]\nmost = 0.1\n", 'sync = "much"\n', '[sync]\nmost = "x"\nwhy = "y"\n']
)
def test_accepted_costs_that_cannot_be_read_are_named(checkout: Checkout, text: str) -> None:
    checkout.accept(text)
    checkout.branch(1_090)
    with pytest.raises(SystemExit, match="each path is a table with most"):
        gate(checkout.folder, "", count)


def test_the_base_is_where_the_branch_left_main(checkout: Checkout) -> None:
    checkout.branch(1_020)
    checkout.git("checkout", "--quiet", "main")
    checkout.commit(500)
    checkout.git("checkout", "--quiet", "faster-or-slower")
    assert gate(checkout.folder, "", count) == 0
    assert gate(checkout.folder, "main", count) == 1


def test_main_alone_passes_and_says_so(
    checkout: Checkout, capsys: pytest.CaptureFixture[str]
) -> None:
    assert gate(checkout.folder, "", never) == 0
    assert "no merge base but this commit itself" in capsys.readouterr().out


def test_a_clone_without_the_base_passes_and_says_so(
    checkout: Checkout, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkout.branch(2_000)
    shallow = tmp_path / "shallow"
    clone = ["git", "clone", "--quiet", "--depth=1", f"file://{checkout.folder}", str(shallow)]
    subprocess.run(clone, check=True, capture_output=True)
    assert gate(shallow, "", never) == 0
    assert "no merge base but this commit itself" in capsys.readouterr().out


def test_a_folder_without_git_passes_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert gate(tmp_path, "", never) == 0
    assert "passed without a comparison" in capsys.readouterr().out


def test_a_machine_without_valgrind_passes_and_says_so(
    checkout: Checkout,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    checkout.branch(2_000)
    folder = tmp_path / "programs"
    folder.mkdir()
    for place in os.environ["PATH"].split(os.pathsep):
        if (git := Path(place) / "git").exists():
            (folder / "git").symlink_to(git)
            break
    monkeypatch.setenv("PATH", str(folder))
    assert gate(checkout.folder, "") == 0
    assert "valgrind is not installed" in capsys.readouterr().out


def test_a_base_that_cannot_be_counted_passes_and_says_so(
    checkout: Checkout, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(trees: Trees) -> Both:
        raise Failed("it is too old")

    checkout.branch(2_000)
    assert gate(checkout.folder, "", fails) == 0
    assert "passed without a comparison: it is too old" in capsys.readouterr().out


def test_an_unknown_base_is_named(checkout: Checkout) -> None:
    with pytest.raises(SystemExit, match="'nowhere' is no commit here"):
        gate(checkout.folder, "nowhere", never)


def test_a_path_that_only_one_tree_can_run() -> None:
    lines, is_red = compare({"sync": 10}, {"sync": 10, "order": 5}, {})
    assert not is_red
    assert "  new  order: 5 instructions; the base cannot run it" in lines
    lines, is_red = compare({"sync": 10, "order": 5}, {"sync": 10}, {})
    assert is_red
    assert "  RED  order: this tree cannot run it, and the base can" in lines


def test_every_path_runs() -> None:
    command = [sys.executable, "-m", "benchmarks._paths"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    place, *names = done.stdout.splitlines()
    assert Path(place) == ROOT / "src" / "trueup" / "__init__.py"
    assert names == [
        "unchanged sync",
        "full sync",
        "snapshot",
        "order",
        "recovery",
        "journal append",
        "fold",
    ]
