"""Ask a process of `trueup run --accounts` or `trueup fleet node` from the test's own process.

A test that waits asks many times, and each start of `trueup accounts` would import the package.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

from trueup.errors import NotSent, OutcomeUnknown
from trueup.runtime.control.state_files import ask_process, listens

ASK = {"command": "accounts"}
LISTENS_MS, ANSWER_MS = 1_000, 60_000


def accounts_of(folder: Path) -> dict[str, Any] | None:
    """Return the answer to `trueup accounts` of the process that runs in a folder, or None.

    A killed process leaves its state file behind, whose port nobody listens on.
    """
    for path in (folder / ".trueup").glob("accounts-*.json"):
        with contextlib.suppress(OSError, ValueError, NotSent, OutcomeUnknown):
            control: str = json.loads(path.read_bytes())["control"]
            if listens(control, LISTENS_MS):
                return ask_process(control, ASK, ANSWER_MS, "The process")
    return None


def account_rows(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the rows of `trueup accounts` by the account's name; none without a process."""
    told = accounts_of(folder)
    return {} if told is None else {row["name"]: row for row in told["accounts"]}
