"""Run a program behind the door with a shorter grace period: `hasty_door.py MS SCRIPT [WORD ...]`.

An order without a trace counts as not executed after a minute. The simulated terminal serves one
request after the other and fills late orders soon, so a test need not wait so long. Without MS (0)
nothing is changed. `SCRIPT` is a file, or `-m MODULE` as for Python.
"""

from __future__ import annotations

import runpy
import sys
from collections.abc import Iterable
from pathlib import Path

import msgspec

from trueup.core.policy import Policy
from trueup.doors import account
from trueup.doors.running import opening


def shorten(grace_ms: int) -> None:
    """Let every account that is opened from now on have this grace period."""
    usual = account.scope_policy

    def hasty(magics: Iterable[int], symbols: Iterable[str]) -> Policy:
        policy = usual(magics, symbols)
        return msgspec.structs.replace(policy, grace_period_ms=grace_ms, settle_ms=50)

    account.scope_policy = hasty
    # The name that `trueup run` has taken of the function already.
    setattr(opening, "scope_policy", hasty)  # noqa: B010


if __name__ == "__main__":
    milliseconds, *words = sys.argv[1:]
    if int(milliseconds):
        shorten(int(milliseconds))
    if words[0] == "-m":
        sys.argv = words[1:]
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = words
        sys.path[0] = str(Path(words[0]).resolve().parent)
        runpy.run_path(words[0], run_name="__main__")
