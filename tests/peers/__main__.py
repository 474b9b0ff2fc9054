"""`make peers`: packages of strangers, unmodified, on the bare simulated terminal and on the door.

    python -m tests.peers                        all packages, all faults; writes the results
    python -m tests.peers --only aiomql --fault killed --side door --keep FOLDER

With a choice of packages, faults or sides nothing is written, and every line of the programs is
shown. The packages are fetched from the package index at the first run. The packages are tried in
processes of their own, all at once, since most of the time is waited for.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from scripts.peers_page import RESULTS, write_page
from tests.peers.environments import PEERS, CannotInstall, Peer, make_environment, python_version
from tests.peers.trials import FAULTS, NO_FAULT, SIDES, Trial, run_trial

# Calls whose answers have a price in them.
PRICED = ("margin",)


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def show(trial: Trial, title: str, *, whole: bool) -> None:
    """Print one trial."""
    told = ", ".join(trial.told) or "nothing"
    end = f"({trial.seconds} s, exit {trial.ends})"
    say(f"{title} positions {trial.positions}  told: {told}  {end}")
    if whole:
        for line in trial.lines:
            say(f"    {line}")
    for error in trial.errors:
        say(f"    error: {error}")


def kept(peer: Peer, trials: dict[tuple[str, str], Trial]) -> dict[str, Any]:
    """Return what the results say of a package."""
    seen: dict[str, Any] = {}
    for (fault, side), trial in trials.items():
        if fault == NO_FAULT:
            continue
        first = next((line["text"] for line in trial.lines if line["kind"] == "told"), "")
        seen.setdefault(fault, {})[side] = {
            "positions": trial.positions,
            "told": trial.told,
            "first_words": first,
            "ended_by_itself": trial.ends[-1] == 0,
        }
    tours = [toured(trials[NO_FAULT, side]) for side in SIDES]
    return {
        "package": peer.name,
        "version": peer.version,
        "python": python_version(peer),
        "same_without_fault": tours[0] == tours[1],
        "calls_without_fault": len(tours[0]),
        "faults": seen,
    }


def toured(trial: Trial) -> dict[str, Any]:
    """Return what each call without a fault gave, without prices."""
    found = {}
    for line in trial.lines:
        if line["kind"] == "toured" and line["name"] not in PRICED:
            # An order's answer begins with whether it was done; its words have price and ticket.
            is_order = line["name"] in ("open", "the same again")
            found[line["name"]] = line["value"][0] if is_order else line["value"]
    return found


def try_out(peer: Peer, faults: list[str], sides: list[str], folder: Path, *, whole: bool) -> Any:
    """Run the trials of one package, and return the result if there are all of them."""
    try:
        make_environment(peer)
    except CannotInstall as error:
        say(f"{peer.name} {peer.version} cannot be installed here: {error}")
        return None
    trials = {}
    for fault in faults:
        for side in sides:
            here = folder / f"{peer.name}-{side}-{fault.replace(' ', '_')}"
            trial = trials[fault, side] = run_trial(peer, side, fault, here)
            show(trial, f"{peer.name:22} {side:5} {fault:25}", whole=whole)
    is_all = len(trials) == len(FAULTS) * len(SIDES)
    return kept(peer, trials) if is_all else None


def try_all(folder: Path) -> list[Any]:
    """Run all trials, each package in a process of its own, and return the results."""
    files = {peer.name: folder / f"{peer.name}.json" for peer in PEERS}
    begin = [sys.executable, "-m", "tests.peers", "--keep", str(folder)]
    running = [
        subprocess.Popen([*begin, "--only", name, "--result", str(file)])
        for name, file in files.items()
    ]
    for process in running:
        process.wait()
    return [json.loads(file.read_text("utf-8")) for file in files.values() if file.exists()]


def main() -> None:
    """Run the trials."""
    parser = argparse.ArgumentParser(prog="python -m tests.peers")
    parser.add_argument("--only", action="append", choices=[peer.name for peer in PEERS])
    parser.add_argument("--fault", action="append", choices=list(FAULTS))
    parser.add_argument("--side", action="append", choices=SIDES)
    parser.add_argument("--keep", type=Path, help="keep the folders of the trials here")
    parser.add_argument("--result", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    folder = asked.keep or Path(tempfile.mkdtemp(prefix="peers-"))
    try:
        if not (asked.only or asked.fault or asked.side):
            RESULTS.write_text(
                json.dumps(try_all(folder), indent=1) + "\n", encoding="utf-8", newline="\n"
            )
            say(write_page())
            return
        for peer in PEERS:
            if asked.only and peer.name not in asked.only:
                continue
            faults, sides = asked.fault or list(FAULTS), asked.side or list(SIDES)
            result = try_out(peer, faults, sides, folder, whole=asked.result is None)
            if result and asked.result:
                asked.result.write_text(json.dumps(result), encoding="utf-8")
    finally:
        if not asked.keep:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
