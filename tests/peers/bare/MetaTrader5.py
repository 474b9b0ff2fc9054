"""A stand-in for the official module, for packages that import it by name: no trueup in between.

The functions call the simulated terminal of the harness (`tests.peers.world`) through a pipe, as
the official module calls a real terminal. Rows, constants and error codes are the module's.
"""

from __future__ import annotations

import os
import threading
from typing import Any

from trueup.doors.mt5.rows import ROW_TYPES
from trueup.gateway.terminal.call_wire import FUNCTIONS
from trueup.gateway.terminal.mt5_constants import MODULE_CONSTANTS
from trueup.sim.process.module_port import AttachedTerminal

__version__ = "5.0.6231"


class OneCallAtATime(AttachedTerminal):
    """A terminal for threads: the official module, too, makes one call at a time."""

    def __init__(self, address: str) -> None:
        super().__init__(lambda: address)
        self._turn = threading.RLock()

    def initialize(self, *args: Any, **kwargs: Any) -> bool:
        """Connect to the terminal."""
        with self._turn:
            return super().initialize(*args, **kwargs)

    def _call(self, function: str, *args: Any, **kwargs: Any) -> Any:
        with self._turn:
            return super()._call(function, *args, **kwargs)


_terminal = OneCallAtATime(os.environ["PEERS_TERMINAL"])
globals().update({name: getattr(_terminal, name) for name in (*FUNCTIONS, "last_error")})
globals().update(MODULE_CONSTANTS)
globals().update(ROW_TYPES)
