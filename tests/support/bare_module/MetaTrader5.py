"""The official module's name for the simulated terminal of this folder, without a door before it.

With this folder on its path, a program calls the simulated terminal directly, as it would call a
real one.
"""

from __future__ import annotations

from typing import Any

from trueup.gateway.terminal.mt5_constants import MODULE_CONSTANTS
from trueup.sim.process.module_port import attached

_terminal = attached()
globals().update(MODULE_CONSTANTS)


def __getattr__(name: str) -> Any:
    return getattr(_terminal, name)
