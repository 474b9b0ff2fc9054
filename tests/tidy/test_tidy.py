"""Habits that no linter knows. The exceptions are data, each in a named place."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "trueup"

# Where a rule does not hold, as path prefixes under src/trueup. Each rule: what it is, what it
# looks like, where it is looked for, and who is excepted.
# The thread that renews claims waits for dates; what it does with them gets the time.
CLOCK = (
    *("runtime/time/clock.py", "runtime/time/machine_time.py"),
    "gateway/client/renewals.py",
)
CHANCE = ("sim/", "lab/")
# A run needs a name that no other run has; both take one from outside for a simulation.
NAMES_OF_RUNS = (
    *("gateway/client/execution_gateway.py", "runtime/bot/portfolio.py"),
    "doors/fleet/node.py",
)
CATCH_ALL = (
    *("cli/process.py", "logs.py", "doors/alerts/receivers.py", "doors/page/app.py"),
    *("gateway/server/front.py", "runtime/bot/answers.py", "runtime/sync/sources.py"),
    *("runtime/trading/strategy_loading.py", "runtime/trading/own_code.py"),
    "runtime/trading/own_strategy.py",
    # A run that breaks off is told with its seed.
    *("lab/runs/run.py", "lab/fleet/run.py", "lab/fleet/tasks.py"),
    # What fails for one account must not end the others.
    *(
        "doors/accounts/machine.py",
        "doors/accounts/process_control.py",
        "gateway/client/renewals.py",
    ),
    # Without heartbeats all accounts of a node would go to others.
    *("doors/fleet/node.py", "doors/fleet/telling.py"),
    # An answer that nobody gives would be waited for each time anew.
    "doors/page/fleet/worker.py",
    # The rule of one position: what raises there is that position's hold.
    "core/look/outcome.py",
)
RULES = {
    "the clock is read in one place": (
        r"\btime\.(time|monotonic|perf_counter|clock_gettime)(_ns)?\(|\btime\.sleep\("
        r"|\b(datetime|date)\.(now|today|utcnow)\(|^\s*from time import",
        "",
        CLOCK,
    ),
    "chance comes from a seed": (
        r"\brandom\.(?!Random\b)\w+\(|\bRandom\(\)|\b(secrets|SystemRandom|urandom)\b[.(]",
        "",
        # What a user's own strategy draws follows from the seed of its run, too.
        # A token that somebody could compute again would open the page to them, and a process that
        # knew the lock of another's sessions would end them.
        (
            *NAMES_OF_RUNS,
            "lab/runs/run.py",
            "doors/page/people.py",
            "journal/backends/server_session.py",
        ),
    ),
    "chance lives in the simulator": (r"^(import|from) random\b", "", CHANCE),
    "ids in the core follow from the evidence": (r"\buuid\b|\buuid[14]\b", "core/", ()),
    "only named places catch everything": (
        r"except\s*\(?(BaseException\b|Exception\b|:)|suppress\((Base)?Exception\)",
        "",
        CATCH_ALL,
    ),
    "modules keep no state": (
        r"^\s*global\s|^[A-Za-z]\w*(: [^=]+)? = (\[\]|\{\}|set\(\))$",
        "",
        (),
    ),
}
MARKERS = ("TO" + "DO", "FIX" + "ME", "X" + "XX", "HA" + "CK", "breakpoint" + "(")
ABSOLUTE_PATH = re.compile(r"(?<![\w./:])/(?:work|root|home|Users|private)/\w")
TEXT_FOLDERS = (".ci", "src", "tests", "scripts", "benchmarks", "docs")
# Made by whoever runs the checkout, not by the project.
NOT_OURS = {".env", "trueup.toml", ".coverage", ".git"}
TEXT_SUFFIXES = {"", ".cfg", ".ini", ".lock", ".md", ".py", ".sh", ".toml", ".txt", ".yaml", ".yml"}


def texts() -> dict[str, str]:
    """Everything a person wrote, by its path from the root."""
    places = [path for folder in TEXT_FOLDERS for path in (ROOT / folder).rglob("*")]
    return {
        path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8", errors="replace")
        for path in (*places, *ROOT.iterdir())
        if path.is_file()
        and path.suffix in TEXT_SUFFIXES
        and path.name not in NOT_OURS
        and "__pycache__" not in path.parts
    }


def offences(pattern: str, folder: str, excepted: tuple[str, ...]) -> list[str]:
    found = []
    for path in sorted((PACKAGE / folder).rglob("*.py")):
        name = path.relative_to(PACKAGE).as_posix()
        if name.startswith(excepted):
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            if re.search(pattern, line.partition("  #")[0]):
                found.append(f"src/trueup/{name}:{number}: {line.strip()}")
    return found


@pytest.mark.parametrize("rule", RULES)
def test_package_keeps_the_rule(rule: str) -> None:
    found = offences(*RULES[rule])
    assert not found, "\n".join([rule, *found])


def test_files_have_no_leftover_markers() -> None:
    found = [(name, mark) for name, text in texts().items() for mark in MARKERS if mark in text]
    assert not found


def test_files_name_no_path_of_one_machine() -> None:
    found = [
        (name, hit[0]) for name, text in texts().items() for hit in ABSOLUTE_PATH.finditer(text)
    ]
    assert not found


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-run.lock"])
def test_lock_names_no_server_and_hashes_every_package(name: str) -> None:
    lock = (ROOT / name).read_text(encoding="utf-8")
    assert "://" not in lock
    assert "index" + "-url" not in lock
    packages = re.findall(r"^[a-z0-9].*?(?=^[a-z0-9]|\Z)", lock, flags=re.MULTILINE | re.DOTALL)
    assert len(packages) > 20
    assert all(re.match(r"[a-z0-9.-]+==", text) and "sha256:" in text for text in packages)
